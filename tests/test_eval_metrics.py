"""Metrics against known values, brute force and other people's implementations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from eval import metrics

# Few distinct values on purpose: ties are where such code goes wrong.
ROWS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30)
FEW_ROWS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6)
QUICK = settings(max_examples=30)
METRICS_OF_ORDER = [metrics.aurc, metrics.e_aurc, metrics.augrc, metrics.ece, metrics.auroc]


def columns(rows: list[tuple[int, bool]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    confidence, right = zip(*rows, strict=True)
    return np.array(confidence) / 4, np.array(right, dtype=float)


@QUICK
@given(ROWS)
def test_auroc_is_sklearns_with_ties(rows: list[tuple[int, bool]]) -> None:
    confidence, right = columns(rows)
    assume(0 < right.sum() < len(right))
    assert metrics.auroc(confidence, right) == pytest.approx(roc_auc_score(right, confidence))


def test_auroc_of_one_class_is_unknown() -> None:
    assert np.isnan(metrics.auroc([0.1, 0.9], [1, 1]))


@QUICK
@given(ROWS)
def test_auroc_turns_over_with_the_sign(rows: list[tuple[int, bool]]) -> None:
    confidence, right = columns(rows)
    assume(0 < right.sum() < len(right))
    turned = metrics.auroc(-confidence, right)
    assert metrics.auroc(confidence, right) == pytest.approx(1 - turned)


def test_risk_coverage_has_one_point_per_reachable_threshold() -> None:
    curve = metrics.risk_coverage([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 0])
    assert curve.thresholds.tolist() == [0.9, 0.5, 0.1]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.selective_risk == pytest.approx([0, 1 / 3, 1 / 2])


@QUICK
@given(ROWS)
def test_risk_coverage_points_are_what_a_threshold_gives(rows: list[tuple[int, bool]]) -> None:
    confidence, right = columns(rows)
    for threshold, coverage, risk in zip(*metrics.risk_coverage(confidence, right), strict=True):
        answered = confidence >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx(1 - right[answered].mean())


@QUICK
@given(FEW_ROWS)
def test_aurc_and_augrc_are_means_over_the_orders_of_ties(rows: list[tuple[int, bool]]) -> None:
    confidence, right = columns(rows)
    orders = [list(o) for o in permutations(range(len(rows)))]
    orders = [o for o in orders if (np.diff(confidence[o]) <= 0).all()]
    wrong = [np.cumsum(1 - right[o]) for o in orders]
    answered = np.arange(1, len(rows) + 1)
    expected = np.mean([w / answered for w in wrong])
    assert metrics.aurc(confidence, right) == pytest.approx(expected)
    assert metrics.augrc(confidence, right) == pytest.approx(np.mean(wrong) / len(rows))


def test_aurc_by_hand() -> None:
    # Answered one by one: wrong so far 0, 1, 1, 2.
    confidence, right = [0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]
    assert metrics.aurc(confidence, right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert metrics.augrc(confidence, right) == pytest.approx((0 + 1 + 1 + 2) / 4 / 4)
    assert metrics.e_aurc(confidence, right) == pytest.approx((1 / 2 + 1 / 3 - 1 / 3) / 4)


@QUICK
@given(ROWS)
def test_e_aurc_is_zero_for_the_perfect_ranking_and_never_below(
    rows: list[tuple[int, bool]],
) -> None:
    confidence, right = columns(rows)
    assert metrics.e_aurc(confidence, right) >= -1e-12
    assert metrics.e_aurc(right, right) == 0


@QUICK
@given(ROWS)
def test_augrc_follows_from_auroc_and_accuracy(rows: list[tuple[int, bool]]) -> None:
    """Traub et al. 2024, eq. 8: AUGRC = (1 - AUROC) acc (1 - acc) + (1 - acc)² / 2, up to 1/n."""
    confidence, right = columns(rows)
    accuracy, num = right.mean(), len(right)
    assume(0 < accuracy < 1)
    area = (1 - metrics.auroc(confidence, right)) * accuracy * (1 - accuracy)
    expected = area + (1 - accuracy) ** 2 / 2 + (1 - accuracy) / (2 * num)
    assert metrics.augrc(confidence, right) == pytest.approx(expected)


def test_coverage_at_risk_takes_the_largest_reachable_coverage() -> None:
    # Risks 0, 1/2, 1/3, 1/4, 2/5: the curve comes back under 25 % at four of five.
    confidence, right = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 1, 0]
    assert metrics.coverage_at_risk(confidence, right, 0.25) == 0.8
    assert metrics.coverage_at_risk(confidence, right, 0.10) == 0.2
    assert metrics.coverage_at_risk(confidence, [0] * 5, 0.10) == 0.0


def test_coverage_at_risk_cannot_split_a_tie() -> None:
    assert metrics.coverage_at_risk([0.9, 0.9], [1, 0], 0.1) == 0.0


@QUICK
@given(ROWS)
def test_coverage_at_risk_keeps_its_risk(rows: list[tuple[int, bool]]) -> None:
    confidence, right = columns(rows)
    coverage = metrics.coverage_at_risk(confidence, right, 0.3)
    curve = metrics.risk_coverage(confidence, right)
    assert coverage == 0 or curve.selective_risk[curve.coverage == coverage] <= 0.3 + 1e-12
    assert (curve.selective_risk[curve.coverage > coverage] > 0.3).all()


def test_prr_by_hand() -> None:
    # Half of four rows may be rejected: kept means of 4 and of 3 rows count.
    quality = [1.0, 0.0, 1.0, 0.5]
    confidence = [0.9, 0.1, 0.3, 0.4]  # drops the 0.0 first, as the oracle does
    assert metrics.prr(confidence, quality) == pytest.approx(1.0)
    worst = metrics.prr([0.1, 0.9, 0.3, 0.4], quality)  # drops a 1.0 first: kept mean 0.5
    assert worst == pytest.approx((0.5 - 0.625) / (2.5 / 3 - 0.625))


@QUICK
@given(st.lists(st.floats(0, 1), min_size=4, max_size=20, unique=True), st.randoms())
def test_prr_is_the_ratio_of_areas(quality: list[float], random: object) -> None:
    """Against areas summed rejection by rejection, scaled to 0..1 as LM-Polygraph scales them."""
    confidence = np.random.default_rng(len(quality)).permutation(len(quality))
    assume(max(quality) - min(quality) > 1e-3)
    scaled = (np.array(quality) - min(quality)) / (max(quality) - min(quality))

    def area(order: NDArray[np.int64]) -> float:
        surest = scaled[order]
        steps = int(0.5 * len(surest))
        return float(np.mean([surest[: len(surest) - gone].mean() for gone in range(steps)]))

    ours, oracle = area(np.argsort(-confidence)), area(np.argsort(-scaled))
    expected = (ours - scaled.mean()) / (oracle - scaled.mean())
    assert metrics.prr(confidence, quality) == pytest.approx(expected, abs=1e-9)


def test_prr_of_equal_qualities_is_unknown_and_of_a_constant_zero() -> None:
    assert np.isnan(metrics.prr([0.1, 0.2], [1.0, 1.0]))
    assert metrics.prr([0.5] * 4, [1, 0, 1, 0]) == pytest.approx(0)


def test_reliability_bins_hold_equal_numbers() -> None:
    confidence = np.linspace(0, 1, 30) ** 4  # crowded near 0
    mean_confidence, share_right, num_rows = metrics.reliability(confidence, confidence > 0.5, 5)
    assert num_rows.tolist() == [6] * 5
    assert (np.diff(mean_confidence) > 0).all()
    assert share_right.tolist() == sorted(share_right)


def test_ece_by_hand() -> None:
    # Two bins: mean .15 with none right, mean .85 with half right.
    assert metrics.ece([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 0], num_bins=2) == pytest.approx(0.25)


def test_true_probabilities_show_an_error_by_chance_that_shrinks_with_the_rows() -> None:
    few, many = ([0.2, 0.5, 0.8] * n for n in (10, 1000))
    # one bin of ten coins: E|heads / 10 - .5| = .123
    assert metrics.ece_of_calibrated([0.5] * 10, num_bins=1) == pytest.approx(0.123, abs=0.01)
    assert metrics.ece_of_calibrated(few) > 5 * metrics.ece_of_calibrated(many)
    assert metrics.ece_of_calibrated([0.0, 1.0] * 20) == 0


def test_ece_of_the_base_rate_is_zero_and_brier_is_not_fooled() -> None:
    right = [1, 0, 0, 0] * 10
    assert metrics.ece([0.25] * 40, right) == pytest.approx(0)
    assert metrics.brier([0.25] * 40, right) == pytest.approx(0.1875)


@QUICK
@given(ROWS)
def test_brier_is_sklearns(rows: list[tuple[int, bool]]) -> None:
    confidence, right = columns(rows)
    expected = brier_score_loss(right, confidence, pos_label=1)
    assert metrics.brier(confidence, right) == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS_OF_ORDER)
@QUICK
@given(rows=ROWS, seed=st.integers(0, 9))
def test_the_order_of_the_rows_does_not_matter(
    metric: object, rows: list[tuple[int, bool]], seed: int
) -> None:
    confidence, right = columns(rows)
    order = np.random.default_rng(seed).permutation(len(rows))
    assert callable(metric)
    expected = metric(confidence, right)
    assert metric(confidence[order], right[order]) == pytest.approx(expected, nan_ok=True)


def test_over_refusal_is_of_the_right_candidates() -> None:
    assert metrics.over_refusal([1, 0, 0, 0], [1, 1, 0, 0]) == 0.5
    assert np.isnan(metrics.over_refusal([1, 0], [0, 0]))


def test_crag_score_counts_refusals_as_nothing() -> None:
    assert metrics.crag_score([0, 0, 0, 1], [1, 1, 0, 0]) == 0.25
    assert metrics.crag_score([1, 1], [1, 0]) == 0
    assert metrics.crag_score([0, 0], [0, 0]) == -1


def test_bootstrap_draws_whole_groups() -> None:
    """Two articles, all right or all wrong: only 0, .5 and 1 can come out of whole groups."""
    values = np.array([1.0] * 5 + [0.0] * 5)
    seen: set[float] = set()

    def mean(rows: NDArray[np.int64]) -> float:
        seen.add(float(values[rows].mean()))
        return float(values[rows].mean())

    interval = metrics.bootstrap(mean, ["a"] * 5 + ["b"] * 5)
    assert seen == {0.0, 0.5, 1.0}
    assert interval == (0.5, 0.0, 1.0)


def test_bootstrap_of_single_rows_has_the_width_of_theory() -> None:
    values = np.random.default_rng(1).normal(size=400)
    interval = metrics.bootstrap(lambda rows: float(values[rows].mean()), range(400))
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_bootstrap_of_one_group_claims_nothing() -> None:
    interval = metrics.bootstrap(lambda rows: float(len(rows)), ["only"] * 3)
    assert interval.value == 3
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)


def test_a_paired_difference_is_narrower_than_the_figures_it_is_of() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(size=300)
    ours, theirs = hard + 0.1, hard + generator.normal(size=300) * 0.01
    names = range(300)
    alone = metrics.bootstrap(lambda rows: float(ours[rows].mean()), names)
    gain = metrics.bootstrap(lambda rows: float((ours - theirs)[rows].mean()), names)
    assert gain.low > 0
    assert gain.high - gain.low < (alone.high - alone.low) / 20


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="non-empty"):
        metrics.aurc([], [])
