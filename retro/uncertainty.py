"""From signals to one calibrated probability; knows numbers and names, no model and no text.

A ``ConfidenceHead`` is a product of logistic regressions on standardised signals, followed by a
calibration map, stored as JSON: P(right) = P(the facts are there) * P(right, if they are). The two
go by different signals: what search found says little about whether it was read rightly.
``fit_head`` chooses each signal's scale, the L2 penalties and the calibration by cross-validation
over groups, so that no article is both learned from and measured on. Boosted trees and pairwise
products were measured and were no better (AUROC within .003), so there are none. A weight may be
zero, but never has the sign that its signal's meaning forbids: such weights fit the questions at
hand and mislead on others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index.disk import write_atomically
from index.errors import UserError
from retro.calibration import (
    CALIBRATIONS,
    Calibration,
    Floats,
    Kind,
    auroc,
    calibration_error,
    log_loss,
    logistic,
    logit,
)
from retro.records import stored

VERSION = 2
NUM_FOLDS = 5
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
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
class Factor:
    """One logistic regression: a probability that the answer needs in order to be right."""

    features: tuple[Feature, ...]
    bias: float

    def logits(self, columns: Mapping[str, Floats]) -> Floats:
        """Log-odds [n] from raw signals, [n] each; one number where no feature is left."""
        weighed = [f.weight * f.standardise(columns[f.name]) for f in self.features]
        return np.asarray(self.bias + sum(weighed))


@dataclass(frozen=True)
class ConfidenceHead:
    """Signals in, ``confidence`` out: the probability that the answer is right and supported.

    ``factors``: their probabilities are multiplied. ``statistics`` holds what was measured while
    fitting (out of fold), ``data_hash`` names the rows it was fitted on.
    """

    factors: tuple[Factor, ...]
    calibration: Calibration
    data_hash: str = ""
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The signals that any factor reads, in alphabetical order."""
        return tuple(sorted({f.name for factor in self.factors for f in factor.features}))

    def score(self, signals: Mapping[str, float]) -> float:
        """Confidence in 0..1; raises UserError naming the signals that the head needs and lacks.

        Further signals are ignored; a NaN counts as the signal's mean.
        """
        return float(self.score_rows([signals])[0])

    def score_rows(self, rows: Sequence[Mapping[str, float]]) -> Floats:
        """The same for many rows: [n]."""
        columns = _columns(rows, self.names)
        logits = _product([factor.logits(columns) for factor in self.factors])
        return self.calibration(np.broadcast_to(logits, len(rows)))

    def save(self, path: Path) -> None:
        """Writes JSON, whole or not at all."""
        text = json.dumps({"version": VERSION, **asdict(self)}, indent=1, allow_nan=False)
        write_atomically(path, text + "\n")

    @classmethod
    def load(cls, path: Path) -> ConfidenceHead:
        """Raises UserError when the file is missing, broken, or of another version."""
        with stored(path, "a confidence head", "fit it again") as held:
            if held["version"] != VERSION:
                raise UserError(
                    f"confidence head {path} has version {held['version']}, this program reads "
                    f"version {VERSION}: fit it again"
                )
            knots = held["calibration"]
            return cls(
                factors=tuple(
                    Factor(tuple(Feature(**f) for f in factor["features"]), float(factor["bias"]))
                    for factor in held["factors"]
                ),
                calibration=Calibration(knots["kind"], tuple(knots["x"]), tuple(knots["y"])),
                data_hash=str(held["data_hash"]),
                statistics=dict(held["statistics"]),
            )


def fit_head(
    rows: Sequence[Mapping[str, float]],
    labels: Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    present: Sequence[bool] | None = None,
    calibrating: Sequence[bool] | None = None,
    certainty: Collection[str] | None = None,
    signs: Mapping[str, int] | None = None,
    seed: int = 0,
) -> tuple[ConfidenceHead, Floats]:
    """Fits a head on one row of signals and one label (right and supported) per question; gives
    it and the confidence [rows] of each row by weights that have not seen its group.

    ``present``: whether the facts stood in the database at all. Given, two factors are fitted: on
    all rows, that they did, and on the rows in which they did, from those signals that are in
    ``certainty`` (from all, if none is), that the answer is right. Where there are not enough rows
    of each kind for that, one is, on all rows from all signals, for the answer being right.
    ``calibrating``: rows whose labels can be trusted one by one: the others teach weights, and the
    calibration map is learned on these (on all, if these have one kind of label only).
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
    if not len(rows) == len(y) == len(groups) == len(present or y) == len(calibrating or y):
        raise ValueError(f"{len(rows)} rows, {len(y)} labels, {len(groups)} groups")
    folds = folds_of(groups, seed)
    if folds.max(initial=0) == 0 or y.min() == y.max():
        raise UserError(
            f"cannot fit a confidence head on {len(y)} rows in {len(set(groups))} groups with "
            f"{int(y.sum())} right: it needs two groups, and right and wrong ones"
        )
    names = sorted(set().union(*rows))
    columns = _columns(rows, names)
    held = y if present is None else np.asarray(present, dtype=np.float64)
    wanted = {name: (signs or {}).get(name, 0) for name in names}
    everywhere = np.ones(len(y), dtype=bool)
    two = _separable(y, held, folds)
    sure = {name: columns[name] for name in names if name in (certainty or names)} or columns
    presence, right = (columns, held, everywhere), (sure, y, held > 0)
    targets = [presence, right] if two else [(columns, y, everywhere)]
    fitted = [_fit_factor(*target, wanted, folds) for target in targets]
    logits = _product([unseen for _, unseen, _ in fitted])
    told = _both_kinds(calibrating, y)
    kind, ece = _choose_calibration(logits[told], y[told], folds[told])
    penalties = dict(zip(("penalty", "penalty_right"), (f[2] for f in fitted), strict=False))
    calibration = CALIBRATIONS[kind](logits[told], y[told])
    head = ConfidenceHead(
        factors=tuple(factor for factor, _, _ in fitted),
        calibration=calibration,
        data_hash=hashlib.sha256(
            "".join(names).encode()
            + b"".join(columns[name].tobytes() for name in names)
            + y.tobytes()
            + held.tobytes()
        ).hexdigest(),
        statistics={
            "num_rows": len(y),
            "num_groups": len(set(groups)),
            "share_right": float(y.mean()),
            **penalties,
            "auroc": auroc(logits, y),
            **(_by_presence(logits, y, held) if two else {}),
            "ece": ece,
        },
    )
    return head, calibration(logits)


def _separable(y: Floats, held: Floats, folds: NDArray[np.int64]) -> bool:
    """Whether outside of every fold there are rows without the facts, and with them rows both
    right and wrong: else nothing can be learned of the two apart."""
    kinds = np.where(held > 0, 1.0 + y, 0.0)
    return all(len(np.unique(kinds[folds != fold])) == 3 for fold in np.unique(folds))


def _both_kinds(wanted: Sequence[bool] | None, y: Floats) -> NDArray[np.bool_]:
    """The wanted rows [n], if they are right and wrong ones; else all."""
    everywhere = np.ones(len(y), dtype=bool)
    chosen = everywhere if wanted is None else np.asarray(wanted, dtype=bool)
    return chosen if len(np.unique(y[chosen])) > 1 else everywhere


def _by_presence(logits: Floats, y: Floats, held: Floats) -> dict[str, float]:
    """How well facts that are there are told from those that are not, and right answers from
    wrong ones where they are."""
    there = held > 0
    return {
        "auroc_present": auroc(logits, held),
        "auroc_right_if_present": auroc(logits[there], y[there]),
    }


def _product(logits: Sequence[Floats]) -> Floats:
    """Log-odds [n] of the product of probabilities given as log-odds [n] each."""
    if len(logits) == 1:
        return np.asarray(logits[0])
    log_p = -sum(np.logaddexp(0.0, -each) for each in logits)
    return np.asarray(log_p - np.log(-np.expm1(log_p)))


def _columns(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, Floats]:
    """Raw signals by name, [rows] each; UserError naming those that any row lacks."""
    lacking = sorted({name for row in rows for name in names if name not in row})
    if lacking:
        raise UserError(
            f"signals missing for the confidence head: {', '.join(lacking)}; score with the model "
            "and index settings it was fitted with, or fit it again"
        )
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}


def folds_of(groups: Sequence[Hashable], seed: int) -> NDArray[np.int64]:
    """One of ``NUM_FOLDS`` folds for each row [n]; a group's rows share one."""
    number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    fold = np.random.default_rng(seed).permutation(len(number)) % NUM_FOLDS
    return np.asarray(fold[[number[g] for g in groups]], dtype=np.int64)


def _fit_factor(
    columns: Mapping[str, Floats],
    y: Floats,
    learned: NDArray[np.bool_],
    signs: Mapping[str, int],
    folds: NDArray[np.int64],
) -> tuple[Factor, Floats, float]:
    """The factor for label ``y`` [n], from the rows ``learned`` [n]; its out-of-fold logits on all
    rows [n]; and its penalty, which is the one with the least out-of-fold log-loss."""

    def out_of_fold(penalty: float) -> Floats:
        logits = np.empty(len(y))
        for fold in np.unique(folds):
            held = folds == fold
            rows = learned & ~held
            factor = _fit(_rows(columns, rows), y[rows], signs, penalty)
            logits[held] = factor.logits(_rows(columns, held))
        return logits

    tried = {penalty: out_of_fold(penalty) for penalty in PENALTIES}
    best = min(tried, key=lambda penalty: log_loss(tried[penalty][learned], y[learned]))
    factor = _fit(_rows(columns, learned), y[learned], signs, best)
    features = tuple(f for f in factor.features if f.weight)
    return replace(factor, features=features), tried[best], best


def _rows(columns: Mapping[str, Floats], rows: NDArray[np.bool_]) -> dict[str, Floats]:
    return {name: values[rows] for name, values in columns.items()}


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
    columns: Mapping[str, Floats], y: Floats, signs: Mapping[str, int], penalty: float
) -> Factor:
    unweighted = [_prepare(name, values, y) for name, values in columns.items()]
    z = np.stack([f.standardise(columns[f.name]) for f in unweighted], axis=1)
    wanted = np.array([signs[f.name] for f in unweighted])
    bias, weights = _signed_logistic(z, y, wanted, penalty)
    weighted = zip(unweighted, weights, strict=True)
    return Factor(tuple(replace(f, weight=float(w)) for f, w in weighted), bias)


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
