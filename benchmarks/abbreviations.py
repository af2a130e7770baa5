"""How often what spells out an abbreviation is read, where a question asks for its meaning.

    python benchmarks/abbreviations.py --index squad-index --questions train-v1.1.jsonl

Of the questions that ask so, and whose answer search finds with its passage, printed is how many
have it among the first one, three and six that are ranked, for each bonus of such a passage
(``retro.ranking.SPELLED``). No model is run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from eval.questions import Question, read_questions
from index.retriever import Neighbours, Retriever
from retro import ranking
from retro.naming import abbreviations
from retro.overlap import Idf
from retro.ranking import DEPTH, Ranker
from retro.shipped import DEFAULT_CHECKPOINT, ranker_of

BONUSES = (0.0, 3.0, 5.0, 8.0)
FIRST = (1, 3, 6)


def place_of(question: Question, found: Neighbours, ranker: Ranker, idf: Idf) -> int:
    """The first place of a passage of the question's context that holds an answer, ``DEPTH`` if
    there is none."""
    ranked = ranker.rank(question.question, found, idf)
    context, answers = question.context or "", [answer.lower() for answer in question.answers]
    right = [
        text.strip() in context and any(answer in text.lower() for answer in answers)
        for text in ranked.texts
    ]
    return int(np.argmax([*right, True])) if any(right) else DEPTH


def main() -> None:
    """Prints one JSON line a bonus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    given = parser.parse_args()
    file = ranker_of(DEFAULT_CHECKPOINT)
    assert file
    retriever, ranker = Retriever.open(given.index), Ranker.load(file)
    asked = [q for q in read_questions(given.questions) if abbreviations(q.question)]
    found = retriever.search_batch([q.question for q in asked], DEPTH)
    both = [(q, n, retriever.vocabulary(n.absent).idf) for q, n in zip(asked, found, strict=True)]
    for bonus in BONUSES:
        ranking.SPELLED = bonus
        places = np.array([place_of(q, n, ranker, idf) for q, n, idf in both])
        held = places[places < DEPTH]
        first = {f"in the first {k}": int((held < k).sum()) for k in FIRST}
        print(json.dumps({"bonus": bonus, "asked": len(asked), "found": len(held)} | first))


if __name__ == "__main__":
    main()
