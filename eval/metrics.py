"""How good a confidence is: ranking, selection, calibration; this module knows numbers, no text.

Everywhere ``confidence`` [n] is higher = surer and ``right`` [n] is 0/1 (or a quality in 0..1).
Equal confidences are exchangeable: a figure that needs an order is the mean over all orders of
the tied rows, so no figure depends on the order of the file. Empty input raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class RiskCoverage(NamedTuple):
    """One operating point per distinct confidence, strictest first; every array is [points]."""

    thresholds: Floats
    coverage: Floats
    selective_risk: Floats


class Interval(NamedTuple):
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Chance that a random positive row scores above a random negative one; a tie counts half.

    The Mann-Whitney form (Hanley & McNeil 1982). It needs no threshold and no calibration, and
    .5 is chance whatever the share of positives, so signals of any unit compare. NaN if one
    class is missing: there is nothing to separate.
    """
    values, positive = _floats(scores), np.asarray(labels).astype(bool)
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if not num_positive or not num_negative:
        return float("nan")
    _, rank, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    above = mean_rank[rank][positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> RiskCoverage:
    """Selective risk (wrong / answered) at every coverage that a threshold can reach.

    The curve a user chooses a point on (El-Yaniv & Wiener 2010). Tied rows are answered together
    or not at all, as ``confidence >= threshold`` does.
    """
    values, correct = _sure_first(confidence, right)
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    answered = last + 1
    wrong = answered - np.cumsum(correct)[last]
    return RiskCoverage(values[last], answered / len(values), wrong / answered)


def aurc(confidence: ArrayLike, right: ArrayLike) -> float:
    """Mean selective risk over coverages 1/n, 2/n, … 1; lower is better (Geifman et al. 2019).

    One number for the whole curve, but it mixes two things: how often the model is wrong at all,
    and how well confidence ranks. ``e_aurc`` takes the first one out.
    """
    _, correct = _sure_first(confidence, right)
    answered = np.arange(1, len(correct) + 1)
    return float(np.mean(1 - np.cumsum(correct) / answered))


def e_aurc(confidence: ArrayLike, right: ArrayLike) -> float:
    """``aurc`` above that of a perfect ranking of the same answers; 0 is perfect.

    The ranking's own share of ``aurc`` (Geifman et al. 2019). The optimum is the exact one of
    these n answers, not the large-n formula, so 0 is reached.
    """
    return aurc(confidence, right) - aurc(right, right)


def augrc(confidence: ArrayLike, right: ArrayLike) -> float:
    """Mean over coverages of wrong *answered* / all rows; lower is better (Traub et al. 2024).

    The chance of a silent failure when the threshold is not known yet. Unlike ``aurc`` it does
    not let the few surest rows dominate: each wrong answer weighs as much as its rank.
    """
    _, correct = _sure_first(confidence, right)
    return float(np.mean(np.cumsum(1 - correct)) / len(correct))


def coverage_at_risk(confidence: ArrayLike, right: ArrayLike, risk: float) -> float:
    """Largest share that can be answered with at most ``risk`` (0..1) wrong among the answered.

    What a user of "at most 5 % wrong" gets. The threshold is chosen on these very rows, so this
    describes the ranking and promises nothing about new questions. 0 if no threshold reaches it.
    """
    curve = risk_coverage(confidence, right)
    return float(np.max(curve.coverage, where=curve.selective_risk <= risk + 1e-12, initial=0.0))


def prr(confidence: ArrayLike, quality: ArrayLike, max_rejection: float = 0.5) -> float:
    """Prediction-rejection ratio as LM-Polygraph defines it: 1 = oracle, 0 = random, < 0 = worse.

    Mean ``quality`` of what is kept while the least sure rows are rejected one by one, up to
    ``max_rejection`` of them, between the same for random rejection and for an oracle (Malinin &
    Gales 2021; Vashurin et al. 2025). Takes graded quality (F1), where AUROC needs a cut. The
    random curve is its expectation, the mean quality, instead of 1,000 shuffles. NaN if no order is
    better than another: all qualities are equal, or too few can be rejected.
    """
    wanted = _floats(quality)
    num_rejected = int(max_rejection * len(wanted))
    if not num_rejected or np.ptp(wanted) == 0:
        return float("nan")
    area = _kept_quality(confidence, wanted, num_rejected)
    oracle = _kept_quality(wanted, wanted, num_rejected)
    if oracle == wanted.mean():
        return float("nan")
    return float((area - wanted.mean()) / (oracle - wanted.mean()))


def reliability(
    confidence: ArrayLike, right: ArrayLike, num_bins: int = 15
) -> tuple[Floats, Floats, Floats]:
    """Bins of equal mass, unsure first: mean confidence, share right, rows; each [<= num_bins].

    Equal mass, because confidences crowd: bins of equal width leave most rows in one bin and
    noise in the others (Nixon et al. 2019).
    """
    values, correct = _sure_first(confidence, right)
    order = np.array_split(np.arange(len(values))[::-1], min(num_bins, len(values)))
    means = [(values[rows].mean(), correct[rows].mean(), len(rows)) for rows in order]
    mean_confidence, share_right, num_rows = np.array(means, dtype=np.float64).T
    return mean_confidence, share_right, num_rows


def ece(confidence: ArrayLike, right: ArrayLike, num_bins: int = 15) -> float:
    """Expected calibration error, bins of equal mass: mean |confidence - share right|, 0 is best.

    Says whether "80 %" means 80 % (Naeini et al. 2015). A constant at the base rate gets 0, so it
    is worth nothing without a ranking metric beside it.
    """
    mean_confidence, share_right, num_rows = reliability(confidence, right, num_bins)
    return float(np.average(np.abs(mean_confidence - share_right), weights=num_rows))


def ece_of_calibrated(
    confidence: ArrayLike, num_bins: int = 15, *, num_draws: int = 500, seed: int = 0
) -> float:
    """``ece`` that these confidences would get if each were the true probability of being right.

    The binned estimate is biased upwards: bins of few rows miss their mean by chance (Kumar et al.
    2019, "Verified Uncertainty Calibration", §5). A measured ``ece`` near this one is as low as
    so many rows can show; only more rows could tell it from 0. Mean over ``num_draws`` draws.
    """
    values = _floats(confidence)
    drawn = np.random.default_rng(seed).random((num_draws, len(values))) < values
    return float(np.mean([ece(values, right, num_bins) for right in drawn]))


def brier(confidence: ArrayLike, right: ArrayLike) -> float:
    """Mean squared difference of confidence and outcome, lower is better (Brier 1950).

    A proper score: only the true probability minimises it, so calibration cannot be bought with
    a useless constant as under ``ece``. Confidence must lie in 0..1.
    """
    return float(np.mean((_floats(confidence) - _floats(right)) ** 2))


def over_refusal(abstained: ArrayLike, right: ArrayLike) -> float:
    """Of the answerable questions whose candidate was right, the share declined; lower is better.

    Declining is free in every risk figure; this is its price. Give answerable rows only. NaN if no
    candidate was right.
    """
    declined, correct = np.asarray(abstained, dtype=bool), np.asarray(right, dtype=bool)
    return float(declined[correct].mean()) if correct.any() else float("nan")


def crag_score(abstained: ArrayLike, right: ArrayLike) -> float:
    """Mean of +1 right, 0 declined, -1 wrong, in -1..1 (Yang et al. 2024, CRAG's truthfulness).

    One number at the threshold in use, in which guessing costs as much as knowing earns:
    declining everything scores 0, and answering everything scores below 0 if most is wrong.
    """
    answered = ~np.asarray(abstained, dtype=bool)
    return float(np.mean(answered * (2 * _floats(right) - 1)))


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    groups: Sequence[object],
    *,
    num_resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of ``statistic(rows)`` over resampled groups.

    The cluster bootstrap (Efron 1979; Field & Welsh 2007). ``groups`` [n] names each row's
    group; whole groups are drawn with replacement, so rows that hang together stay together: the
    two conditions of one question (a paired comparison), or the questions of one article, which
    are alike and would make the interval too narrow. For a difference of two systems compute both
    inside ``statistic``: the same draw serves both. Resamples in which the statistic is NaN are
    left out. Of one group alone nothing can be said: the ends are NaN.
    """
    _, codes = np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    generator = np.random.default_rng(seed)
    draws = [
        statistic(np.concatenate([members[g] for g in picked]))
        for picked in generator.integers(len(members), size=(num_resamples, len(members)))
    ]
    tail = (1 - level) / 2
    known = [draw for draw in draws if not np.isnan(draw)] if len(members) > 1 else []
    low, high = np.quantile(known, [tail, 1 - tail]) if known else (np.nan, np.nan)
    return Interval(statistic(np.arange(len(codes))), float(low), float(high))


def _floats(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"expected a non-empty row of numbers, got shape {array.shape}")
    return array


def _sure_first(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    """Both sorted surest first; ``right`` is averaged over rows of equal confidence."""
    values, correct = _floats(confidence), _floats(right)
    distinct, group, counts = np.unique(-values, return_inverse=True, return_counts=True)
    mean_right = np.bincount(group, weights=correct) / counts
    return -np.repeat(distinct, counts), np.repeat(mean_right, counts)


def _kept_quality(confidence: ArrayLike, quality: ArrayLike, num_rejected: int) -> float:
    """Mean quality of the kept rows, averaged over rejecting 0, 1, … num_rejected - 1 of them."""
    _, sorted_quality = _sure_first(confidence, quality)
    kept = np.cumsum(sorted_quality) / np.arange(1, len(sorted_quality) + 1)
    return float(kept[-num_rejected:].mean())
