"""The abstention policy: one number decides, the signals give the reason."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.errors import UserError
from retro.policy import AbstentionPolicy, Decision, choose_threshold
from retro.types import REASONS

POLICY = AbstentionPolicy(threshold=0.5, scope_match=1.6)
NEAR = {"num_neighbours": 8.0, "match_best": 2.8}
FAR = {"num_neighbours": 8.0, "match_best": 0.9}


@pytest.mark.parametrize("confidence", [0.5, 0.7, 1.0])
def test_at_the_threshold_it_answers_whatever_the_signals(confidence: float) -> None:
    assert POLICY.decide(confidence, FAR) == Decision(abstained=False, reason=None)


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        (FAR, "out_of_scope"),
        (NEAR, "insufficient"),
        (FAR | {"match_best": 1.6}, "insufficient"),
        (NEAR | {"num_neighbours": 0.0}, "out_of_scope"),
        (NEAR | {"num_conflicting": 1.0}, "conflicting"),
        (NEAR | {"grounded": 0.0}, "unverified"),
        (NEAR | {"grounded": 0.0, "num_conflicting": 2.0}, "conflicting"),
        (NEAR | {"backing": 0.49}, "unverified"),
        (NEAR | {"backing": 0.5}, "insufficient"),
        (FAR | {"grounded": 0.0}, "out_of_scope"),
        (NEAR | {"grounded": 1.0, "num_conflicting": 0.0}, "insufficient"),
        ({}, "insufficient"),
    ],
)
def test_below_the_threshold_the_signals_name_the_reason(
    signals: dict[str, float], reason: str
) -> None:
    assert POLICY.decide(0.49, signals) == Decision(abstained=True, reason=reason)
    assert reason in REASONS


def test_a_confidence_that_is_no_number_is_never_an_answer() -> None:
    assert POLICY.decide(math.nan, NEAR).abstained


def test_saving_and_loading_keep_every_number(tmp_path: Path) -> None:
    policy = AbstentionPolicy(0.31, 0.62, 2.0)
    policy.save(tmp_path / "policy.json")
    assert AbstentionPolicy.load(tmp_path / "policy.json") == policy
    assert [p.name for p in tmp_path.iterdir()] == ["policy.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"treshold": 0.5}', '{"threshold": "high"}'])
def test_a_file_that_is_no_policy_is_the_users_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.json").write_text(text)
    with pytest.raises(UserError, match=r"policy\.json is not an abstention policy"):
        AbstentionPolicy.load(tmp_path / "policy.json")
    with pytest.raises(UserError, match="cannot read the abstention policy"):
        AbstentionPolicy.load(tmp_path / "absent.json")


def test_threshold_lies_between_right_and_wrong() -> None:
    assert choose_threshold([0.9, 0.1, 0.8, 0.4], [True, False, True, False]) == pytest.approx(0.6)


def test_of_equal_thresholds_the_most_careful_is_taken() -> None:
    assert choose_threshold([0.9, 0.5, 0.3], [True, False, True]) == pytest.approx(0.7)


def test_threshold_at_a_risk_is_the_lowest_that_keeps_it() -> None:
    confidences = [0.9, 0.8, 0.7, 0.6, 0.5]
    correct = [True, True, False, True, False]
    assert choose_threshold(confidences, correct, max_risk=0.0) == pytest.approx(0.75)
    assert choose_threshold(confidences, correct, max_risk=0.25) == pytest.approx(0.55)
    assert choose_threshold(confidences, correct, max_risk=1.0) <= 0.5


def test_a_risk_that_no_threshold_keeps_is_said() -> None:
    with pytest.raises(UserError, match=r"no threshold keeps .* the least is 0\.500"):
        choose_threshold([0.5, 0.5, 0.2], [True, False, False], max_risk=0.1)
    with pytest.raises(UserError, match="no questions"):
        choose_threshold([], [])


outcomes = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.35, 0.8, 1.0]), st.booleans()), min_size=1
)


@given(outcomes, st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_threshold_at_a_risk_agrees_with_trying_all(
    rows: list[tuple[float, bool]], max_risk: float
) -> None:
    def risk(threshold: float) -> float:
        answered = [right for confidence, right in rows if confidence >= threshold]
        return 1 - sum(answered) / len(answered)

    levels = sorted({confidence for confidence, _ in rows})
    kept = [level for level in levels if risk(level) <= max_risk]
    if not kept:
        with pytest.raises(UserError):
            choose_threshold(*zip(*rows, strict=True), max_risk=max_risk)
        return
    threshold = choose_threshold(*zip(*rows, strict=True), max_risk=max_risk)
    assert [level for level in levels if level >= threshold] == levels[levels.index(kept[0]) :]


@given(outcomes)
def test_threshold_agrees_with_trying_all(rows: list[tuple[float, bool]]) -> None:
    def gain(threshold: float) -> float:
        return sum(1 if right else -1 for c, right in rows if c >= threshold)

    chosen = choose_threshold(*zip(*rows, strict=True))
    assert gain(chosen) == pytest.approx(max(gain(c) for c, _ in rows))


def test_a_dispute_is_declined_however_sure_the_reader_is() -> None:
    assert AbstentionPolicy(0.0).decide(1.0, {"num_conflicting": 1.0}) == (True, "conflicting")
    assert AbstentionPolicy(0.0).decide(1.0, {"num_conflicting": 0.0}) == (False, None)
