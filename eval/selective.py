"""Does the confidence know what the database lacks: figures from predictions; asks no model itself.

Three views, because each hides what another shows:
``conditions``   what a user gets at the threshold in use, facts in or out;
``separation``   does it tell a question with its facts from the same without (no threshold);
``selection``    does it tell right answers from wrong ones, over mixtures of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.baselines import signals, trivial_scores
from eval.conditions import (
    ARTICLE_REMOVED,
    CONDITIONS,
    PASSAGE_REMOVED,
    PRESENT,
    UNANSWERABLE,
    Prediction,
)

Floats = NDArray[np.float64]
Figures = dict[str, Any]

ABSENT = (ARTICLE_REMOVED, PASSAGE_REMOVED, UNANSWERABLE)
LABELS = {"em": "exact match", "f1": "F1 ≥ .5"}
RISKS = (0.05, 0.10)


def evaluate(rows: Sequence[Prediction], seed: int = 0, num_resamples: int = 500) -> Figures:
    """All figures of the report, plain numbers; intervals are [value, low, high] at 95 %.

    Intervals resample articles, not questions: questions of one article are alike.
    """
    by_condition = {name: [r for r in rows if r.condition == name] for name in CONDITIONS}
    by_condition = {name: some for name, some in by_condition.items() if some}
    present = by_condition.get(PRESENT, [])
    mixtures = {name: present + by_condition[name] for name in ABSENT if name in by_condition}
    options = {"seed": seed, "num_resamples": num_resamples}
    return {
        "conditions": {name: at_threshold(some) for name, some in by_condition.items()},
        "separation": {
            name: separation(mixed, **options) for name, mixed in mixtures.items() if present
        },
        "selection": {
            name: {label: selection(mixed, label, **options) for label in LABELS}
            for name, mixed in {PRESENT: present, **mixtures}.items()
            if mixed
        },
        "timing_ms": timing(rows),
    }


def at_threshold(rows: Sequence[Prediction]) -> Figures:
    """One condition as a user meets it. Figures of the answered are NaN where nothing is answered.

    ``over_refusal`` is of the answerable rows; without any it is NaN.
    """
    answered = ~_abstained(rows)
    exact, overlap = np.array([r.exact for r in rows]), np.array([r.f1 for r in rows])
    figures = {
        "num": len(rows),
        "em": float(exact.mean()),
        "f1": float(overlap.mean()),
        "coverage": float(answered.mean()),
        "em_answered": _mean(exact[answered]),
        "f1_answered": _mean(overlap[answered]),
    }
    for label in LABELS:
        correct = _right(rows, label)
        figures[f"selective_risk_{label}"] = _mean(1 - correct[answered])
        figures[f"over_refusal_{label}"] = metrics.over_refusal(~answered, correct)
        figures[f"crag_{label}"] = metrics.crag_score(~answered, correct)
    return figures


def separation(rows: Sequence[Prediction], *, seed: int, num_resamples: int) -> Figures:
    """AUROC of telling rows whose facts are present from the others, for every score.

    ``gain``: the confidence's AUROC minus the baseline's on the same resamples (paired).
    ``signals``: each alone, the better of both directions; ``sign`` says which, ``num`` how many
    rows carry it. ``unanswered_only`` leaves out rows whose passage is absent but whose candidate
    is right all the same (exact match): another document may hold the fact.
    """
    held = np.array([row.condition == PRESENT for row in rows])
    trivial = trivial_scores(rows, held, seed)
    confidence = _confidence(rows)
    clean = held | (_right(rows, "em") == 0)

    def interval(statistic: Callable[[NDArray[np.int64]], float]) -> metrics.Interval:
        groups = [row.group for row in rows]
        return metrics.bootstrap(statistic, groups, num_resamples=num_resamples, seed=seed)

    def auroc(score: Floats) -> Callable[[NDArray[np.int64]], float]:
        return lambda some: metrics.auroc(score[some], held[some])

    def gain(score: Floats) -> Callable[[NDArray[np.int64]], float]:
        return lambda some: auroc(confidence)(some) - auroc(score)(some)

    return {
        "num_present": int(held.sum()),
        "num_absent": int((~held).sum()),
        "confidence": interval(auroc(confidence)),
        "unanswered_only": interval(lambda some: auroc(confidence)(some[clean[some]])),
        "baselines": {
            name: {"auroc": interval(auroc(score)), "gain": interval(gain(score))}
            for name, score in trivial.items()
        },
        "signals": {name: _alone(score, held) for name, score in signals(rows).items()},
    }


def selection(rows: Sequence[Prediction], label: str, *, seed: int, num_resamples: int) -> Figures:
    """Right against wrong candidates, ``label`` one of ``LABELS``; baselines beside the confidence.

    Calibration is the confidence's alone: the baselines are no probabilities.
    """
    correct, confidence = _right(rows, label), _confidence(rows)
    quality = correct if label == "em" else np.array([row.f1 for row in rows])
    groups = [row.group for row in rows]
    scores = {"confidence": confidence} | trivial_scores(rows, correct, seed)

    def interval(metric: Callable[[Floats, Floats], float]) -> metrics.Interval:
        return metrics.bootstrap(
            lambda some: metric(confidence[some], correct[some]),
            groups,
            num_resamples=num_resamples,
            seed=seed,
        )

    return {
        "num": len(rows),
        "share_right": float(correct.mean()),
        "scores": {name: _ranking(score, correct, quality) for name, score in scores.items()},
        "intervals": {name: interval(metric) for name, metric in _WITH_INTERVAL.items()},
        "ece_of_calibrated": metrics.ece_of_calibrated(confidence),
        "curves": {name: _curve(score, correct) for name, score in scores.items()},
        "reliability": np.transpose(metrics.reliability(confidence, correct)).tolist(),
    }


def timing(rows: Sequence[Prediction]) -> dict[str, float]:
    """Mean milliseconds of each stage over the rows that report it."""
    stages = sorted({stage for row in rows for stage in row.answer.timing_ms})
    taken = {s: [r.answer.timing_ms[s] for r in rows if s in r.answer.timing_ms] for s in stages}
    return {stage: float(np.mean(values)) for stage, values in taken.items()}


def _at_risk(risk: float) -> Callable[[Floats, Floats], float]:
    return lambda confidence, right: metrics.coverage_at_risk(confidence, right, risk)


_WITH_INTERVAL: Mapping[str, Callable[[Floats, Floats], float]] = {
    "auroc": metrics.auroc,
    **{f"coverage_at_{risk:.0%}_risk": _at_risk(risk) for risk in RISKS},
    "aurc": metrics.aurc,
    "ece": metrics.ece,
    "brier": metrics.brier,
}


def _ranking(score: Floats, correct: Floats, quality: Floats) -> Figures:
    return {
        "auroc": metrics.auroc(score, correct),
        "aurc": metrics.aurc(score, correct),
        "e_aurc": metrics.e_aurc(score, correct),
        "augrc": metrics.augrc(score, correct),
        "prr": metrics.prr(score, quality),
        **{f"coverage_at_{r:.0%}_risk": metrics.coverage_at_risk(score, correct, r) for r in RISKS},
    }


def _curve(score: Floats, correct: Floats, num_points: int = 100) -> list[list[float]]:
    """``[coverage, selective risk]``, thinned to ``num_points`` evenly over the points."""
    curve = metrics.risk_coverage(score, correct)
    kept = np.unique(np.linspace(0, len(curve.coverage) - 1, num_points).round().astype(int))
    points: list[list[float]] = np.transpose(curve[1:])[kept].tolist()
    return points


def _alone(score: Floats, held: NDArray[np.bool_]) -> Figures:
    known = ~np.isnan(score)
    area = metrics.auroc(score[known], held[known])
    sign = 1 if area >= 0.5 else -1
    return {"auroc": max(area, 1 - area), "sign": sign, "num": int(known.sum())}


def _confidence(rows: Sequence[Prediction]) -> Floats:
    return np.array([row.answer.confidence for row in rows], dtype=np.float64)


def _abstained(rows: Sequence[Prediction]) -> NDArray[np.bool_]:
    return np.array([row.answer.abstained for row in rows], dtype=bool)


def _right(rows: Sequence[Prediction], label: str) -> Floats:
    return np.array([row.right[label] for row in rows], dtype=np.float64)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
