"""The confusion matrix of reasons, over an answerer whose every answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eval_fakes import LookUp, build_tiny_index, squad_rows

from eval.questions import Question
from eval.reasons import Cases, run
from index.errors import UserError
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro.types import Answer

FAR = Question("f", "Who won the cup?", (), kind="far")


class Reasoning(LookUp):
    """Knows a planted passage and a candidate from elsewhere when it sees one."""

    def answer_batch(self, questions: Sequence[str], **how: Any) -> list[Answer]:
        answers = super().answer_batch(questions, **how)
        planted = [
            any(d.startswith("planted:") for d in found.doc_ids)
            for found in how.get("neighbours") or []
        ]
        if any(planted):
            said = {"answer": None, "abstained": True, "reason": "conflicting"}
            seen = {"num_conflicting": 1.0}
            return [replace(a, **said, signals=seen) for a in answers]
        if how.get("candidates"):
            return [
                a
                if c == self.known[a.question]
                else replace(a, candidate=c, answer=None, abstained=True, reason="unverified")
                for a, c in zip(answers, how["candidates"], strict=True)
            ]
        return answers


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Reasoning:
    index = build_tiny_index(tmp_path_factory.mktemp("index"))
    return Reasoning(Retriever.open(index, HashingKeyEncoder()))


def questions() -> list[Question]:
    rows = [{**row, "answers": tuple(row["answers"])} for row in squad_rows()]
    return [*(Question(**row) for row in rows), FAR]


def test_every_state_has_its_row(answerer: Reasoning, tmp_path: Path) -> None:
    report = run(answerer, questions(), tmp_path, k=6, batch_size=2)
    matrix = report.figures["matrix"]
    assert matrix["present"]["answered"] == 6
    assert matrix["article_removed"]["insufficient"] == 6
    assert matrix["far"] == {
        "answered": 0, "out_of_scope": 0, "insufficient": 1, "conflicting": 0, "unverified": 0
    }  # fmt: skip
    assert matrix["contradicted"]["conflicting"] == sum(matrix["contradicted"].values()) > 0
    assert matrix["wrong_candidate"]["unverified"] == sum(matrix["wrong_candidate"].values()) > 0
    assert report.figures["wanted"] == {
        "present": 1.0, "article_removed": 1.0, "contradicted": 1.0, "wrong_candidate": 1.0,
        "right_candidate": 1.0, "far": 0.0,
    }  # fmt: skip
    assert report.figures["dispute_false_alarms"] == 0.0
    assert report.figures["dispute_found"] == 1.0
    assert [row["id"] for row in report.figures["failures"]] == ["f"]
    page = report.markdown({})
    assert "| far | out_of_scope | 0 | 0 | 1 | 0 | 0 | 0.000 |" in page


def test_a_wrong_candidate_is_another_questions_answer(answerer: Reasoning) -> None:
    cases = Cases(answerer, questions()[:6], [], questions()[:6], 4, 0)
    for row in cases._wrong(questions()[:6]):
        assert row.answer.candidate not in row.question.answers


def test_without_an_answerable_question_there_are_no_cases(
    answerer: Reasoning, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no answerable question"):
        run(answerer, [FAR], tmp_path)
