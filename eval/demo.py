"""``retro eval demo``: the bundled questions, judged as a visitor would judge them.

An answerable question is right if it was answered and the answer matches an accepted one: exactly
after SQuAD's normalisation, or with token F1 of at least .5, or holding it as whole words. A near
miss or a far question is right if it was declined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.conditions import Answering, Prediction, each_asked
from eval.metrics import auroc
from eval.questions import KINDS, GoldDocuments, Question
from eval.report import Report, Table, watched, write_rows
from eval.scoring import RIGHT_F1, f1, share
from index.errors import UserError
from retro.text import contains_answer

Figures = dict[str, Any]


def run(
    answerer: Answering,
    questions: Sequence[Question],
    out: Path,
    *,
    k: int = 8,
    batch_size: int = 16,
) -> Report:
    """Asks every question, writes ``predictions.jsonl`` into ``out``, gives the report.

    Raises:
        UserError: a question has no known ``kind``, or an answerable one no answers.
    """
    for question in questions:
        _check(question)
    gold = GoldDocuments(answerer.retriever.store)
    answers = each_asked(answerer, questions, "demo", gold, k=k, batch_size=batch_size)
    rows = write_rows(out / "predictions.jsonl", watched(answers, len(questions), "demo"))
    figures = demo_figures(rows)
    return Report("demo", figures, demo_tables(figures), remarks=[_RULE])


def matches(said: str, answers: Sequence[str]) -> bool:
    """The rule for an answer, as the top of this file tells it."""
    return f1(said, answers) >= RIGHT_F1 or contains_answer(said, answers)


def right(row: Prediction) -> bool:
    """Did a visitor get what they should: the answer, or an honest refusal?"""
    if row.question.kind != "answerable":
        return row.answer.abstained
    return not row.answer.abstained and matches(row.answer.answer or "", row.question.answers)


def demo_figures(rows: Sequence[Prediction]) -> Figures:
    """Shares by kind, and every failure in full."""
    asked = Counter(row.question.kind for row in rows)
    good = Counter(row.question.kind for row in rows if right(row))
    held = np.array([row.question.kind == "answerable" for row in rows])
    confidence = np.array([row.answer.confidence for row in rows])
    known = [row for row in rows if row.question.kind == "answerable"]
    return {
        "kinds": {
            kind: {"num": asked[kind], "num_right": good[kind], "share": good[kind] / asked[kind]}
            for kind in KINDS
            if asked[kind]
        },
        "candidate_right": share(matches(r.answer.candidate, r.question.answers) for r in known),
        "auroc_answerable": auroc(confidence, held),
        "failures": [_failure(row) for row in rows if not right(row)],
    }


def demo_tables(figures: Figures) -> list[Table]:
    """What a person reads of ``demo_figures``."""
    wanted = {"answerable": "answered right", "near_miss": "declined", "far": "declined"}
    shares = [
        [kind, wanted[kind], row["num_right"], row["num"], row["share"]]
        for kind, row in figures["kinds"].items()
    ]
    more = [
        ["candidate right, answerable, abstained or not", figures["candidate_right"]],
        ["AUROC of confidence, answerable against the others", figures["auroc_answerable"]],
    ]
    columns = ["kind", "id", "question", "accepted", "said", "confidence"]
    failures = [[row[column] for column in columns] for row in figures["failures"]]
    return [
        Table("Demo questions", ["kind", "wanted", "right", "of", "share"], shares),
        Table("Beside the threshold", ["figure", "value"], more),
        Table("Failures", columns, failures),
    ]


_RULE = " ".join((__doc__ or "").split("\n\n", 1)[1].split())


def _check(question: Question) -> None:
    if question.kind not in KINDS:
        raise UserError(
            f"question {question.id}: kind {question.kind!r}; write one of {', '.join(KINDS)}"
        )
    if question.kind == "answerable" and not question.answers:
        raise UserError(f"question {question.id}: answerable without 'answers'; add them")


def _failure(row: Prediction) -> Figures:
    declined = f"declined ({row.answer.reason}), candidate: {row.answer.candidate}"
    return {
        "kind": row.question.kind,
        "id": row.question.id,
        "question": row.question.question,
        "accepted": " / ".join(row.question.answers) or "a refusal",
        "said": declined if row.answer.abstained else row.answer.answer,
        "confidence": row.answer.confidence,
    }
