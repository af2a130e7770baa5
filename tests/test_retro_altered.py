"""Questions altered so that their passage does not answer them: by a name, a number or a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retro.altered import _NAME, _NUMBER, SHARES, Swap, altered, negated, opposite, turned
from retro.cli import main

CONTEXT = "In 1887 Anna Ek sold the largest mill of Oslo to Per Dahl, who did not pay."


def row(question: str, context: str = CONTEXT, title: str = "Mills") -> dict[str, Any]:
    return {"title": title, "question": question, "context": context, "answers": ["Per Dahl"]}


ASKED = row("To whom did Anna Ek sell a mill in 1887?")
OTHERS = [
    row("When was Nils Berg born in Oslo?", "Nils Berg was born in Oslo in 1903."),
    row("What did Karl Falk buy in 1903?", "Karl Falk bought a boat in 1903.", title="Boats"),
]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_name_is_exchanged_for_one_of_the_article_that_the_passage_lacks() -> None:
    swap = Swap(_NAME, [ASKED, *OTHERS])
    assert swap(ASKED, rng()) == "To whom did Nils Berg sell a mill in 1887?"


def test_a_number_is_exchanged_for_one_as_long() -> None:
    swap = Swap(_NUMBER, [ASKED, row("Who bought 12 boats in 1950?", "12 boats, in 1950.")])
    assert swap(ASKED, rng()) == "To whom did Anna Ek sell a mill in 1950?"


def test_nothing_is_exchanged_for_what_the_passage_holds() -> None:
    known = [ASKED, row("Why did Per Dahl not pay?")]
    assert Swap(_NAME, known)(ASKED, rng()) is None
    assert Swap(_NAME, [ASKED])(row("Who sold it?"), rng()) is None


def test_a_word_is_exchanged_for_its_opposite() -> None:
    assert opposite(row("Who sold the largest mill?"), rng()) == "Who sold the smallest mill?"
    assert opposite(row("Who sold the mill?"), rng()) is None


@pytest.mark.parametrize("before", ["Who did pay?", "What can mills do?"])
def test_a_verb_is_negated(before: str) -> None:
    made = negated(row(before), rng())
    assert made in {"Who didn't pay?", "Who did never pay?", "What can't mills do?"} | {
        "What can never mills do?"
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("To whom did Anna Ek sell?", None),  # a word follows that no name ends before
        ("Who bought a mill from Anna Ek?", "Who bought a mill from Per Dahl?"),
        ("Who took Anna Ek's mill?", "Who took Per Dahl's mill?"),
        ("Who sold the mill of the Anna Ek?", None),
        ("Who was married to Anna Ek?", None),  # it may hold both ways
        ("Who paid Per Dahl?", None),  # the answer itself
        ("Who paid Ann Dahl?", None),  # not in the passage
        ("Who paid for it?", None),
    ],
)
def test_a_question_is_turned_round_by_its_answer(before: str, after: str | None) -> None:
    assert turned(row(before), rng()) == after


def test_a_question_is_not_turned_by_an_answer_that_is_no_name() -> None:
    for answers in (["in 1887"], ["they did not pay"], []):
        assert turned({**row("Who bought it from Anna Ek?"), "answers": answers}, rng()) is None


def test_only_the_ways_that_are_asked_for_are_taken() -> None:
    rows = [row("Who bought the largest mill from Anna Ek?") for _ in range(60)]
    made = {way: {m["question"] for m in altered(rows, ways=[way])} for way in SHARES}
    assert made["turned"] == {"Who bought the largest mill from Per Dahl?"}
    assert made["opposite"] == {"Who bought the smallest mill from Anna Ek?"}
    assert made["number"] == made["negated"] == set()
    assert {m["question"] for m in altered(rows)} == made["turned"] | made["opposite"]


def test_what_is_negated_already_stays_out() -> None:
    assert negated(row("Who did not pay?"), rng()) is None
    assert negated(row("Who didn't pay?"), rng()) is None
    assert negated(row("Who paid?"), rng()) is None


def test_altered_rows_keep_their_passage_and_have_no_answers() -> None:
    rows = [row(f"Who sold the largest mill in {year}?") for year in range(1700, 1760)]
    made = list(altered(rows, seed=1))
    assert 5 < len(made) < len(rows)
    assert all(m["context"] == CONTEXT and m["answers"] == [] for m in made)
    asked = {r["question"] for r in rows}
    assert {m["question"] for m in made} - asked
    assert made == list(altered(rows, seed=1))
    assert list(altered(rows, seed=1, limit=3)) == made[:3]


def test_the_command_writes_what_training_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "asked.jsonl", tmp_path / "altered.jsonl"
    rows = [row("Who sold the largest mill?") for _ in range(40)]
    data.write_text("".join(json.dumps(r) + "\n" for r in [*rows, {"question": "Who?"}]))
    given = ["train", "alter", "--data", str(data), "--out", str(out)]
    assert main([*given, "--limit", "2"]) == 0
    assert "2 altered questions of 40" in capsys.readouterr().out
    assert [json.loads(line)["question"] for line in out.read_text().splitlines()] == [
        "Who sold the smallest mill?"
    ] * 2


def test_a_way_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "asked.jsonl", tmp_path / "altered.jsonl"
    data.write_text(json.dumps(row("Who sold the largest mill?")) + "\n")
    given = ["train", "alter", "--data", str(data), "--out", str(out)]
    assert main([*given, "--way", "sideways"]) == 2
    assert "sideways: choose from name, number" in capsys.readouterr().err
    assert main([*given, "--way", "opposite", "--way", "turned"]) == 0


def test_nothing_to_alter_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "asked.jsonl", tmp_path / "altered.jsonl"
    data.write_text(json.dumps(row("Who sold it?")) + "\n")
    assert main(["train", "alter", "--data", str(data), "--out", str(out)]) == 2
    assert "no answered question with a context" in capsys.readouterr().err
    assert not out.exists()
