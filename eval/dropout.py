"""``retro eval dropout``: what Monte-Carlo dropout tells, and what it costs, sample by sample.

Every question is asked with its passage and without it, under each number of samples in turn, so
that all see the same state of the machine. What the samples say is compared with what one pass
without dropout says of the same answers; and with samples drawn in other ways (``retro.sampling``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.conditions import (
    PASSAGE_REMOVED,
    PRESENT,
    Answering,
    Prediction,
    asked,
    batches,
    taken_away,
)
from eval.questions import GoldDocuments, Question, with_passage
from eval.report import Cell, Report, Table, watched
from index.errors import UserError
from retro.shipped import NUM_SAMPLES
from retro.signals import MODEL_SIGNALS

if TYPE_CHECKING:
    from retro.sampling import Sampler

Floats = NDArray[np.float64]

PLAIN = "span_probability"
"""What one pass without dropout says: the samples' mean of it is compared with it."""

SIGNALS = (PLAIN, *(name for name in MODEL_SIGNALS if name.startswith("mc_")))
"""The signals that are judged alone; ``retro.signals`` tells what they are, and their sign."""

TARGETS = ("facts there", "right, where they are")


class Drawing(Protocol):
    """Of ``retro.drafting.Drafter``: how many samples it draws, and with what."""

    num_samples: int
    sampler: Sampler


class Way(NamedTuple):
    """Samples ``num`` drawn by ``sampler`` (None: as the answerer does), called ``name``."""

    name: str
    num: int
    sampler: Sampler | None = None


class Sampling(Answering, Protocol):
    """``retro.answer.Answerer``, as far as it is needed here."""

    @property
    def drafter(self) -> Drawing: ...


@dataclass(frozen=True)
class Asked:
    """One question under one condition with samples drawn in one way."""

    way: Way
    prediction: Prediction


def run(
    answerer: Sampling,
    questions: Sequence[Question],
    ways: Sequence[Way],
    *,
    k: int = 8,
    batch_size: int = 16,
    seed: int = 0,
    num_resamples: int = 500,
) -> Report:
    """Asks with samples drawn in each of the ways; the report.

    Raises:
        UserError: no answerable question has its passage in the index.
    """
    gold = GoldDocuments(answerer.retriever.store, questions)
    paired = [q for q in with_passage(questions, gold) if q.answerable]
    if not paired:
        raise UserError("no answerable question in --data has its passage in the index")
    rows = list(
        watched(
            ask(answerer, paired, ways, gold, k=k, batch_size=batch_size),
            2 * len(paired) * len(ways),
            "dropout",
        )
    )
    figures = {
        "num_questions": len(paired),
        "ways": [
            {"name": way.name, "samples": way.num}
            | judge([r.prediction for r in rows if r.way == way], seed, num_resamples)
            for way in ways
        ],
    }
    return Report("dropout", figures, tables(figures), remarks=[_REMARK])


def ask(
    answerer: Sampling,
    questions: Sequence[Question],
    ways: Sequence[Way],
    gold: GoldDocuments,
    *,
    k: int,
    batch_size: int,
) -> Iterator[Asked]:
    """Each batch in all ways before the next; the answerer is left as it was."""
    drafter = answerer.drafter
    before = drafter.num_samples, drafter.sampler
    try:
        for some in batches(questions, batch_size):
            states = {PRESENT: [frozenset[str]() for _ in some]}
            states[PASSAGE_REMOVED] = taken_away(PASSAGE_REMOVED, some, gold)
            for way in ways:
                drafter.num_samples, drafter.sampler = way.num, way.sampler or before[1]
                for condition, exclude in states.items():
                    for row in asked(answerer, some, condition, gold, exclude=exclude, k=k):
                        yield Asked(way, row)
    finally:
        drafter.num_samples, drafter.sampler = before


def judge(rows: Sequence[Prediction], seed: int, num_resamples: int) -> dict[str, Any]:
    """AUROC of every signal and of confidence, the mean's gain over one pass, and the time."""
    rows = [row for row in rows if row.answer.signals]
    there = np.array([row.condition == PRESENT for row in rows])
    right = np.array([row.right["f1"] for row in rows])
    labels = dict(
        zip(TARGETS, ((there, np.arange(len(rows))), (right, np.flatnonzero(there))), strict=True)
    )
    groups = [row.group for row in rows]
    scores = {name: _score(rows, name) for name in SIGNALS}
    scores["confidence"] = np.array([row.answer.confidence for row in rows])
    out: dict[str, Any] = {
        "draft_ms": float(np.mean([row.answer.timing_ms.get("draft", np.nan) for row in rows]))
    }
    for target, (label, kept) in labels.items():
        out[target] = {
            "auroc": {name: metrics.auroc(s[kept], label[kept]) for name, s in scores.items()},
            "gain": list(
                metrics.bootstrap(
                    _gain(scores["mc_probability_mean"][kept], scores[PLAIN][kept], label[kept]),
                    [groups[i] for i in kept],
                    num_resamples=num_resamples,
                    seed=seed,
                )
            ),
        }
    return out


def _score(rows: Sequence[Prediction], name: str) -> Floats:
    return MODEL_SIGNALS[name].sign * np.array(
        [row.answer.signals.get(name, np.nan) for row in rows]
    )


def _gain(one: Floats, other: Floats, label: NDArray[np.bool_]) -> Any:
    def gain(picked: NDArray[np.int64]) -> float:
        some = label[picked]
        return metrics.auroc(one[picked], some) - metrics.auroc(other[picked], some)

    return gain


def tables(figures: dict[str, Any]) -> list[Table]:
    """One table a target, a row for each way of drawing samples."""
    found = figures["ways"]
    fewest = min(found, key=lambda row: row["samples"])["draft_ms"]
    out = []
    for target in TARGETS:
        rows: list[list[Cell]] = [
            [
                row["name"],
                row["samples"],
                *row[target]["auroc"].values(),
                row[target]["gain"],
                row["draft_ms"] / fewest,
            ]
            for row in found
        ]
        columns = [
            "drawn by",
            "samples",
            *SIGNALS,
            "confidence",
            "mean's gain over one pass",
            "time",
        ]
        out.append(Table(f"AUROC: {target}", columns, rows, _NOTE))
    return out


_NOTE = "Time: that of the draft, by the draft with the fewest samples."
_REMARK = (
    "Each signal alone, the better side as it is known beforehand. *Gain*: AUROC of the samples' "
    f"mean minus that of `{PLAIN}`, which is one pass without dropout; brackets: 95 % bootstrap "
    f"interval over articles. Confidence is the shipped head's, fitted with {NUM_SAMPLES} samples."
)
