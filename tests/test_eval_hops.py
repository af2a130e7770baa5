"""Questions of two passages asked with both and without one, counted by hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eval_fakes import PASSAGES, LookUp, build_tiny_index, write_jsonl

from eval.hops import ONE, TWO, run
from eval.questions import Question, read_questions
from index.errors import UserError
from index.retriever import Retriever
from retro.policy import AbstentionPolicy
from retro.types import Answer, Hop

TWO_PASSAGES = [
    ("How fast runs the bird that cannot fly?", "70 kilometres an hour", 5, 4),
    ("Which sea takes the river of Egypt?", "Mediterranean Sea", 1, 0),
]


class InTwo(LookUp):
    """Finds the answer where the second passage is there; in two steps it finds a bridge too, and
    says what it says surely only where the first passage is there."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self.policy = AbstentionPolicy(0.5, chain_below=0.6)
        self.known = {question: answer for question, answer, *_ in TWO_PASSAGES}
        self.first = {question: f"d{first}" for question, _, first, _ in TWO_PASSAGES}

    def answer_batch(
        self,
        questions: Sequence[str],
        *,
        exclude: Sequence[Collection[str]] | None = None,
        **how: Any,
    ) -> list[Answer]:
        assert exclude is not None
        answers = super().answer_batch(questions, exclude=exclude, **how)
        if not self.policy.chain_below:
            return answers
        return [self._asked_on(*pair) for pair in zip(answers, exclude, strict=True)]

    def _asked_on(self, answer: Answer, absent: Collection[str]) -> Answer:
        first = self.first[answer.question]
        if first in absent:
            return replace(answer, answer=None, abstained=True, confidence=0.1)
        return replace(answer, hops=(Hop("bird", first, "", 0, 4, 0.9),))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_index(tmp_path_factory.mktemp("hops"))


def questions(folder: Path, *, second: str | None = None) -> list[Question]:
    rows = [
        {
            "question": question,
            "answers": [answer],
            "context": f"Paragraph 1: {PASSAGES[a][1]}\n Paragraph 2: {second or PASSAGES[b][1]}",
        }
        for question, answer, a, b in TWO_PASSAGES
    ]
    return read_questions(write_jsonl(folder / "asked.jsonl", rows))


def test_each_step_and_each_missing_passage_is_counted(index: Path, tmp_path: Path) -> None:
    answerer: Any = InTwo(Retriever.open(index))
    policy = answerer.policy
    report = run(answerer, questions(tmp_path), tmp_path, k=6, num_resamples=20)
    assert answerer.policy is policy
    one, two = (report.figures["ways"][way] for way in (ONE, TWO))
    assert (one["em"], two["em"]) == (1.0, 1.0)
    assert (one["bridge_found"], two["bridge_found"]) == (0.0, 1.0)
    assert two["bridge_in_first_passage"] == 1.0
    assert one["second_passage_found"] == 1.0
    answered = {
        (way, condition): row["answered"]
        for way, figures in report.figures["ways"].items()
        for condition, row in figures["conditions"].items()
    }
    assert answered == {
        (ONE, "present"): 1.0,
        (ONE, "first_removed"): 1.0,
        (ONE, "second_removed"): 0.0,
        (TWO, "present"): 1.0,
        (TWO, "first_removed"): 0.0,
        (TWO, "second_removed"): 0.0,
    }
    assert one["auroc_first_removed"][0] == 0.5
    assert two["auroc_first_removed"][0] == 1.0
    assert one["auroc_second_removed"][0] == 1.0
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 2 * 3 * 2
    assert "second passage removed" in report.markdown({})


def test_a_policy_that_never_asks_on_is_asked_in_one_step(index: Path, tmp_path: Path) -> None:
    answerer: Any = InTwo(Retriever.open(index))
    answerer.policy = AbstentionPolicy(0.5)
    report = run(answerer, questions(tmp_path), tmp_path, k=6, num_resamples=5)
    assert list(report.figures["ways"]) == [ONE]


def test_questions_whose_passages_are_not_in_the_index_are_told(
    index: Path, tmp_path: Path
) -> None:
    asked = questions(tmp_path, second="The 70 kilometres an hour of the Mediterranean Sea.")
    answerer: Any = InTwo(Retriever.open(index))
    with pytest.raises(UserError, match="that are documents of the index"):
        run(answerer, asked, tmp_path)
