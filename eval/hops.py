"""``retro eval hops``: questions that need two passages, with both in the database or one gone.

- *present*: both passages are there.
- *first_removed*: the passage is gone that tells of whom or what the other one speaks.
- *second_removed*: the passage is gone that holds the answer.

Without one of the two the question cannot be answered, and should be declined. Each is asked in one
step, and in two where the policy asks on (``retro.chaining``); which confidence a question gets
without its facts is compared with the one it gets with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval import metrics
from eval.conditions import PRESENT, Prediction, asked, batches
from eval.questions import GoldDocuments, Question
from eval.report import Report, Table, watched, write_rows
from eval.scoring import share
from index.errors import UserError
from retro.hops import two_passages

if TYPE_CHECKING:
    from retro.answer import Answerer

FIRST_REMOVED, SECOND_REMOVED = "first_removed", "second_removed"
CONDITIONS = (PRESENT, FIRST_REMOVED, SECOND_REMOVED)
ONE, TWO = "one step", "two steps"


def run(
    answerer: Answerer,
    questions: Sequence[Question],
    out: Path,
    *,
    k: int = 8,
    batch_size: int = 16,
    seed: int = 0,
    num_resamples: int = 500,
) -> Report:
    """Asks every question under every condition, in one step and in two; gives the report, and
    writes ``predictions.jsonl`` into ``out``.

    Raises:
        UserError: no question's two passages are documents of the index.
    """
    gold = GoldDocuments(answerer.retriever.store)
    found = [both for question in questions if (both := _passages(question, gold))]
    if not found:
        raise UserError(
            "no question of --data has two passages, marked “Paragraph 1: ” and “Paragraph 2: ” in "
            "its context, that are documents of the index"
        )
    policy = answerer.policy
    ways = {ONE: replace(policy, chain_below=0.0)} | ({TWO: policy} if policy.chain_below else {})

    def ask() -> Iterator[Prediction]:
        for some in batches(found, batch_size):
            those = [question for question, *_ in some]
            for condition in CONDITIONS:
                absent = [_absent(condition, *passages) for _, *passages in some]
                for way, answerer.policy in ways.items():
                    state = _state(condition, way)
                    yield from asked(answerer, those, state, gold, k=k, exclude=absent)

    total = len(found) * len(CONDITIONS) * len(ways)
    try:
        rows = write_rows(out / "predictions.jsonl", watched(ask(), total, "hops"))
    finally:
        answerer.policy = policy
    firsts = {question.id: first for question, first, _ in found}
    figures = {way: hop_figures(rows, way, firsts, gold, seed, num_resamples) for way in ways}
    return Report("hops", {"num": len(found), "ways": figures}, tables(figures), remarks=[_ABOUT])


def _state(condition: str, way: str) -> str:
    return f"{condition}, {way}"


Passages = tuple[Question, frozenset[str], frozenset[str]]


def _passages(question: Question, gold: GoldDocuments) -> Passages | None:
    """The question with its second passage as context, and the documents of both passages."""
    both = two_passages({"context": question.context or "", "answers": list(question.answers)})
    if both is None:
        return None
    first, second = (gold.passage(replace(question, context=row["context"])) for row in both)
    if not first or not second:
        return None
    return replace(question, context=both[1]["context"]), first, second


def _absent(condition: str, first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    return {FIRST_REMOVED: first, SECOND_REMOVED: second}.get(condition, frozenset())


def hop_figures(
    rows: Sequence[Prediction],
    way: str,
    firsts: dict[str, frozenset[str]],
    gold: GoldDocuments,
    seed: int,
    num_resamples: int,
) -> dict[str, Any]:
    """Of one way of asking: what is read, answered and declined, and how the confidences part."""
    by = {c: [row for row in rows if row.condition == _state(c, way)] for c in CONDITIONS}
    held = by[PRESENT]
    bridged = [row for row in held if row.answer.hops]
    right_way = [row for row in bridged if row.answer.hops[0].doc_id in firsts[row.question.id]]
    figures: dict[str, Any] = {
        "em": share(row.right["em"] for row in held),
        "f1": float(np.mean([row.f1 for row in held])),
        "second_passage_found": share(
            any(e.doc_id in gold.passage(row.question) for e in row.answer.evidence) for row in held
        ),
        "bridge_found": len(bridged) / len(held),
        "bridge_in_first_passage": len(right_way) / len(held),
        "conditions": {c: _outcomes(some) for c, some in by.items()},
    }
    for condition in (FIRST_REMOVED, SECOND_REMOVED):
        confidence = np.array([[r.answer.confidence for r in by[c]] for c in (PRESENT, condition)])

        def auroc(picked: Any, confidence: Any = confidence) -> float:
            kept = confidence[:, picked]
            return float(metrics.auroc(kept.ravel(), np.repeat([True, False], kept.shape[1])))

        figures[f"auroc_{condition}"] = list(
            metrics.bootstrap(auroc, range(len(held)), num_resamples=num_resamples, seed=seed)
        )
    return figures


def _outcomes(rows: Sequence[Prediction]) -> dict[str, Any]:
    """How many are answered, and how many of these rightly (with a passage gone: by chance)."""
    answered = [row for row in rows if not row.answer.abstained]
    return {
        "num": len(rows),
        "answered": len(answered) / len(rows),
        "right": share(row.right["f1"] for row in answered),
    }


def tables(figures: dict[str, Any]) -> list[Table]:
    """What a person reads of the figures of each way."""
    reading = [
        [way]
        + [one[key] for key in ("em", "f1", "second_passage_found", "bridge_found")]
        + [one["bridge_in_first_passage"]]
        for way, one in figures.items()
    ]
    outcomes = [
        [way, condition, row["num"], row["answered"], row["right"]]
        for way, one in figures.items()
        for condition, row in one["conditions"].items()
    ]
    parted = [
        [way, one[f"auroc_{FIRST_REMOVED}"], one[f"auroc_{SECOND_REMOVED}"]]
        for way, one in figures.items()
    ]
    columns = ["asked in", "EM", "F1", "second passage found", "bridge", "in the first passage"]
    return [
        Table("Both passages there, the best answer", columns, reading),
        Table("Answered", ["asked in", "facts", "asked", "answered", "right of these"], outcomes),
        Table(
            "AUROC of confidence, facts there against gone",
            ["asked in", "first passage removed", "second passage removed"],
            parted,
        ),
    ]


_ABOUT = (__doc__ or "").split("\n\n", 1)[1].strip()
