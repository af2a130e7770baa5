"""Are the questions asked now like those that a promise was made with? Knows numbers and names.

A conformal test martingale (Vovk, Petej, Nouretdinov, Ahlberg, Carlsson & Gammerman 2021, "Retrain
or not retrain: conformal test martingales for change-point detection"). As long as calibration and
live questions come in an order that says nothing (are exchangeable), the ranks of new values among
all earlier ones are uniform and independent, and no bet on them can win: the capital of a gambler
who starts with 1 ever reaches 1 / alpha with probability at most alpha (Ville's inequality),
however long one watches. A two-sample test on a window would need a correction for every look.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SIGNALS = ("dense_top1", "match_best", "confidence")
"""What is watched: nearness to the database, overlap with it, and what the promise rests on. None
needs to know the right answer."""

ALPHA = 0.001
"""Largest chance that the alarm ever sounds although nothing changed."""

BETS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
"""Slopes of the bets 1 + slope * (p - 1/2): values below, or above, the calibration's."""

JUMP = 0.01
"""Share of the capital that is spread anew over the bets before each question."""


class Gambler:
    """Bets on the ranks of one signal; ``capital`` is a martingale while nothing changes.

    The Simple Jumper of the paper (section 4).
    """

    def __init__(self, calibration: Sequence[float], rng: np.random.Generator) -> None:
        self._seen = sorted(calibration)
        self._rng = rng
        self._stakes: NDArray[np.float64] = np.full(len(BETS), 1 / len(BETS))

    @property
    def capital(self) -> float:
        return float(self._stakes.sum())

    def see(self, value: float) -> None:
        """Bets, then learns where the value stands among all before it."""
        self._stakes = (1 - JUMP) * self._stakes + JUMP * self.capital / len(BETS)
        self._stakes = self._stakes * (1 + BETS * (self._rank(value) - 0.5))

    def _rank(self, value: float) -> float:
        """The value's place among all seen and itself, 0..1, ties broken by chance."""
        below = bisect.bisect_left(self._seen, value)
        equal = bisect.bisect_right(self._seen, value) - below + 1
        bisect.insort(self._seen, value)
        return float(below + self._rng.random() * equal) / len(self._seen)


class Monitor:
    """Watches the live questions of one certificate; ``drifted`` stays true once it is.

    ``calibration``: by signal, the values of the questions that the promise was made with. The
    mean of the gamblers' capitals is a martingale too, so one alarm level serves them all.
    """

    def __init__(self, calibration: Mapping[str, Sequence[float]], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._gamblers = {name: Gambler(values, rng) for name, values in calibration.items()}
        self.num_seen = 0
        self.drifted = False

    @property
    def capital(self) -> float:
        """1 before the first question; 1 / alpha is the alarm."""
        return sum(g.capital for g in self._gamblers.values()) / len(self._gamblers)

    def see(self, values: Mapping[str, float]) -> bool:
        """Takes one question's values into account; whether the alarm has sounded by now."""
        self.num_seen += 1
        for name, gambler in self._gamblers.items():
            gambler.see(values[name])
        self.drifted = self.drifted or self.capital >= 1 / ALPHA
        return self.drifted


def watched(signals: Mapping[str, float], confidence: float) -> dict[str, float]:
    """The values of one answer that are watched, rounded as a certificate keeps them."""
    known = {**signals, "confidence": confidence}
    return {name: round(known[name], 6) for name in SIGNALS}
