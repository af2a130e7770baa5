"""A head of an index's own: made, used while it fits, and void when it does not."""

from __future__ import annotations

import json
import logging

import pytest
import tiny

from index.errors import UserError
from retro import cli, own_head
from retro.answer import HEAD, POLICY, Answerer
from retro.own_head import ABOUT, FOLDER, OwnHead
from retro.own_questions import OwnQuestion

QUESTIONS = [
    OwnQuestion(question, answer, tiny.DOCUMENTS[title], title)
    for question, answer, title in (
        ("Which planet is the smallest?", "Mercury", "Mercury"),
        ("When did probes come to Mercury?", "1974", "Mercury"),
        ("How many moons has Mars?", "two", "Mars"),
        ("Which metal conducts electricity?", "Copper", "Copper"),
        ("At how many degrees does gold melt?", "1,064", "Gold"),
        ("Who built the first piano?", "Cristofori", "Piano"),
    )
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tiny.World:
    return tiny.world(tmp_path_factory.mktemp("world"))


def refit(world: tiny.World, *more: str) -> int:
    given = ["--index", str(world.index), "--checkpoint", str(world.checkpoint)]
    return cli.main(["train", "head", *given, *more])


def test_an_index_gets_a_head_of_its_own_and_uses_it(
    world: tiny.World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of random weights no answer is right, so that what is right is set by hand."""
    monkeypatch.setattr(own_head, "FEWEST", 3)
    monkeypatch.setattr(own_head, "make_questions", lambda *_: QUESTIONS)
    monkeypatch.setattr("retro.train_head.same_answer", lambda said, _: len(said) % 2 == 1)
    monkeypatch.setattr("retro.train_head.exact_match", lambda *_: False)
    before = Answerer.open(world.index, world.checkpoint, num_samples=2)
    assert before.fitted == world.checkpoint
    assert refit(world) == cli.DONE
    folder = world.index / FOLDER
    assert {f.name for f in folder.iterdir()} >= {HEAD, POLICY, ABOUT, "questions.jsonl"}
    asked = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert asked[0]["answers"] == ["Mercury"]
    own = Answerer.open(world.index, world.checkpoint, num_samples=16)
    assert own.fitted == folder
    assert own.head != before.head
    assert own.fingerprint != before.fingerprint, "a certificate of another head would hold"
    capsys.readouterr()
    assert cli.main(["index", "info", str(world.index)]) == cli.DONE
    assert "confidence        own head, 6 questions" in capsys.readouterr().out

    about = OwnHead.load(world.index)
    assert about is not None
    stored = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps(stored | {"model": "another"}))
    with caplog.at_level(logging.WARNING):
        assert Answerer.open(world.index, world.checkpoint).fitted == world.checkpoint
    assert "void" in caplog.text
    (folder / ABOUT).write_text("{}")
    with pytest.raises(UserError, match="not readable"):
        OwnHead.load(world.index)
    (folder / ABOUT).unlink()
    assert OwnHead.load(world.index) is None


def test_documents_without_questions_are_a_users_mistake(
    world: tiny.World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refit(world, "--limit", "20") == cli.USER_MISTAKE
    shown = capsys.readouterr().err
    assert "at least 20 are needed" in shown
    assert shown.count("\n") == 1
    assert not (world.index / FOLDER / ABOUT).exists()


@pytest.mark.parametrize("given", [[], ["--rows", "r", "--index", "i"], ["--rows", "r"]])
def test_rows_or_an_index_not_both(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "head", *given]) == cli.USER_MISTAKE
    assert "give --rows with --checkpoint, or --index" in capsys.readouterr().err
