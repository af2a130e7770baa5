"""The demo questions' rule and shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from eval_fakes import prediction

from eval.demo import demo_figures, demo_tables, matches, right, run
from eval.questions import Question
from index.errors import UserError


@pytest.mark.parametrize(
    ("said", "answers", "expected"),
    [
        ("the Nile", ["Nile"], True),
        ("on the river Nile in the north of Africa", ["Nile"], True),  # holds it
        ("Mount Everest", ["Everest mountain"], True),  # half of the words
        ("Everest is a peak in Asia", ["Mount Everest"], False),
        ("1991", ["1990"], False),
        ("", ["Nile"], False),
    ],
)
def test_the_rule_for_an_answer(said: str, answers: list[str], expected: bool) -> None:
    assert matches(said, answers) is expected


def of_kind(kind: str) -> Question:
    answers = ("yes",) if kind == "answerable" else ()
    return Question(kind, f"{kind}?", answers, kind=kind)


def test_right_is_an_answer_where_there_is_one_and_a_refusal_elsewhere() -> None:
    rows = [
        prediction("1", 0.9, right=True, question=of_kind("answerable")),
        prediction("2", 0.9, right=False, question=of_kind("answerable")),
        prediction("3", 0.1, right=True, question=of_kind("answerable")),
        prediction("4", 0.1, right=False, question=of_kind("near_miss")),
        prediction("5", 0.6, right=False, question=of_kind("near_miss")),
        prediction("6", 0.1, right=False, question=of_kind("far")),
    ]
    assert [right(row) for row in rows] == [True, False, False, True, False, True]
    figures = demo_figures(rows)
    assert {kind: row["share"] for kind, row in figures["kinds"].items()} == {
        "answerable": pytest.approx(1 / 3),
        "near_miss": 0.5,
        "far": 1.0,
    }
    assert figures["candidate_right"] == pytest.approx(2 / 3)
    # .9 .9 .1 against .1 .6 .1: ties count half.
    assert figures["auroc_answerable"] == pytest.approx((3 + 3 + 0.5 + 0.5) / 9)


def test_every_failure_is_shown_with_what_was_said() -> None:
    rows = [
        prediction("1", 0.1, right=True, question=of_kind("answerable")),
        prediction("2", 0.8, right=False, question=of_kind("far")),
        prediction("3", 0.1, right=False, question=of_kind("far")),
    ]
    refused, invented = demo_figures(rows)["failures"]
    assert refused["said"] == "declined (insufficient), candidate: yes"
    assert (invented["said"], invented["accepted"]) == ("no", "a refusal")
    page = "".join(table.markdown() for table in demo_tables(demo_figures(rows)))
    assert "| far | declined | 1 | 2 | 0.500 |" in page
    assert "| far | far | far? | a refusal | no | 0.800 |" in page


@pytest.mark.parametrize(
    "question",
    [Question("7", "?", ("a",)), Question("7", "?", ("a",), kind="nearby"), of_kind("answerable")],
)
def test_a_question_of_no_known_kind_is_the_users_mistake(
    question: Question, tmp_path: Path
) -> None:
    if question.kind == "answerable":
        question = Question("7", "?", (), kind="answerable")
    with pytest.raises(UserError, match="question 7"):
        run(None, [question], tmp_path)  # type: ignore[arg-type]
