"""``retro eval reasons``: does it give the right reason? A confusion matrix over labelled cases.

Every answerable question is asked in five states, and the far ones as they are:

- *present*: as it is; the right thing is to answer.
- *article_removed*: without the documents of the passage's title.
- *contradicted*: with a second document that gives another answer.
- *wrong_candidate*: a wrong answer, true of another question, is put forward to be judged.
- *right_candidate*: so is an accepted answer, of several the longest; the right thing is to answer.
- *far*: a question about nothing that the database holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.conditions import ARTICLE_REMOVED, PRESENT, Answering, Prediction, asked, taken_away
from eval.planted import other_answer, plant
from eval.questions import GoldDocuments, Question
from eval.report import Report, Table, watched, write_rows
from eval.scoring import share
from index.errors import UserError
from retro.types import REASONS

Figures = dict[str, Any]

CONTRADICTED, FAR = "contradicted", "far"
WRONG_CANDIDATE, RIGHT_CANDIDATE = "wrong_candidate", "right_candidate"
ANSWERED = "answered"

WANTED = {
    PRESENT: (ANSWERED,),
    ARTICLE_REMOVED: ("insufficient", "out_of_scope"),
    CONTRADICTED: ("conflicting",),
    WRONG_CANDIDATE: ("unverified",),
    RIGHT_CANDIDATE: (ANSWERED,),
    FAR: ("out_of_scope",),
}
"""What each kind of case should end in; without its article, a question may be near or far."""


def run(
    answerer: Answering,
    questions: Sequence[Question],
    out: Path,
    *,
    pool: Sequence[Question] = (),
    k: int = 8,
    batch_size: int = 16,
    seed: int = 0,
) -> Report:
    """Asks every case, writes ``predictions.jsonl`` into ``out``, gives the report.

    ``pool``: questions whose answers serve as wrong ones, default those asked; the more there are,
    the likelier one that could be believed.

    Raises:
        UserError: no question is answerable.
    """
    known = [q for q in questions if q.answerable]
    if not known:
        raise UserError("no answerable question in --data; the cases are made from those")
    far = [q for q in questions if q.kind == FAR]
    cases = Cases(answerer, known, far, pool or known, k, seed)
    num_cases = 5 * len(known) + len(cases.far)
    rows = write_rows(
        out / "predictions.jsonl", watched(cases.ask(batch_size), num_cases, "reasons")
    )
    figures = reason_figures(rows)
    return Report("reasons", figures, reason_tables(figures), remarks=[_ABOUT])


class Cases:
    """The labelled cases of a question set. ``known``: answerable questions; ``far``: foreign;
    ``pool``: questions whose answers serve as wrong ones."""

    def __init__(
        self,
        answerer: Answering,
        known: Sequence[Question],
        far: Sequence[Question],
        pool: Sequence[Question],
        k: int,
        seed: int,
    ) -> None:
        self.answerer, self.known, self.far, self.k = answerer, known, far, k
        self.pool = pool
        self.gold = GoldDocuments(answerer.retriever.store, known)
        self.rng = np.random.default_rng(seed)

    def ask(self, batch_size: int) -> Iterator[Prediction]:
        """A batch in all states before the next one, so that a run cut short has all states."""
        for start in range(0, max(len(self.known), len(self.far)), batch_size):
            some = self.known[start : start + batch_size]
            yield from self._asked(PRESENT, some)
            articles = taken_away(ARTICLE_REMOVED, some, self.gold)
            yield from self._asked(ARTICLE_REMOVED, some, exclude=articles)
            yield from self._contradicted(some)
            yield from self._wrong(some)
            longest = [max(q.answers, key=len) for q in some]
            yield from self._asked(RIGHT_CANDIDATE, some, candidates=longest)
            yield from self._asked(FAR, self.far[start : start + batch_size])

    def _asked(self, state: str, some: Sequence[Question], **how: Any) -> list[Prediction]:
        return asked(self.answerer, some, state, self.gold, k=self.k, **how)

    def _contradicted(self, some: Sequence[Question]) -> list[Prediction]:
        """Those whose answer the search finds and that another answer can be made for."""
        found = self.answerer.find([q.question for q in some], self.k)
        planted = []
        for question, neighbours in zip(some, found, strict=True):
            pair = other_answer(question, self.pool, self.rng)
            if pair and (copy := plant(neighbours, *pair)):
                # Either side may be the candidate: both are the database's.
                accepted = replace(question, answers=(*question.answers, pair[1]))
                planted.append((accepted, copy))
        return self._asked(
            CONTRADICTED, [q for q, _ in planted], neighbours=[copy for _, copy in planted]
        )

    def _wrong(self, some: Sequence[Question]) -> list[Prediction]:
        pairs = [(q, other_answer(q, self.pool, self.rng)) for q in some]
        forged = [(q, pair[1]) for q, pair in pairs if pair]
        return self._asked(
            WRONG_CANDIDATE, [q for q, _ in forged], candidates=[other for _, other in forged]
        )


def reason_figures(rows: Sequence[Prediction]) -> Figures:
    """Counts of what each state ended in; the share of the wanted end."""
    ends = (ANSWERED, *REASONS)
    matrix: dict[str, dict[str, int]] = {}
    for state in WANTED:
        count = Counter(row.answer.reason or ANSWERED for row in rows if row.condition == state)
        if count:
            matrix[state] = {end: count[end] for end in ends}
    present = [row for row in rows if row.condition == PRESENT]
    disputed = [row for row in rows if row.condition == CONTRADICTED]
    return {
        "matrix": matrix,
        "wanted": {
            state: sum(counts[end] for end in WANTED[state]) / sum(counts.values())
            for state, counts in matrix.items()
        },
        "dispute_false_alarms": share([_disputed(row) for row in present]),
        "dispute_found": share([_disputed(row) for row in disputed]),
        "dispute_found_where_read": share(
            [_disputed(row) for row in disputed if row.right["f1"]],
        ),
        "failures": [_failure(row) for row in rows if _end(row) not in WANTED[row.condition]],
    }


def reason_tables(figures: Figures) -> list[Table]:
    """The matrix, what was found of disputes, and every case that ended otherwise than wanted."""
    ends = [ANSWERED, *REASONS]
    matrix = [
        [
            state,
            " or ".join(WANTED[state]),
            *(counts[end] for end in ends),
            figures["wanted"][state],
        ]
        for state, counts in figures["matrix"].items()
    ]
    disputes = [
        ["present: a dispute is seen where there is none", figures["dispute_false_alarms"]],
        ["contradicted: it is seen", figures["dispute_found"]],
        ["contradicted and either side read", figures["dispute_found_where_read"]],
    ]
    columns = ["state", "id", "question", "end", "candidate", "confidence"]
    failures = [[row[column] for column in columns] for row in figures["failures"]]
    return [
        Table("Reasons", ["state", "wanted", *ends, "as wanted"], matrix),
        Table("Disputes", ["figure", "share"], disputes),
        Table("Ended otherwise", columns, failures),
    ]


_ABOUT = (__doc__ or "").split("\n\n", 1)[1].strip()


def _end(row: Prediction) -> str:
    return row.answer.reason or ANSWERED


def _disputed(row: Prediction) -> bool:
    return row.answer.signals.get("num_conflicting", 0.0) > 0


def _failure(row: Prediction) -> Figures:
    return {
        "state": row.condition,
        "id": row.question.id,
        "question": row.question.question,
        "end": _end(row),
        "candidate": row.answer.candidate,
        "confidence": row.answer.confidence,
    }
