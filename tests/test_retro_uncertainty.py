"""The confidence head: fitted in numpy, calibrated out of fold, kept as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.errors import UserError
from retro import uncertainty
from retro.calibration import (
    PLAIN,
    auroc,
    calibration_error,
    isotonic,
    log_loss,
    logistic,
    platt,
)
from retro.uncertainty import ConfidenceHead

Floats = NDArray[np.float64]


def fit_head(*given: Any, **named: Any) -> ConfidenceHead:
    return uncertainty.fit_head(*given, **named)[0]


def sample(num: int = 600, seed: int = 0) -> tuple[list[dict[str, float]], list[bool]]:
    """Questions whose outcome follows ``near`` and ``p``; ``noise`` says nothing."""
    rng = np.random.default_rng(seed)
    near, noise, shift = rng.normal(size=(3, num))
    p = 1 / (1 + np.exp(-3 * shift))
    labels = rng.random(num) < 1 / (1 + np.exp(-(1.5 * near + 1.5 * shift)))
    rows = [
        {"near": float(a), "p": float(b), "noise": float(c), "constant": 1.0}
        for a, b, c in zip(near, p, noise, strict=True)
    ]
    return rows, labels.tolist()


@pytest.fixture(scope="module")
def head() -> ConfidenceHead:
    return fit_head(*sample())


def test_confidence_ranks_and_is_calibrated_on_rows_never_seen(head: ConfidenceHead) -> None:
    rows, labels = sample(2000, seed=1)
    confidence, y = head.score_rows(rows), np.array(labels, dtype=np.float64)
    assert auroc(confidence, y) > 0.85
    assert calibration_error(confidence, y) < 0.05
    assert abs(head.statistics["auroc"] - auroc(confidence, y)) < 0.03


def test_one_row_scores_like_many(head: ConfidenceHead) -> None:
    rows, _ = sample(5, seed=2)
    assert [head.score(row) for row in rows] == pytest.approx(head.score_rows(rows))


def test_weights_follow_the_signals(head: ConfidenceHead) -> None:
    weights = {f.name: f.weight for f in head.factors[0].features}
    assert weights["near"] > 5 * abs(weights["noise"])
    assert weights["p"] > 5 * abs(weights["noise"])
    assert "constant" not in weights


def test_a_probability_is_taken_as_log_odds(head: ConfidenceHead) -> None:
    assert {f.name: f.scale for f in head.factors[0].features}["p"] == "logit"


def test_the_same_rows_give_the_same_head(head: ConfidenceHead) -> None:
    assert fit_head(*sample()) == head
    again, unseen = uncertainty.fit_head(*sample())
    assert again == head
    assert 0.5 < float(np.mean((unseen > 0.5) == np.array(sample()[1]))) <= 1
    assert not np.allclose(unseen, head.score_rows(sample()[0]))
    rows, labels = sample()
    changed = fit_head([{**rows[0], "near": 0.0}, *rows[1:]], labels)
    assert changed.data_hash != head.data_hash


def presence(num: int = 3000) -> tuple[list[dict[str, float]], list[bool], list[bool]]:
    """``near`` tells whether the facts were there, ``sure`` whether they were read rightly."""
    rng = np.random.default_rng(0)
    present = rng.random(num) < 0.5
    right = present & (rng.random(num) < 0.6)
    near = rng.normal(size=num) + 4.0 * present
    sure = rng.normal(size=num) + 2.0 * right
    rows = [{"near": float(a), "sure": float(b)} for a, b in zip(near, sure, strict=True)]
    return rows, right.tolist(), present.tolist()


def test_two_factors_tell_presence_and_rightness_apart_and_stay_calibrated() -> None:
    rows, right, present = presence()
    alone = fit_head(rows, right)
    both = fit_head(rows, right, present=present)
    assert (len(alone.factors), len(both.factors)) == (1, 2)
    before, after = (head.score_rows(rows) for head in (alone, both))
    y, held = np.array(right, dtype=np.float64), np.array(present, dtype=np.float64)
    assert auroc(after, held) > auroc(before, held) + 0.005
    assert auroc(after[present], y[present]) > auroc(before[present], y[present]) + 0.01
    assert both.statistics["auroc_present"] == pytest.approx(auroc(after, held), abs=0.01)
    among = auroc(after[present], y[present])
    assert both.statistics["auroc_right_if_present"] == pytest.approx(among, abs=0.02)
    assert calibration_error(after, y) < 0.03


def test_rows_that_do_not_calibrate_teach_weights_and_leave_the_map_alone() -> None:
    rows, right, present = presence()
    trusted = np.arange(len(rows)) % 2 == 0
    harsh = [label and bool(kept) for label, kept in zip(right, trusted, strict=True)]
    y = np.array(right, dtype=np.float64)[trusted]
    given = [row for row, kept in zip(rows, trusted, strict=True) if kept]
    apart = fit_head(rows, harsh, present=present, calibrating=trusted.tolist())
    together = fit_head(rows, harsh, present=present)
    assert calibration_error(apart.score_rows(given), y) < 0.04
    assert calibration_error(together.score_rows(given), y) > 0.08


def test_rows_of_one_kind_alone_calibrate_nothing() -> None:
    rows, right, present = presence()
    only = fit_head(rows, right, present=present, calibrating=right)
    assert only.calibration == fit_head(rows, right, present=present).calibration


def test_a_product_is_the_product_of_its_factors_probabilities() -> None:
    rows, right, present = presence(400)
    head = fit_head(rows, right, present=present)
    plain = ConfidenceHead(head.factors, PLAIN)
    each = [ConfidenceHead((factor,), PLAIN).score_rows(rows) for factor in head.factors]
    assert plain.score_rows(rows) == pytest.approx(each[0] * each[1], rel=1e-9)


def test_the_second_factor_reads_only_the_signals_of_certainty() -> None:
    rows, right, present = presence(400)
    first, second = fit_head(rows, right, present=present, certainty=["sure"]).factors
    assert {f.name for f in first.features} == {"near", "sure"}
    assert [f.name for f in second.features] == ["sure"]
    _, every = fit_head(rows, right, present=present, certainty=["none of them"]).factors
    assert "near" in {f.name for f in every.features}
    (single,) = fit_head(rows, right, certainty=["sure"]).factors  # without presence: one factor
    assert {f.name for f in single.features} == {"near", "sure"}


def test_without_wrong_answers_among_the_present_one_factor_is_fitted() -> None:
    rows, _, present = presence(400)
    head = fit_head(rows, present, present=present)
    assert len(head.factors) == 1
    assert "auroc_present" not in head.statistics


def test_no_weight_is_against_its_sign_and_what_is_dropped_costs_little() -> None:
    """``echo`` is ``near`` with noise: alongside it the free fit gives it a negative weight."""
    rng = np.random.default_rng(3)
    near = rng.normal(size=2000)
    echo = near + 0.3 * rng.normal(size=2000)
    labels = rng.random(2000) < 1 / (1 + np.exp(-(2.0 * near - 0.8 * (echo - near))))
    rows = [{"near": float(a), "echo": float(b)} for a, b in zip(near, echo, strict=True)]
    free = fit_head(rows, labels.tolist())
    signed = fit_head(rows, labels.tolist(), signs={"near": 1, "echo": 1})
    assert {f.name: f.weight < 0 for f in free.factors[0].features} == {"echo": True, "near": False}
    assert [f.name for f in signed.factors[0].features] == ["near"]
    assert signed.statistics["auroc"] > free.statistics["auroc"] - 0.02


def test_saving_and_loading_keep_every_score(head: ConfidenceHead, tmp_path: Path) -> None:
    head.save(tmp_path / "head.json")
    assert ConfidenceHead.load(tmp_path / "head.json") == head
    assert [p.name for p in tmp_path.iterdir()] == ["head.json"]
    assert json.loads((tmp_path / "head.json").read_text())["version"] == 2


def test_missing_signals_are_named(head: ConfidenceHead) -> None:
    with pytest.raises(UserError, match=r"missing for the confidence head: near, p;"):
        head.score({"noise": 0.0})


def test_further_signals_change_nothing(head: ConfidenceHead) -> None:
    row = sample(1)[0][0]
    assert head.score({**row, "unheard_of": 5.0}) == head.score(row)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, -1e300])
def test_no_value_of_a_signal_breaks_the_score(head: ConfidenceHead, value: float) -> None:
    row = sample(1)[0][0]
    assert 0.0 < head.score({**row, "near": value, "p": value}) < 1.0


def test_nan_counts_as_the_mean(head: ConfidenceHead) -> None:
    row = sample(1)[0][0]
    mean = next(f.mean for f in head.factors[0].features if f.name == "near")
    assert head.score({**row, "near": math.nan}) == pytest.approx(head.score({**row, "near": mean}))


def test_no_article_is_learned_from_and_measured_on() -> None:
    """A signal that only tells articles apart must not look good, as it does without groups."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10).tolist()
    labels = np.repeat(rng.random(40) < 0.5, 10).tolist()
    marks = np.repeat(rng.normal(size=(40, 30)), 10, axis=0)
    rows: list[Mapping[str, float]] = [
        {f"m{j}": float(v) for j, v in enumerate(row)} for row in marks
    ]
    grouped = fit_head(rows, labels, groups).statistics["auroc"]
    assert fit_head(rows, labels).statistics["auroc"] > 0.9
    assert grouped < 0.75


@pytest.mark.parametrize(
    ("rows", "labels", "groups"),
    [
        ([], [], None),
        ([{"a": 1.0}] * 4, [True] * 4, None),
        ([{"a": 1.0}] * 4, [True, False] * 2, ["x"] * 4),
    ],
)
def test_rows_that_cannot_be_fitted_are_the_users_mistake(
    rows: list[dict[str, float]], labels: list[bool], groups: list[str] | None
) -> None:
    with pytest.raises(UserError, match="cannot fit a confidence head"):
        fit_head(rows, labels, groups)


def test_rows_with_unlike_signals_are_named() -> None:
    with pytest.raises(UserError, match="missing for the confidence head: b;"):
        fit_head([{"a": 1.0, "b": 1.0}, {"a": 2.0}], [True, False])
    with pytest.raises(ValueError, match="1 rows, 2 labels"):
        fit_head([{"a": 1.0}], [True, False])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}'])
def test_a_file_that_is_no_head_is_the_users_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "head.json").write_text(text)
    with pytest.raises(UserError, match=r"head\.json is not a confidence head"):
        ConfidenceHead.load(tmp_path / "head.json")
    with pytest.raises(UserError, match="cannot read the confidence head"):
        ConfidenceHead.load(tmp_path / "absent.json")


def test_a_head_of_another_version_is_refused(head: ConfidenceHead, tmp_path: Path) -> None:
    head.save(tmp_path / "head.json")
    stored = json.loads((tmp_path / "head.json").read_text()) | {"version": 99}
    (tmp_path / "head.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="version 99, this program reads version 2"):
        ConfidenceHead.load(tmp_path / "head.json")


def test_logistic_regression_stands_where_its_loss_is_flat() -> None:
    """The loss is convex, so a point from which no small step leads down is the answer."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 4))
    y = (rng.random(300) < 1 / (1 + np.exp(-z @ [1.0, -2.0, 0.0, 0.5] - 0.3))).astype(np.float64)

    def loss(w: Floats) -> float:
        return log_loss(z @ w[1:] + w[0], y) + 0.01 / 2 * float(w[1:] @ w[1:])

    found = logistic(z, y, penalty=0.01)
    steps = 1e-4 * np.vstack([np.eye(5), -np.eye(5)])
    assert all(loss(found + step) > loss(found) for step in steps)


logits_and_labels = st.lists(
    st.tuples(st.integers(-4, 4).map(float), st.booleans()), min_size=2, max_size=30
)


@given(logits_and_labels)
def test_calibration_never_turns_the_order_round(pairs: list[tuple[float, bool]]) -> None:
    logits, y = (np.array(v, dtype=np.float64) for v in zip(*pairs, strict=True))
    for fit in (platt, isotonic):
        confidence = fit(logits, y)(np.linspace(-6, 6, 49))
        assert (np.diff(confidence) >= 0).all()
        assert (confidence >= 0).all()
        assert (confidence <= 1).all()


@given(logits_and_labels)
def test_isotonic_pools_to_block_means(pairs: list[tuple[float, bool]]) -> None:
    logits, y = (np.array(v, dtype=np.float64) for v in zip(*pairs, strict=True))
    knots = isotonic(logits, y)
    assert (np.diff(knots.x) > 0).all()
    assert (np.diff(knots.y) >= 0).all()
    edge = 1 / (len(y) + 2)
    assert min(knots.y) >= edge
    assert max(knots.y) <= 1 - edge


def test_auroc_counts_pairs_and_half_of_ties() -> None:
    y = np.array([1.0, 1.0, 0.0, 0.0])
    assert auroc(np.array([3.0, 1.0, 2.0, 1.0]), y) == pytest.approx(2.5 / 4)


def test_calibration_error_is_zero_only_when_the_promise_is_kept() -> None:
    y = np.array([1.0, 0.0] * 50)
    assert calibration_error(np.full(100, 0.5), y, num_bins=5) == pytest.approx(0.0)
    assert calibration_error(np.full(100, 0.9), y, num_bins=5) == pytest.approx(0.4)
