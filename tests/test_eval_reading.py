"""Reading scores and recall, against hand computation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from eval_fakes import prediction

from eval.questions import Question
from eval.reading import (
    best_f1,
    confidence_figures,
    reading_figures,
    recall,
    with_abstention,
)

LACKING = Question("u", "unanswerable?", ())


def rows() -> list[Any]:
    """Right and sure, right and unsure, wrong and sure; unanswerable: silent, and fooled."""
    return [
        prediction("a", 0.9, right=True),
        prediction("b", 0.4, right=True),
        prediction("c", 0.7, right=False),
        prediction("d", 0.3, right=False, question=LACKING),
        prediction("e", 0.6, right=False, question=LACKING),
    ]


def test_forced_scores_are_of_the_answerable_candidates() -> None:
    figures = reading_figures(rows())
    assert (figures["num"], figures["num_answerable"]) == (5, 3)
    assert figures["forced"]["em"].value == pytest.approx(2 / 3)
    assert figures["threshold"]["coverage"] == pytest.approx(2 / 3)
    assert figures["threshold"]["em_answered"] == 0.5


def test_abstaining_is_the_empty_answer_of_squad_2() -> None:
    figures = with_abstention(rows())
    assert figures["em"] == figures["f1"] == pytest.approx(2 / 5)  # a and d
    assert figures["has_answer_f1"] == pytest.approx(1 / 3)
    assert figures["no_answer_f1"] == 0.5


def test_confidence_is_compared_with_how_many_are_right() -> None:
    figures = confidence_figures(rows())["em"]  # answered: a .9 right, c .7 and e .6 wrong
    assert figures["share_right"] == pytest.approx(2 / 5)
    assert figures["answered"] == pytest.approx(3 / 5)
    assert figures["right_answered"] == pytest.approx(1 / 3)
    assert figures["mean_answered"] == pytest.approx((0.9 + 0.7 + 0.6) / 3)
    assert figures["auroc"].value == pytest.approx(4 / 6)
    unsure = [prediction(name, 0.1, right=name == "a") for name in "abc"]
    silent = confidence_figures(unsure)["f1"]
    assert silent["answered"] == 0
    assert np.isnan(silent["right_answered"])


def test_best_f1_is_the_best_of_all_thresholds() -> None:
    # Answering the surest 0..5 of a c e b d: right in all 2 3 3 2 3 2 of five.
    assert best_f1(rows()) == pytest.approx(3 / 5)
    brute = max(
        np.mean(
            [r.f1 if r.answer.confidence >= t else float(not r.question.answerable) for r in rows()]
        )
        for t in (0, 0.35, 0.5, 0.65, 0.8, 1)
    )
    assert best_f1(rows()) == pytest.approx(brute)


def test_best_f1_cannot_split_a_tie() -> None:
    tied = [
        prediction("a", 0.5, right=True),
        prediction("u", 0.5, right=False, question=LACKING),
    ]
    assert best_f1(tied) == 0.5


def test_only_unanswerable_questions_have_no_forced_score() -> None:
    figures = reading_figures([prediction("u", 0.1, right=False, question=LACKING)])
    assert "forced" not in figures
    assert figures["with_abstention"]["em"] == 1
    assert np.isnan(figures["with_abstention"]["has_answer_f1"])


class Gold:
    """Passages by question id."""

    def passage(self, question: Question) -> frozenset[str]:
        return frozenset({"g", "copy"} if question.id != "nowhere" else ())


def test_recall_counts_the_first_place_of_the_passage_and_of_the_answer() -> None:
    questions = [Question(n, "?", ("Nile",)) for n in ("first", "third", "missed", "nowhere")]
    found: Any = [
        SimpleNamespace(doc_ids=("g", "x", "y"), texts=("no", "the Nile.", "no")),
        SimpleNamespace(doc_ids=("x", "y", "copy"), texts=("Nile", "", "")),
        SimpleNamespace(doc_ids=("x", "y", "z"), texts=("", "", "Niles")),
        SimpleNamespace(doc_ids=(), texts=()),
    ]
    figures = recall(questions, found, Gold(), 3)  # type: ignore[arg-type]
    assert figures["num_with_passage"] == 3
    assert figures["passage"] == {1: pytest.approx(1 / 3), 3: pytest.approx(2 / 3)}
    assert figures["answer"] == {1: 0.25, 3: 0.5}


def test_recall_without_any_passage_claims_none() -> None:
    found: Any = [SimpleNamespace(doc_ids=("x",), texts=("",))]
    figures = recall([Question("nowhere", "?", ())], found, Gold(), 1)  # type: ignore[arg-type]
    assert figures == {"num_with_passage": 0, "passage": {}, "answer": {}}
