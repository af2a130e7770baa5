"""How often the passage with the answer is found, and is among those that are read.

    python benchmarks/choice.py --index squad-index --data dev-v1.1-fit.jsonl --limit 600

Of ``found`` neighbours those that match best are read (``retro.answer.Answerer.chosen``); printed
is, for each pair of numbers, the share of questions of which one neighbour read is a window of
the question's own passage that holds an accepted answer. No model is loaded. JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from eval.questions import Question, read_questions, sample
from index.retriever import Neighbours, Retriever
from retro.signals import best_matching, match_prior
from retro.text import contains_answer

FOUND, READ = (8, 12, 16, 24), (1, 2, 3, 4, 5, 6, 8)


def main() -> None:
    """Prints one JSON object: shares by neighbours found and read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=600)
    options = parser.parse_args()
    questions = [q for q in read_questions(options.data) if q.answerable and q.context]
    questions = sample(questions, options.limit)
    retriever = Retriever.open(options.index)
    found = retriever.search_batch([q.question for q in questions], max(FOUND))
    holds = [holding(*row) for row in zip(questions, found, strict=True)]
    match = [
        match_prior(q.question, n, retriever.idf) for q, n in zip(questions, found, strict=True)
    ]
    print(json.dumps({"questions": len(questions)} | shares(holds, match), indent=1))


def shares(holds: Sequence[Sequence[bool]], match: Sequence[Sequence[float]]) -> dict[str, float]:
    """By "read of found"; of all that were found first, all are read."""
    rows = list(zip(holds, match, strict=True))
    return {
        f"{read} of {found}": sum(
            any(h[i] for i in best_matching(m[:found], read)) for h, m in rows
        )
        / len(rows)
        for found in FOUND
        for read in sorted({*READ, found})
        if read <= found
    }


def holding(question: Question, found: Neighbours) -> list[bool]:
    """Which neighbours are windows of the question's passage and hold an answer."""
    return [
        " ".join(text.split()) in " ".join((question.context or "").split())
        and contains_answer(text, question.answers)
        for text in found.texts
    ]


if __name__ == "__main__":
    main()
