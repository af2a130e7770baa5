"""Logistic regression and calibration maps in numpy; knows neither signals nor questions.

Scores are raw log-odds [n], labels are 1 for right and 0 for wrong, [n].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["platt", "isotonic"]

TINY = 1e-6


def logit(p: Floats) -> Floats:
    """Log-odds of probabilities, kept finite at 0 and 1."""
    clipped = np.clip(p, TINY, 1.0 - TINY)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def sigmoid(z: Floats) -> Floats:
    """Probabilities of log-odds, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


@dataclass(frozen=True)
class Calibration:
    """A monotone map from the raw logit to a probability.

    ``platt``: sigmoid(slope * logit + shift), with ``x = [slope]``, ``y = [shift]`` (Platt 1999).
    ``isotonic``: straight lines between the knots (x, y) (Zadrozny & Elkan 2002); the knots are
    the centres of the pooled blocks, so that unlike confidences stay unlike.
    """

    kind: Kind
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, logits: Floats) -> Floats:
        if self.kind == "platt":
            return sigmoid(self.x[0] * logits + self.y[0])
        return np.asarray(np.interp(logits, self.x, self.y))


def logistic(z: Floats, y: Floats, penalty: float) -> Floats:
    """Bias and weights [1 + features] of ridge logistic regression by Newton's method.

    Minimises mean log-loss + penalty / 2 * |weights|^2 (McCullagh & Nelder 1989, 4.4).
    """
    x = np.column_stack([np.ones(len(z)), z])
    ridge = np.full(x.shape[1], penalty)
    ridge[0] = TINY
    w = np.zeros(x.shape[1])
    for _ in range(100):
        p = sigmoid(x @ w)
        gradient = x.T @ (p - y) / len(y) + ridge * w
        hessian = (x.T * (p * (1 - p))) @ x / len(y) + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        w -= step
        if np.abs(step).max() < 1e-9:
            break
    return w


def platt(logits: Floats, y: Floats) -> Calibration:
    """A logistic curve through the outcomes; never falling."""
    shift, slope = logistic(logits[:, None], y, TINY)
    if slope <= 0:  # the logits say nothing: the base rate is all there is
        shift, slope = float(logit(y.mean())), 0.0
    return Calibration("platt", (float(slope),), (float(shift),))


def isotonic(logits: Floats, y: Floats) -> Calibration:
    """Pool adjacent violators; equal logits always pool, since their labels come descending."""
    blocks: list[tuple[float, float, int]] = []  # sums of x and y, count
    for i in np.lexsort((-y, logits)):
        block = (float(logits[i]), float(y[i]), 1)
        while blocks and blocks[-1][1] / blocks[-1][2] >= block[1] / block[2]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    x, right, num = np.array(blocks, dtype=np.float64).T
    edge = 1.0 / (len(y) + 2.0)  # never 0 or 1: that many rows cannot prove more
    return Calibration("isotonic", tuple(x / num), tuple(np.clip(right / num, edge, 1 - edge)))


PLAIN = Calibration("platt", (1.0,), (0.0,))
CALIBRATIONS: dict[Kind, Callable[[Floats, Floats], Calibration]] = {
    "platt": platt,
    "isotonic": isotonic,
}


def log_loss(logits: Floats, y: Floats) -> float:
    """Mean negative log-likelihood in nats; lower is better."""
    return float(np.mean(np.logaddexp(0.0, logits) - y * logits))


def auroc(scores: Floats, y: Floats) -> float:
    """Chance that a right one scores above a wrong one, ties half."""
    wrong = np.sort(scores[y == 0])
    below = [np.searchsorted(wrong, scores[y == 1], side) for side in ("left", "right")]
    return float(np.mean(below) / len(wrong))


def calibration_error(confidence: Floats, y: Floats, num_bins: int = 15) -> float:
    """Expected calibration error in bins of equal mass."""
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(num_bins, len(y)))
    gaps = [abs(confidence[b].sum() - y[b].sum()) for b in bins]
    return float(sum(gaps) / len(y))
