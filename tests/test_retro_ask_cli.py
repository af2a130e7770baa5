"""``retro ask``: what it prints, what a broken line costs, and how a mistake ends."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from retro import ask_cli, cli
from retro.answer import Answerer
from retro.types import REASONS, Evidence, Side

QUESTION = "What conducts electricity?"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tiny.World:
    return tiny.world(tmp_path_factory.mktemp("world"))


def ask(world: tiny.World, *more: str) -> int:
    given = ["--index", str(world.index), "--checkpoint", str(world.checkpoint)]
    return cli.main(["ask", *given, "--samples", "2", *more])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out.splitlines()


# -- one question ---------------------------------------------------------------------------


def test_an_answer_in_words_with_its_evidence(
    world: tiny.World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(world, "--threshold", "0", QUESTION) == cli.DONE
    shown = lines(capsys)
    assert shown[1].startswith("confidence 0.")
    assert shown[3] == "Evidence:"
    assert len(shown) == 4 + ask_cli.SHOWN
    assert f"[{shown[0]}]" in shown[4]


def test_a_long_passage_is_cut_between_words_around_the_answer() -> None:
    words = [f"word{i:03}" for i in range(100)]
    text = " ".join(words)
    start = text.index("word050")
    made = Evidence("d", "T", text, start, start + 7, 0.1, 0.9, highlighted=True)
    shown = ask_cli._passage(made, mark=True).partition(": ")[2]
    assert "[word050]" in shown
    assert shown[0] == shown[-1] == "…"
    kept = shown.strip("…").replace("[", "").replace("]", "").split()
    assert kept == words[words.index(kept[0]) : words.index(kept[-1]) + 1]
    assert 250 < len(shown) < 280
    plain = ask_cli._passage(replace(made, text="short text"), mark=False)
    assert plain == "  T (d): short text"


def test_the_passage_that_answers_is_shown_whole(world: tiny.World) -> None:
    """What proves an answer may stand sentences behind its first mention."""
    text = " ".join(["The Danube is long."] * 40 + ["It flows through Vienna."])
    source = Evidence("d", "T", text, 4, 10, 0.1, 0.9, highlighted=True)
    asked = Answerer.open(world.index, world.checkpoint, num_samples=0).answer(QUESTION)
    answer = replace(asked, answer="Danube", reason=None)
    shown = ask_cli.in_words(replace(answer, evidence=(source, source))).splitlines()[-2:]
    assert shown[0].endswith("It flows through Vienna.")
    assert "Vienna" not in shown[1]
    declined = replace(answer, answer=None, reason="insufficient", evidence=(source,))
    assert "Vienna" not in ask_cli.in_words(declined)


def test_declining_in_words_says_why(world: tiny.World, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(world, "--threshold", "1", QUESTION) == cli.DONE
    shown = lines(capsys)
    reasons = [f"I can't find this in the database: {reason}." for reason in REASONS.values()]
    assert shown[0] in reasons
    assert "Nearest passages:" in shown
    assert not any("[" in line for line in shown), "the withheld guess is pointed at"


def test_two_sides_that_disagree_are_shown_with_what_each_says(world: tiny.World) -> None:
    texts = ("Leave is 20 days.", "Leave is 25 days.", "The cafeteria is on floor 20.")
    places = [(9, 11), (9, 11), (0, 29)]
    shown = tuple(
        Evidence(f"d{i}", f"T{i}", text, *place, 0.1, 0.4, highlighted=i < 2)
        for i, (text, place) in enumerate(zip(texts, places, strict=True))
    )
    sides = tuple(Side(str(20 + 5 * i), f"d{i}", f"T{i}", 9, 11, 0.4) for i in range(2))
    asked = Answerer.open(world.index, world.checkpoint, num_samples=0).answer(QUESTION)
    answer = replace(asked, answer=None, reason="conflicting", evidence=shown, sides=sides, hops=())
    told = ask_cli.in_words(answer).splitlines()
    assert told[0] == "Two sources disagree: T0 says “20”, T1 says “25”."
    assert [line.partition(": ")[2] for line in told[-3:]] == [
        "Leave is [20] days.",
        "Leave is [25] days.",
        "The cafeteria is on floor 20.",
    ]


def test_json_is_one_line_with_all_of_the_answer(
    world: tiny.World, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "Where was Marie Curie born?"  # its two windows are not of one place
    assert ask(world, "--json", "-k", "2", question) == cli.DONE
    (line,) = lines(capsys)
    answer = json.loads(line)
    assert answer["question"] == question
    assert len(answer["evidence"]) == 2
    assert answer["abstained"] == (answer["answer"] is None)


@pytest.mark.parametrize("samples", ["0", "1"])
def test_few_dropout_samples(
    world: tiny.World, capsys: pytest.CaptureFixture[str], samples: str
) -> None:
    assert ask(world, "--json", "--samples", samples, QUESTION) == cli.DONE
    (line,) = lines(capsys)
    answer = json.loads(line, parse_constant=pytest.fail)  # NaN is not JSON
    assert ("mc_bald" in answer["signals"]) == (samples == "1")


# -- a file of questions --------------------------------------------------------------------

GOOD = {"id": "g", "question": QUESTION}
FILE = [
    b'{"id": 1, "question": "Where was Marie Curie born?"}',
    b"not json",
    b'["a list"]',
    b'{"id": "no question"}',
    b'{"id": "blank", "question": "  "}',
    b'{"id": "number", "question": 7}',
    b'{"id": "bytes", "question": "\xff"}',
    b'{"id": "half", "question": "\\ud800 what?"}',
    b"",
    b'{"question": "No id?"}',
    json.dumps(GOOD, ensure_ascii=False).encode(),
    b"{" * 100_000,
    '{"id": "ü", "question": "Zürich café?"}'.encode(),
]
BROKEN = [2, 3, 4, 5, 6, 7, 8, 12]


def test_every_line_has_its_answer_or_its_error_in_order(
    world: tiny.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a surrogate pair, which JSON can spell and UTF-8 cannot, ended the whole run."""
    file = tmp_path / "asked.jsonl"
    file.write_bytes(b"\n".join(FILE))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert ask(world, "--questions", str(file)) == cli.DONE
    assert ask(world, "--json", "--questions", str(file)) == cli.DONE
    written = terminal.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]
    in_words, shown = written[:12], [json.loads(line) for line in written[12:]]
    assert not any(line.startswith("{") for line in in_words)
    numbers = [n for n, line in enumerate(FILE, 1) if line]
    assert len(shown) == len(numbers)
    for number, row in zip(numbers, shown, strict=True):
        assert ("error" in row) == (number in BROKEN), row
        if number in BROKEN and number != 8:
            assert row["error"].startswith(f"line {number}: ")
    ids = [1, None, None, "no question", "blank", "number", None, "half", None, "g", None, "ü"]
    assert [row["id"] for row in shown] == ids


def test_a_file_in_words_is_a_line_a_question(
    world: tiny.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_bytes(b"\n".join([FILE[0], FILE[1], FILE[10], b'{"question": "two\\nlines?"}']))
    assert ask(world, "--threshold", "0", "--questions", str(file)) == cli.DONE
    shown = lines(capsys)
    assert len(shown) == 4
    assert shown[0].startswith("Where was Marie Curie born?\t")
    assert shown[1] == "\t[line 2: not JSON]"
    assert shown[2].split("\t")[0] == QUESTION
    assert 0 <= float(shown[2].split("\t")[2]) <= 1


def test_a_byte_order_mark_is_not_part_of_the_first_line(
    world: tiny.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert ask(world, "--json", "--questions", str(file)) == cli.DONE
    assert "error" not in json.loads(lines(capsys)[0])


def test_an_empty_file_has_no_answers(
    world: tiny.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_bytes(b"\n \n")
    assert ask(world, "--questions", str(file)) == cli.DONE
    assert lines(capsys) == []


def rows_of(made: Any, tmp_path: Path, count: int) -> list[dict[str, Any]]:
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(f'{{"id": {i}, "question": "Is it {i}?"}}\n' for i in range(count)))
    return list(ask_cli.answer_file(made, file, k=2))


def test_more_questions_than_a_batch_keep_their_order(
    world: tiny.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_cli, "BATCH", 3)
    made = Answerer.open(world.index, world.checkpoint, num_samples=0)
    assert [row["id"] for row in rows_of(made, tmp_path, 7)] == list(range(7))


def test_an_answer_from_elsewhere_is_judged(
    world: tiny.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(world, "--json", QUESTION) == cli.DONE
    own = json.loads(capsys.readouterr().out)
    assert ask(world, "--json", "--candidate", "nine zebras", QUESTION) == cli.DONE
    forged = json.loads(capsys.readouterr().out)
    assert (forged["answer"], forged["candidate"]) == (None, "nine zebras")
    assert forged["confidence"] == 0.0 < own["confidence"]
    rows = [{}, {"candidate": "nine zebras"}, {"candidate": " "}, {"candidate": own["candidate"]}]
    file = tmp_path / "judged.jsonl"
    file.write_text("".join(json.dumps({"question": QUESTION, **row}) + "\n" for row in rows))
    assert ask(world, "--json", "--questions", str(file)) == cli.DONE
    asked, judged, blank, same = map(json.loads, lines(capsys))
    assert asked["candidate"] == same["candidate"] == own["candidate"]
    assert (judged["candidate"], judged["confidence"]) == ("nine zebras", 0.0)
    assert blank["error"] == "line 3: the candidate is no answer; leave it out"
    assert same["confidence"] == pytest.approx(own["confidence"], abs=1e-3)


def test_a_question_that_fails_costs_only_itself(tmp_path: Path) -> None:
    """Whatever goes wrong inside, the other rows of its batch are answered."""

    class Fragile:
        def answer_batch(self, questions: list[str], **_: object) -> list[Any]:
            if any("3" in q for q in questions):
                raise RuntimeError("three")
            return [_Plain(q) for q in questions]

    shown = rows_of(Fragile(), tmp_path, 6)
    assert [row.get("error") for row in shown] == [None] * 3 + ["RuntimeError: three"] + [None] * 2
    assert shown[3]["question"] == "Is it 3?"


class _Plain:
    def __init__(self, question: str) -> None:
        self.question = question

    def to_dict(self) -> dict[str, Any]:
        return {"question": self.question}


# -- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "give one question, or --questions FILE"),
        (["Who?", "--questions", "some.jsonl"], "not both"),
        (["  "], "the question is empty"),
        (["--questions", "gone.jsonl"], "gone.jsonl: no such file"),
        (["--questions", "some.jsonl", "--candidate", "He"], "--candidate goes with one question"),
        (["Who?", "--candidate", " "], "candidate 1 is empty"),
        (["--index", "gone", "Who?"], "gone"),
        (["--checkpoint", "gone", "Who?"], "gone: no checkpoint here"),
        (["--threshold", "7", "Who?"], "--threshold"),
        (["-k", "0", "Who?"], "'-k'"),
        (["-k", "many", "Who?"], "'-k'"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    world: tiny.World, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(world, *more) == cli.USER_MISTAKE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert shown.err.count("\n") == 1


def test_another_wording_and_spelling_are_told(
    world: tiny.World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(world, "first pianoo of Quzzbert") == cli.DONE
    told = lines(capsys)
    assert "Read as: What is the first pianoo of Quzzbert?" in told
    assert "Did you mean: What is the first piano of Quzzbert?" in told
    assert "No document mentions “Quzzbert”." in told
