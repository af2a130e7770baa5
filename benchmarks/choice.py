"""How often the passage with the answer is found, and is among those that are read.

    python benchmarks/choice.py --index squad-index --data dev-v1.1-fit.jsonl --limit 600

Of what search finds the neighbours that the ranker puts first are read (``retro.ranking``); printed
is, for numbers of neighbours, the share of questions of which one of the first is a window of the
question's own passage that holds an accepted answer: as search orders them, and as the ranker does
(of a question without a passage: any window that holds one). No model is loaded. JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from eval.questions import Question, read_questions, sample
from index.retriever import Neighbours, Retriever
from retro.ranking import DEPTH, Ranker
from retro.shipped import DEFAULT_CHECKPOINT, ranker_of
from retro.text import contains_answer

FIRST = (1, 2, 3, 4, 6, 8, 16, DEPTH)


def main() -> None:
    """Prints one JSON object: shares by order and number of neighbours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    options = parser.parse_args()
    questions = sample([q for q in read_questions(options.data) if q.answerable], options.limit)
    retriever = Retriever.open(options.index)
    ranker = Ranker.load(ranker_of(options.checkpoint))
    searched = retriever.search_batch([q.question for q in questions], DEPTH)
    ranked = [
        ranker.rank(question.question, n, retriever.vocabulary().idf)
        for question, n in zip(questions, searched, strict=True)
    ]
    told = {
        name: shares([holding(*row) for row in zip(questions, found, strict=True)])
        for name, found in (("searched", searched), ("ranked", ranked))
    }
    print(json.dumps({"questions": len(questions)} | told, indent=1))


def shares(holds: Sequence[Sequence[bool]]) -> dict[int, float]:
    """Share of questions of which one of the first neighbours answers, by how many are first."""
    return {first: sum(any(h[:first]) for h in holds) / max(1, len(holds)) for first in FIRST}


def holding(question: Question, found: Neighbours) -> list[bool]:
    """Which neighbours are windows of the question's passage and hold an answer."""
    return [
        (not question.context or " ".join(text.split()) in " ".join(question.context.split()))
        and contains_answer(text, question.answers)
        for text in found.texts
    ]


if __name__ == "__main__":
    main()
