"""A promise about answers: "at most RISK of the answers given are wrong", with its proof.

A threshold on confidence is chosen on questions whose outcome is known, by exact binomial tests
whose family-wise error is at most DELTA (Learn then Test, Angelopoulos et al. 2021, with
fixed-sequence testing from several starts; selective risk: Geifman & El-Yaniv 2017). The promise
holds for questions drawn like those, in the same database, answered by the same model. Knows
numbers and two fingerprints; knows no model and no text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retro.records import read_record, write_record

FILE = "certificate.json"
"""Its name in the index folder that it is about."""

STEPS = 100
"""Thresholds tried are the multiples of 1 / STEPS."""

STARTS = (0.9, 0.7, 0.5)
"""Where a sequence of tests starts, going down; fixed before any outcome is seen, each with
DELTA / 3 to spend. Too few answers stand above a high start to prove much of a small set; above
a low one there may already be too many errors."""


class Outcome(NamedTuple):
    """What was counted of the answers from ``threshold`` up."""

    threshold: float
    num_answered: int
    num_wrong: int


@dataclass(frozen=True)
class Certificate:
    """With probability 1 - ``delta`` over the ``num_questions`` that it was made with, at most
    ``risk`` of the answers given from ``threshold`` up are wrong.

    ``index``, ``model``: fingerprints of what answered; ``k`` neighbours and ``samples`` dropout
    samples. An answer where the database holds none counts as wrong. ``calibration``: what those
    questions looked like, by signal, sorted (``retro.drift`` compares live questions with it).
    """

    risk: float
    delta: float
    threshold: float
    num_questions: int
    num_answered: int
    num_wrong: int
    index: str
    model: str
    k: int
    samples: int
    created: str
    calibration: dict[str, list[float]] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Share of those questions that were answered."""
        return self.num_answered / self.num_questions

    def save(self, folder: Path) -> None:
        """Writes it into an index folder, whole or not at all."""
        write_record(self, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Certificate | None:
        """That of an index folder, None if it has none. Raises UserError when it is damaged."""
        return read_record(cls, folder / FILE, "not a certificate", "retro certify")

    def holds_for(self, index: str, model: str, samples: int) -> bool:
        """Whether it is about this database and this model with so many samples."""
        return (self.index, self.model, self.samples) == (index, model, samples)


def offered(candidate: str, reason: str | None, confidence: float) -> float:
    """The confidence of an answer; -1 for what is never given, and so never wrong either: what has
    no words, or is denied elsewhere."""
    return -1.0 if not candidate or reason == "conflicting" else confidence


def certify(
    confidences: Sequence[float], right: Sequence[bool], risk: float, delta: float
) -> Outcome | None:
    """The lowest threshold whose selective risk is at most ``risk``, proved at level ``delta``.

    Each start's sequence goes down while its threshold passes, and stops at the first that does
    not; testing a fixed sequence until the first failure needs no correction, so a start may
    spend delta / len(STARTS) on each of its tests. None if nothing passes.
    """
    given = np.asarray(confidences, dtype=np.float64)
    good = np.asarray(right, dtype=bool)
    level = delta / len(STARTS)
    passed: list[Outcome] = []
    for start in STARTS:
        for step in range(round(start * STEPS), -1, -1):
            outcome = _count(given, good, step / STEPS)
            if tail(outcome.num_wrong, outcome.num_answered, risk) > level:
                break
            passed.append(outcome)
    return min(passed, default=None)


def _count(confidences: np.ndarray, right: np.ndarray, threshold: float) -> Outcome:
    answered = confidences >= threshold
    return Outcome(threshold, int(answered.sum()), int((answered & ~right).sum()))


def tail(num_wrong: int, num: int, risk: float) -> float:
    """P(at most ``num_wrong`` of ``num`` are wrong) if each is wrong with probability ``risk``.

    The p-value of "the risk is larger than that"; Clopper & Pearson 1934 invert it.
    """
    if num_wrong >= num:
        return 1.0
    logs = [
        math.lgamma(num + 1) - math.lgamma(i + 1) - math.lgamma(num - i + 1)
        + i * math.log(risk) + (num - i) * math.log1p(-risk)
        for i in range(num_wrong + 1)
    ]  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))


def fewest(risk: float, delta: float) -> int:
    """Answers without any error that the weakest provable promise needs."""
    return math.ceil(math.log(delta / len(STARTS)) / math.log1p(-risk))
