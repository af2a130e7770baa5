"""When to stay silent, and why; knows a confidence and some signals, not how they came about.

Selective prediction: answer if and only if ``confidence >= threshold`` (El-Yaniv & Wiener 2010;
Geifman & El-Yaniv 2017), so that coverage and risk follow from one number; the signals name the
reason. One thing is declined at any threshold: an answer that another document denies with about
equal support.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from index.errors import UserError
from retro.records import stored, write_record
from retro.types import Reason


class Decision(NamedTuple):
    """``reason`` is None exactly when answering."""

    abstained: bool
    reason: Reason | None


@dataclass(frozen=True)
class AbstentionPolicy:
    """The threshold in force, and where one reason ends and the next begins.

    ``out_of_scope``: no neighbour, or even the best one (nearness and overlap, ``match_best``) is
    below ``scope_match``. ``conflicting``: at least ``min_conflicting`` documents give another
    answer with about equal support; then nothing is answered, however sure the reader is.
    ``unverified``: the answer does not stand in its neighbour, or the reader finds another one more
    than twice as likely (``backing`` below ``least_backing``). Otherwise ``insufficient``: near,
    but not answering. A signal that is not given never speaks.

    ``chain_below``: a question with less confidence that is in scope is asked again through a
    bridge (``retro.chaining``), and answered so if that gives this much; 0 = none, for a reader
    that did not learn to look for one.

    The default ``scope_match``: of the demo's questions, all foreign ones and 2 of 30 near misses
    are below it; of SQuAD's, 22 % without their article, 9 % without their passage, 0.7 % with it.
    """

    threshold: float = 0.5
    scope_match: float = 1.8
    min_conflicting: float = 1.0
    chain_below: float = 0.0
    least_backing: float = 0.5

    def decide(self, confidence: float, signals: Mapping[str, float]) -> Decision:
        """``confidence`` in 0..1, higher is surer; a NaN abstains. Signals by name: signals.py."""
        if confidence >= self.threshold and not self._disputed(signals):
            return Decision(False, None)
        return Decision(True, self._reason(signals))

    def asks_on(self, confidence: float, signals: Mapping[str, float]) -> bool:
        """Whether a second fact may be missing: too little confidence in what is near."""
        near = self._reason(signals) in ("insufficient", "unverified")
        return confidence < self.chain_below and near

    def _disputed(self, signals: Mapping[str, float]) -> bool:
        return signals.get("num_conflicting", 0.0) >= self.min_conflicting

    def _reason(self, signals: Mapping[str, float]) -> Reason:
        nearest = signals.get("match_best", self.scope_match)
        if nearest < self.scope_match or signals.get("num_neighbours") == 0:
            return "out_of_scope"
        if self._disputed(signals):
            return "conflicting"
        if signals.get("grounded", 1.0) < 0.5 or signals.get("backing", 1.0) < self.least_backing:
            return "unverified"
        return "insufficient"

    def save(self, path: Path) -> None:
        """Writes JSON, whole or not at all."""
        write_record(self, path)

    @classmethod
    def load(cls, path: Path) -> AbstentionPolicy:
        """Raises UserError when the file is missing or does not hold these numbers."""
        with stored(path, "an abstention policy", "write it again") as held:
            return cls(**{name: float(value) for name, value in held.items()})


def choose_threshold(
    confidences: Sequence[float],
    correct: Sequence[bool],
    max_risk: float | None = None,
) -> float:
    """The threshold to answer at, from questions whose outcome is known.

    With ``max_risk``: the lowest one, so the largest coverage, at which wrong / answered is at most
    ``max_risk`` *on these questions*; this is the empirical risk of Geifman & El-Yaniv 2017,
    without their bound, hence no promise for others (``retro.certificate`` makes one). Raises
    UserError when there is none. Without: the one with the best score, where a right answer counts
    one, a wrong one minus one and declining nothing (CRAG, Yang et al. 2024). Thresholds lie midway
    between neighbouring confidences, so that rounding never moves an answer across.
    """
    order = np.argsort(np.asarray(confidences, dtype=np.float64), kind="stable")
    levels = np.asarray(confidences, dtype=np.float64)[order]
    right = np.asarray(correct, dtype=bool)[order]
    if not len(levels):
        raise UserError("no questions to choose a threshold from: give some with known outcomes")
    starts = np.flatnonzero(np.diff(levels, prepend=-math.inf) > 0)  # answer from here upwards
    if max_risk is None:
        score = np.where(right, 1.0, -1.0)[::-1].cumsum()[::-1][starts]
        best = len(score) - 1 - int(np.argmax(score[::-1]))  # of equal ones the most careful
    else:
        risk = 1.0 - right[::-1].cumsum()[::-1][starts] / (len(levels) - starts)
        if risk.min() > max_risk:
            raise UserError(
                f"no threshold keeps the share of wrong answers at {max_risk:g} on these "
                f"{len(levels)} questions: the least is {risk.min():.3f}"
            )
        best = int(np.argmax(risk <= max_risk))
    below = levels[starts[best] - 1] if starts[best] else 0.0
    return float((below + levels[starts[best]]) / 2)
