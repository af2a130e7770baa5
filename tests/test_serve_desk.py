"""What the page does with a question and with the slider."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from serve_fakes import ANSWERABLE, BUG, MISTAKE, NEAR_MISS, FakeAnswerer, make_answer

from index.errors import UserError
from retro.policy import AbstentionPolicy
from retro.types import Promise
from serve import desk
from serve.desk import Desk, View


def last(answerer: FakeAnswerer, question: str, percent: float = 44) -> View:
    return list(Desk(answerer).ask(question, percent))[-1]


def test_a_question_is_first_pending_then_answered() -> None:
    pending, answered = Desk(FakeAnswerer()).ask(f"  {ANSWERABLE} ", 44)
    assert pending.answer is None
    assert "Ganymede" in pending.verdict
    assert answered.answer == make_answer(ANSWERABLE, 0.93)
    assert "ra-answered" in answered.verdict
    assert "<mark>" in answered.passages
    assert "distance (1 - cosine) of the nearest chunk" in answered.details
    assert "probability of the answer, its mentions added up" in answered.details


@pytest.mark.parametrize("question", ["", "  \n\t"])
def test_an_empty_question_gets_a_word_and_no_model(question: str) -> None:
    answerer = FakeAnswerer()
    (view,) = Desk(answerer).ask(question, 44)
    assert desk.EMPTY in view.verdict
    assert view.answer is None
    assert answerer.asked == []


def test_a_users_mistake_is_shown_as_its_one_line() -> None:
    assert "index is truncated: build it again" in last(FakeAnswerer(), MISTAKE).verdict


def test_a_bug_is_shown_as_one_line_and_told_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = last(FakeAnswerer(), BUG)
    assert "ValueError: shapes [2, 3] and [4] differ" in view.verdict
    assert view.answer is None
    assert "Traceback" in capsys.readouterr().err


def test_the_slider_decides_again_without_the_model() -> None:
    answerer = FakeAnswerer()
    answer = last(answerer, ANSWERABLE).answer
    assert answer is not None
    strict, nearest = Desk(answerer).decide(answer, 95)
    assert "ra-declined" in strict
    assert "Nearest passages" in nearest
    lenient, found = Desk(answerer).decide(answer, 93)
    assert "ra-answered" in lenient
    assert "<mark>" in found
    assert answerer.asked == [ANSWERABLE]


def test_lowering_the_slider_turns_a_refusal_into_the_answer() -> None:
    declined = last(FakeAnswerer(), NEAR_MISS)
    assert "ra-declined" in declined.verdict
    assert "ra-answered" in last(FakeAnswerer(), NEAR_MISS, percent=20).verdict


def test_a_slider_left_alone_keeps_the_stored_threshold_exactly() -> None:
    """43.72 % is shown as 44: a confidence between the two must not change sides by rounding."""
    answerer = FakeAnswerer(AbstentionPolicy(threshold=0.4372))
    between = make_answer("x", 0.4385)
    page = Desk(answerer)
    assert page.percent == 44
    assert "ra-answered" in page.decide(between, 44)[0]
    assert "ra-declined" in page.decide(between, 45)[0]


def test_a_promise_stands_at_the_certified_threshold_alone() -> None:
    answer = replace(make_answer(ANSWERABLE, 0.9), promise=Promise(0.05, 0.1))
    page = Desk(FakeAnswerer())
    said = "at most 5 % of the answers given are wrong (90 % sure)"
    assert said in page.decide(answer, page.percent)[0]
    assert said not in page.decide(answer, page.percent - 1)[0]


def test_the_reason_comes_from_the_signals() -> None:
    far = replace(make_answer("x", 0.3), signals={"num_neighbours": 0})
    decided = desk.redecide(far, AbstentionPolicy(threshold=0.5))
    assert (decided.answer, decided.reason) == (None, "out_of_scope")
    assert (decided.candidate, decided.confidence) == ("Jupiter", 0.3)


def test_without_a_candidate_no_threshold_makes_an_answer() -> None:
    silent = replace(make_answer("x", 0.3, abstained=True), candidate="")
    assert desk.redecide(silent, AbstentionPolicy(threshold=0.0)).abstained


def test_the_api_gives_the_contracts_json() -> None:
    answer = Desk(FakeAnswerer()).ask_json(ANSWERABLE)
    assert json.loads(json.dumps(answer)) == answer
    assert answer["answer"] == "Jupiter"
    assert answer["evidence"][0]["doc_id"] == "solar-system/ganymede.md"
    with pytest.raises(UserError, match="empty"):
        Desk(FakeAnswerer()).ask_json(" ")
