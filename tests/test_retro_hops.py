"""Training rows for questions that need two passages, and the bridge between the two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import UserError
from retro.cli import main
from retro.hops import find_bridge, hop_rows, names_in, two_passages, write_hops

FAUN = "Faun is a silent film directed by Alexander Korda. It was shot in Budapest."
MEN = "Men of Tomorrow was directed by Zoltan Korda and produced by his brother Alexander Korda."
ASKED = {
    "id": "m1",
    "question": "Who is the brother of the director of Faun?",
    "context": f"Paragraph 1: {FAUN}\n Paragraph 2: {MEN}",
    "answers": ["Zoltan Korda"],
}


def pair() -> tuple[dict[str, Any], dict[str, Any]]:
    found = two_passages(ASKED)
    assert found is not None
    return found


def test_the_second_passage_is_the_one_that_holds_the_answer() -> None:
    first, second = pair()
    assert (first["context"], second["context"]) == (FAUN, MEN)
    swapped = ASKED | {"context": f"Paragraph 1: {MEN}\n Paragraph 2: {FAUN}"}
    assert two_passages(swapped) == (first, second)


@pytest.mark.parametrize(
    "context",
    [
        f"Paragraph 1: {MEN}",
        f"Paragraph 1: {MEN}\n Paragraph 2: Zoltan Korda was born in 1895.",
        f"Paragraph 1: {FAUN}\n Paragraph 2: Fauns have horns.",
        f"Paragraph 1: {FAUN}\n Paragraph 2: {MEN}\n Paragraph 3: Fauns have horns.",
    ],
)
def test_a_question_without_two_passages_of_which_one_answers_is_left_out(context: str) -> None:
    assert two_passages(ASKED | {"context": context}) is None


def test_the_bridge_is_the_longest_name_that_both_hold_and_the_question_does_not() -> None:
    assert find_bridge(ASKED["question"], FAUN, MEN) == "Alexander Korda"
    assert find_bridge("Who is Alexander Korda's brother?", FAUN, MEN) is None
    assert find_bridge(ASKED["question"], FAUN, "Nothing of the kind.") is None


def test_names_go_over_initials_and_small_words_but_not_over_sentences() -> None:
    text = "The book by J. R. R. Tolkien is from Oxford. In 1066 the Battle of Hastings was lost."
    assert names_in(text) == ["J. R. R. Tolkien", "Oxford", "Battle of Hastings"]


def test_a_question_gives_a_row_for_each_hop_and_one_that_the_first_does_not_answer() -> None:
    rows = {row["kind"]: row for row in hop_rows(*pair())}
    question = ASKED["question"]
    told = {k: (r["question"], r["context"], r["answers"]) for k, r in rows.items()}
    assert told == {
        "not yet": (question, FAUN, []),
        "bridge": (f"{question} (?)", FAUN, ["Alexander Korda"]),
        "second": (f"{question} (Alexander Korda)", MEN, ["Zoltan Korda"]),
    }


def test_a_bridge_that_is_the_answer_is_none() -> None:
    first, second = pair()
    rows = list(hop_rows(first | {"answers": ["Alexander Korda"]}, second))
    assert [row["kind"] for row in rows] == ["not yet"]


def test_writes_as_many_questions_of_one_passage_as_bridges(tmp_path: Path) -> None:
    data, single, out = (tmp_path / name for name in ("two.jsonl", "one.jsonl", "hops.jsonl"))
    data.write_text(json.dumps(ASKED) + "\n")
    one = {"question": "What do fauns have?", "context": "Fauns have horns.", "answers": ["horns"]}
    single.write_text(3 * (json.dumps(one) + "\n"))
    args = ["train", "hops", "--data", str(data), "--single", str(single), "--out", str(out)]
    assert main(args) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["not yet", "bridge", "second", "single"]
    last = rows[-1]
    assert (last["question"], last["answers"]) == ("What do fauns have? (?)", [])


def test_says_so_where_no_question_needs_two_passages(tmp_path: Path) -> None:
    data = tmp_path / "one.jsonl"
    data.write_text(json.dumps({"question": "Why?", "context": "So.", "answers": ["So"]}) + "\n")
    with pytest.raises(UserError, match="whose context holds two passages"):
        write_hops([data], [data], tmp_path / "out.jsonl", limit=None, seed=0)
