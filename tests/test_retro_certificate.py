"""The promise: its arithmetic against scipy, its error rate by resampling, its way to an answer."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from index.errors import UserError
from retro import certificate, cli, drift
from retro.answer import Answerer
from retro.ask_cli import in_words
from retro.certificate import FILE, Certificate, Outcome, certify, fewest, tail
from retro.types import PROMISE_VOID, Promise

QUESTION = "Which metal melts at 1,064 degrees?"
Floats = NDArray[np.float64]


# -- arithmetic -----------------------------------------------------------------------------


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.001, 0.6))
def test_the_tail_is_scipys(num_wrong: int, more: int, risk: float) -> None:
    num = num_wrong + more
    expected = float(binom.cdf(num_wrong, num, risk))
    assert tail(num_wrong, num, risk) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_fewest_answers_without_error_are_enough_and_one_less_is_not() -> None:
    num = fewest(0.05, 0.05)
    confidences, right = np.full(num, 0.96), np.ones(num, dtype=bool)
    assert certify(confidences, right, 0.05, 0.05) == Outcome(0.0, num, 0)
    assert certify(confidences[1:], right[1:], 0.05, 0.05) is None


def test_the_lowest_threshold_that_passes_is_taken() -> None:
    confidences = np.repeat([0.9, 0.6, 0.3], 200)
    right = np.repeat([True, True, False], 200)
    found = certify(confidences, right, 0.05, 0.05)
    assert found == Outcome(0.31, 400, 0)


def test_without_answers_nothing_is_promised() -> None:
    assert certify([], [], 0.1, 0.1) is None
    assert certify([0.1] * 500, [True] * 500, 0.1, 0.1) is None, "below every start"
    assert certify([0.5] * 500, [True] * 500, 0.1, 0.1) == Outcome(0.0, 500, 0)
    assert certify([0.9] * 500, [False] * 500, 0.1, 0.1) is None


# -- what it promises -----------------------------------------------------------------------


def questions(num: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Confidences and outcomes; the surest are mostly right, and not as often as they claim."""
    confidence = rng.beta(0.8, 0.8, num)
    return confidence, rng.random(num) < confidence**1.3


@pytest.mark.parametrize("risk", [0.15, 0.25])
def test_the_promise_is_broken_no_more_often_than_it_says(risk: float) -> None:
    rng, delta = np.random.default_rng(0), 0.1
    confidence, right = questions(200_000, rng)
    realised = [float((~right[confidence >= t / 100]).mean()) for t in range(100)]
    broken = made = 0
    for _ in range(500):
        found = certify(*questions(1000, rng), risk, delta)
        made += found is not None
        broken += found is not None and realised[round(found.threshold * 100)] > risk
    assert made > 400, "the promise is empty"
    assert broken <= delta * 500


def test_where_every_threshold_is_too_risky_a_promise_is_rare() -> None:
    """The hardest case: the risk is just above what is asked, at any confidence."""
    rng, delta, false = np.random.default_rng(1), 0.1, 0
    for _ in range(500):
        confidence, right = rng.random(600), rng.random(600) > 0.101
        false += certify(confidence, right, 0.1, delta) is not None
    assert false <= delta * 500


# -- its way to an answer -------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tiny.World:
    return tiny.world(tmp_path_factory.mktemp("world"))


def promise_of(world: tiny.World, **changes: object) -> Certificate:
    """A certificate of the world's index and model, as if it had been made."""
    opened = Answerer.open(world.index, world.checkpoint, num_samples=2)
    made = Certificate(
        risk=0.1,
        delta=0.05,
        threshold=0.25,
        num_questions=400,
        num_answered=300,
        num_wrong=9,
        index=opened.retriever.manifest.fingerprint,
        model=opened.fingerprint,
        k=3,
        samples=2,
        created="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def certified(world: tiny.World) -> object:
    promise_of(world).save(world.index)
    yield world
    (world.index / FILE).unlink()


@pytest.mark.usefixtures("certified")
def test_an_answer_at_the_certified_threshold_carries_the_promise(world: tiny.World) -> None:
    opened = Answerer.open(world.index, world.checkpoint, num_samples=2)
    assert opened.policy.threshold == 0.25
    answer = opened.answer(QUESTION, k=3)
    assert answer.promise == Promise(0.1, 0.05)
    assert answer.to_dict()["promise"] == {"risk": 0.1, "delta": 0.05}
    assert opened.answer(QUESTION, k=2).promise is None
    [judged] = opened.answer_batch([QUESTION], k=3, candidates=[answer.candidate])
    assert judged.promise is None
    other = Answerer.open(world.index, world.checkpoint, num_samples=2, threshold=0.3)
    assert other.answer(QUESTION, k=3).promise is None


def test_without_a_certificate_nothing_is_promised(world: tiny.World) -> None:
    opened = Answerer.open(world.index, world.checkpoint, num_samples=2)
    assert opened.answer(QUESTION).promise is None
    assert opened.policy.threshold != 0.25


@pytest.mark.parametrize("changed", [{"index": "another"}, {"model": "another"}, {"samples": 3}])
def test_a_certificate_of_something_else_is_void_and_says_so(
    world: tiny.World, changed: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    promise_of(world, **changed).save(world.index)
    with caplog.at_level(logging.WARNING):
        opened = Answerer.open(world.index, world.checkpoint, num_samples=2)
    (world.index / FILE).unlink()
    assert opened.certificate is None
    assert "void" in caplog.text
    assert "retro certify" in caplog.text


def test_questions_unlike_those_of_the_certificate_void_the_promise(
    world: tiny.World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The live questions all lie nearer than any that the promise was made with."""
    far = {name: [value] * 300 for name, value in (("dense_top1", 2.0), ("confidence", -1.0))}
    promise_of(world, calibration=far).save(world.index)
    file = world.index.parent / "live.jsonl"
    file.write_text((json.dumps({"question": QUESTION}) + "\n") * 60, encoding="utf-8")
    ask = ["ask", "--index", str(world.index), "--checkpoint", str(world.checkpoint)]
    assert cli.main([*ask, "--samples", "2", "-k", "3", "--json", "--questions", str(file)]) == 0
    (world.index / FILE).unlink()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["promise"] == {"risk": 0.1, "delta": 0.05}
    assert rows[0]["promise_void"] is False
    assert (rows[-1]["promise"], rows[-1]["promise_void"]) == (None, True)


def test_a_void_promise_is_told_in_words(world: tiny.World) -> None:
    answer = Answerer.open(world.index, world.checkpoint, num_samples=2).answer(QUESTION)
    assert PROMISE_VOID not in in_words(answer)
    assert PROMISE_VOID in in_words(replace(answer, promise_void=True))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"risk": 0.1}'])
def test_a_damaged_certificate_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=r"certificate\.json: not a certificate"):
        Certificate.load(tmp_path)


def test_a_certificate_comes_back_as_it_was(world: tiny.World, tmp_path: Path) -> None:
    made = promise_of(world)
    made.save(tmp_path)
    assert Certificate.load(tmp_path) == made
    assert Certificate.load(tmp_path / "nowhere") is None
    assert made.coverage == 0.75


# -- from the command line ------------------------------------------------------------------


def run(world: tiny.World, rows: list[dict[str, object]], *more: str) -> int:
    file = world.index.parent / "known.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    index, checkpoint = str(world.index), str(world.checkpoint)
    given = ["--index", index, "--checkpoint", checkpoint, "--questions", str(file)]
    return cli.main(["certify", *given, "--samples", "2", "-k", "2", *more])


def test_certifying_writes_what_the_next_answer_promises(
    world: tiny.World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own candidates as the known answers the model is never wrong."""
    monkeypatch.setattr(certificate, "STARTS", (0.0,))
    opened = Answerer.open(world.index, world.checkpoint, num_samples=2)
    said = opened.answer(QUESTION, k=2).candidate
    assert said
    rows: list[dict[str, object]] = [{"question": QUESTION, "answers": [said]}] * 6
    assert run(world, rows, "--risk", "0.4") == cli.DONE
    assert "at most 40 % of the answers given are wrong (95 % sure)" in capsys.readouterr().out
    again = Answerer.open(world.index, world.checkpoint, num_samples=2)
    assert again.answer(QUESTION, k=2).promise == Promise(0.4, 0.05)
    ask = ["ask", "--index", str(world.index), "--checkpoint", str(world.checkpoint)]
    assert cli.main([*ask, "--samples", "2", "-k", "2", QUESTION]) == cli.DONE
    assert "; at most 40 % of the answers given are wrong" in capsys.readouterr().out
    wrong: list[dict[str, object]] = [{"question": QUESTION, "answers": []}] * 6
    assert run(world, wrong, "--risk", "0.4") == cli.USER_MISTAKE
    assert "no threshold proves that at most 40 %" in capsys.readouterr().err
    assert not (world.index / FILE).exists(), "a promise that no longer holds was kept"


def test_certifying_keeps_what_the_questions_look_like(
    world: tiny.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A string of answers was read as a list of letters."""
    monkeypatch.setattr(certificate, "STARTS", (0.0,))
    said = Answerer.open(world.index, world.checkpoint, num_samples=2).answer(QUESTION, k=2)
    rows: list[dict[str, object]] = [{"question": QUESTION, "answers": said.candidate}] * 6
    assert run(world, rows, "--risk", "0.4") == cli.DONE
    made = Certificate.load(world.index)
    (world.index / FILE).unlink()
    assert made is not None
    assert made.num_wrong == 0
    assert made.calibration.keys() == set(drift.SIGNALS)
    assert made.calibration["confidence"] == pytest.approx([said.confidence] * 6, abs=1e-3)


def test_answers_that_are_no_strings_are_one_line(
    world: tiny.World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(world, [{"question": QUESTION, "answers": [7]}]) == cli.USER_MISTAKE
    assert "must be a list of strings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--risk", "0"], "--risk 0: give a share"),
        (["--delta", "1.5"], "--delta 1.5: give a share"),
        (["--questions", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_a_mistake_in_certifying_is_one_line(
    world: tiny.World, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(world, [], *more) == cli.USER_MISTAKE
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert says in shown


def test_which_questions_are_asked_again_is_part_of_what_is_certified(world: tiny.World) -> None:
    plain, other, same = (
        Answerer.open(world.index, world.checkpoint, num_samples=2) for _ in range(3)
    )
    other.policy = replace(other.policy, chain_below=0.4)
    assert plain.fingerprint == same.fingerprint != other.fingerprint
