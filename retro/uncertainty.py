"""From signals to one calibrated probability; knows numbers and names, no model and no text.

A ``ConfidenceHead`` is a logistic regression on standardised signals followed by a calibration map,
stored as JSON. ``fit_head`` chooses each signal's scale, the L2 penalty and the calibration by
cross-validation over groups, so that no article is both learned from and measured on. Boosted trees
and pairwise products were measured and were no better (AUROC within .003), so there are none. A
weight may be zero, but never has the sign that its signal's meaning forbids: such weights fit the
questions at hand and mislead on others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index.disk import write_atomically
from index.errors import UserError
from retro.calibration import (
    CALIBRATIONS,
    PLAIN,
    Calibration,
    Floats,
    Kind,
    auroc,
    calibration_error,
    log_loss,
    logistic,
    logit,
)

VERSION = 1
NUM_FOLDS = 5
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Candidate L2 penalties, on the mean log-loss of standardised signals."""

_CLIP = 4.0  # standard deviations: beyond the fitted range a signal says no more


def _log(x: Floats) -> Floats:
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)))


Scale = Literal["identity", "log", "logit"]
SCALES: dict[Scale, Callable[[Floats], Floats]] = {
    "identity": lambda x: x,
    "log": _log,
    "logit": logit,
}
"""What a signal goes through before it is standardised; ``logit`` only for values in 0..1."""


@dataclass(frozen=True)
class Feature:
    """One signal's way into the logit: ``weight * clip((scale(x) - mean) / deviation)``.

    A NaN counts as the mean, so it moves nothing; an infinity is clipped.
    """

    name: str
    scale: Scale
    mean: float
    deviation: float
    weight: float = 0.0

    def standardise(self, values: Floats) -> Floats:
        """Raw values [n] to standard deviations from the mean, [n], in -4..4."""
        z = (SCALES[self.scale](values) - self.mean) / self.deviation
        return np.nan_to_num(np.clip(z, -_CLIP, _CLIP), nan=0.0)


@dataclass(frozen=True)
class ConfidenceHead:
    """Signals in, ``confidence`` out: the probability that the answer is right and supported.

    ``statistics`` holds what was measured while fitting (out of fold), ``data_hash`` names the
    rows it was fitted on.
    """

    features: tuple[Feature, ...]
    bias: float
    calibration: Calibration
    data_hash: str = ""
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.features)

    def score(self, signals: Mapping[str, float]) -> float:
        """Confidence in 0..1; raises UserError naming the signals that the head needs and lacks.

        Further signals are ignored; a NaN counts as the signal's mean.
        """
        return float(self.score_rows([signals])[0])

    def score_rows(self, rows: Sequence[Mapping[str, float]]) -> Floats:
        """The same for many rows: [n]."""
        return self.calibration(self.logits(_columns(rows, self.names)))

    def logits(self, columns: Floats) -> Floats:
        """Uncalibrated log-odds [n] of raw signals [n, features]."""
        z = _standardise(self.features, columns)
        return np.asarray(z @ np.array([f.weight for f in self.features]) + self.bias)

    def save(self, path: Path) -> None:
        """Writes JSON, whole or not at all."""
        text = json.dumps({"version": VERSION, **asdict(self)}, indent=1, allow_nan=False)
        write_atomically(path, text + "\n")

    @classmethod
    def load(cls, path: Path) -> ConfidenceHead:
        """Raises UserError when the file is missing, broken, or of another version."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["version"] != VERSION:
                raise UserError(
                    f"confidence head {path} has version {stored['version']}, this program reads "
                    f"version {VERSION}: fit it again"
                )
            knots = stored["calibration"]
            return cls(
                features=tuple(Feature(**f) for f in stored["features"]),
                bias=float(stored["bias"]),
                calibration=Calibration(knots["kind"], tuple(knots["x"]), tuple(knots["y"])),
                data_hash=str(stored["data_hash"]),
                statistics=dict(stored["statistics"]),
            )
        except OSError as e:
            raise UserError(f"cannot read the confidence head {path}: {e.strerror}") from e
        except (ValueError, KeyError, TypeError) as e:
            raise UserError(f"{path} is not a confidence head ({e!r}): fit it again") from e


def fit_head(
    rows: Sequence[Mapping[str, float]],
    labels: Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    present: Sequence[bool] | None = None,
    signs: Mapping[str, int] | None = None,
    seed: int = 0,
) -> ConfidenceHead:
    """Fits a head on one row of signals and one label (right and supported) per question.

    ``present``: whether the facts stood in the database at all. Given, the weights are fitted on
    the mean of both labels, so that a question answered wrongly from the right passage pulls
    less against the signals that found the passage; what confidence means stays the same, since
    calibration is learned on ``labels`` alone.
    ``signs``: +1 or -1 for signals whose weight must not be negative or positive (what a signal
    means is known beforehand: ``retro.signals``); 0 or no entry leaves it free.
    ``groups`` (articles, say) are never split between learning and measuring; without them every
    row is its own group. Give rows of each condition in the proportion in which confidence shall
    be calibrated. The penalty is the one with the least out-of-fold log-loss; the calibration map
    is learned on those out-of-fold logits, which no weight has seen, and the weights are then
    fitted again on all rows. The same arguments give the same head. Raises UserError when signals
    differ between rows, or there are fewer than two groups or only one kind of label.
    """
    y = np.asarray(labels, dtype=np.float64)
    groups = range(len(y)) if groups is None else groups
    if not len(rows) == len(y) == len(groups) == len(present or y):
        raise ValueError(f"{len(rows)} rows, {len(y)} labels, {len(groups)} groups")
    folds = _folds(groups, seed)
    if folds.max(initial=0) == 0 or y.min() == y.max():
        raise UserError(
            f"cannot fit a confidence head on {len(y)} rows in {len(set(groups))} groups with "
            f"{int(y.sum())} right: it needs two groups, and right and wrong ones"
        )
    names = sorted(set().union(*rows))
    columns = _columns(rows, names)
    held = y if present is None else np.asarray(present, dtype=np.float64)
    target = (y + held) / 2
    wanted = np.array([(signs or {}).get(name, 0) for name in names])
    penalty, logits = _choose_penalty(columns, names, target, wanted, folds)
    kind, ece = _choose_calibration(logits, y, folds)
    features, bias = _fit(columns, names, target, wanted, penalty)
    return ConfidenceHead(
        features=tuple(f for f in features if f.weight),
        bias=bias,
        calibration=CALIBRATIONS[kind](logits, y),
        data_hash=hashlib.sha256(
            "".join(names).encode() + columns.tobytes() + y.tobytes() + held.tobytes()
        ).hexdigest(),
        statistics={
            "num_rows": len(y),
            "num_groups": len(set(groups)),
            "share_right": float(y.mean()),
            "penalty": penalty,
            "auroc": auroc(logits, y),
            **({"auroc_present": auroc(logits, held)} if held.min() < held.max() else {}),
            "ece": ece,
        },
    )


def _columns(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> Floats:
    """Raw signals [rows, names]; UserError naming those that any row lacks."""
    lacking = sorted({name for row in rows for name in names if name not in row})
    if lacking:
        raise UserError(
            f"signals missing for the confidence head: {', '.join(lacking)}; score with the model "
            "and index settings it was fitted with, or fit it again"
        )
    return np.array([[row[name] for name in names] for row in rows], dtype=np.float64)


def _standardise(features: Sequence[Feature], columns: Floats) -> Floats:
    return np.stack([f.standardise(c) for f, c in zip(features, columns.T, strict=True)], axis=1)


def _folds(groups: Sequence[Hashable], seed: int) -> NDArray[np.int64]:
    """A fold for each row [n]; a group's rows share one."""
    number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    fold = np.random.default_rng(seed).permutation(len(number)) % NUM_FOLDS
    return np.asarray(fold[[number[g] for g in groups]], dtype=np.int64)


def _choose_penalty(
    columns: Floats,
    names: Sequence[str],
    y: Floats,
    signs: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> tuple[float, Floats]:
    """The penalty with the least out-of-fold log-loss, and its out-of-fold logits [n]."""

    def out_of_fold(penalty: float) -> Floats:
        logits = np.empty(len(y))
        for fold in np.unique(folds):
            held = folds == fold
            features, bias = _fit(columns[~held], names, y[~held], signs, penalty)
            logits[held] = ConfidenceHead(features, bias, PLAIN).logits(columns[held])
        return logits

    tried = {penalty: out_of_fold(penalty) for penalty in PENALTIES}
    best = min(tried, key=lambda penalty: log_loss(tried[penalty], y))
    return best, tried[best]


def _choose_calibration(logits: Floats, y: Floats, folds: NDArray[np.int64]) -> tuple[Kind, float]:
    """The kind of map with the least calibration error on folds it has not seen, and that error."""

    def error(fit: Callable[[Floats, Floats], Calibration]) -> float:
        confidence = np.empty(len(y))
        for fold in np.unique(folds):
            held = folds == fold
            confidence[held] = fit(logits[~held], y[~held])(logits[held])
        return calibration_error(confidence, y)

    errors = {kind: error(fit) for kind, fit in CALIBRATIONS.items()}
    best = min(errors, key=errors.__getitem__)
    return best, errors[best]


def _fit(
    columns: Floats, names: Sequence[str], y: Floats, signs: NDArray[np.int64], penalty: float
) -> tuple[tuple[Feature, ...], float]:
    unweighted = [_prepare(n, c, y) for n, c in zip(names, columns.T, strict=True)]
    bias, weights = _signed_logistic(_standardise(unweighted, columns), y, signs, penalty)
    weighted = zip(unweighted, weights, strict=True)
    return tuple(replace(f, weight=float(w)) for f, w in weighted), bias


def _signed_logistic(
    z: Floats, y: Floats, signs: NDArray[np.int64], penalty: float
) -> tuple[float, Floats]:
    """Bias and weights [features], none against its sign: the worst offender leaves until none
    is left (backward elimination; the optimum under sign constraints where signals do not
    conspire)."""
    kept = np.arange(z.shape[1])
    while True:
        bias, *fitted = logistic(z[:, kept], y, penalty)
        against = -np.asarray(fitted) * signs[kept]
        if against.max(initial=0.0) <= 0:
            break
        kept = np.delete(kept, int(against.argmax()))
    weights = np.zeros(z.shape[1])
    weights[kept] = fitted
    return float(bias), weights


def _prepare(name: str, values: Floats, y: Floats) -> Feature:
    """Mean and deviation under the scale in which the signal goes straightest with the label."""
    candidates = []
    for scale, apply in SCALES.items():
        known = values[np.isfinite(values)]
        if scale == "logit" and (known.min(initial=0) < 0 or known.max(initial=1) > 1):
            continue
        scaled = apply(known)
        feature = Feature(name, scale, *_moments(scaled))
        straightness = abs(float(feature.standardise(values) @ (y - y.mean())))
        candidates.append((straightness, feature))
    return max(candidates, key=lambda pair: pair[0])[1]


def _moments(values: Floats) -> tuple[float, float]:
    if not len(values) or values.min() == values.max():
        return float(values[:1].sum()), 1.0
    return float(values.mean()), float(values.std())
