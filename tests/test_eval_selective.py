"""The figures of the abstention report, against hand computation on made-up predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eval_fakes import prediction

from eval.baselines import question_only, signals, trivial_scores
from eval.conditions import ARTICLE_REMOVED, PASSAGE_REMOVED, PRESENT, UNANSWERABLE, Prediction
from eval.questions import Question
from eval.selective import at_threshold, evaluate, selection, separation

QUICK = {"seed": 0, "num_resamples": 20}


def pairs() -> list[Prediction]:
    """Four questions of two articles, present and with the article removed.

    Confidence present .9 .8 .6 .3, absent .7 .2 .1 .1; right: present all but the third.
    """
    present = [(0.9, True), (0.8, True), (0.6, False), (0.3, True)]
    absent = [0.7, 0.2, 0.1, 0.1]
    rows = [
        prediction(
            str(n), c, right=r, group="ab"[n % 2], signals={"dense_top1": 1 - c, "flat": 1.0}
        )
        for n, (c, r) in enumerate(present)
    ]
    return rows + [
        prediction(
            str(n),
            c,
            right=False,
            condition=ARTICLE_REMOVED,
            group="ab"[n % 2],
            signals={"dense_top1": 1 - c, "flat": 1.0},
        )
        for n, c in enumerate(absent)
    ]


def test_what_a_user_gets_at_the_threshold() -> None:
    figures = at_threshold([row for row in pairs() if row.condition == PRESENT])
    assert figures["num"] == 4
    assert figures["em"] == figures["f1"] == 0.75
    assert figures["coverage"] == 0.75
    assert figures["em_answered"] == pytest.approx(2 / 3)
    assert figures["selective_risk_em"] == pytest.approx(1 / 3)
    assert figures["over_refusal_em"] == pytest.approx(1 / 3)
    assert figures["crag_em"] == pytest.approx(1 / 4)


def test_nothing_answered_has_no_risk_to_report() -> None:
    figures = at_threshold([prediction("a", 0.1, right=True)])
    assert np.isnan(figures["em_answered"])
    assert figures["coverage"] == figures["crag_em"] == 0
    assert figures["over_refusal_em"] == 1


def test_separation_compares_present_with_absent_whatever_is_right() -> None:
    found = separation(pairs(), **QUICK)
    # Of 16 pairs, .7 beats .6 and .3: 14 / 16.
    assert found["confidence"].value == pytest.approx(14 / 16)
    assert found["confidence"].low <= 14 / 16 <= found["confidence"].high
    assert (found["num_present"], found["num_absent"]) == (4, 4)
    assert found["signals"]["dense_top1"] == {
        "auroc": pytest.approx(14 / 16),
        "sign": -1,
        "num": 8,
    }
    assert found["signals"]["flat"]["auroc"] == 0.5


def test_separation_sets_the_baselines_beside_the_confidence() -> None:
    baselines = separation(pairs(), **QUICK)["baselines"]
    assert baselines["similarity_only"]["auroc"].value == pytest.approx(14 / 16)
    assert baselines["similarity_only"]["gain"] == (0, 0, 0)  # the same ranking
    assert baselines["answer_length_only"]["auroc"].value == 0.5  # "yes" and "no"
    assert baselines["question_only"]["auroc"].value == 0.5  # each question on both sides
    assert "max_probability" not in baselines  # no signal of that name was carried


def test_selection_compares_right_with_wrong_whatever_is_present() -> None:
    found = selection(pairs(), "em", **QUICK)
    assert found["share_right"] == pytest.approx(3 / 8)
    # Right .9 .8 .3 against wrong .7 .6 .2 .1 .1: 13 of 15 pairs.
    assert found["scores"]["confidence"]["auroc"] == pytest.approx(13 / 15)
    assert found["scores"]["confidence"]["coverage_at_5%_risk"] == 0.25
    assert found["scores"]["confidence"]["prr"] == pytest.approx(1.0)
    assert found["intervals"]["brier"].value == pytest.approx(
        np.mean([0.1**2, 0.2**2, 0.6**2, 0.7**2, 0.7**2, 0.2**2, 0.1**2, 0.1**2])
    )
    assert found["curves"]["confidence"][0] == [1 / 8, 0.0]
    assert found["curves"]["confidence"][-1] == [1.0, 5 / 8]
    assert sum(rows for _, _, rows in found["reliability"]) == 8


def test_evaluate_covers_every_condition_that_was_asked() -> None:
    lacking = Question("u", "unanswerable?", ())
    extra = prediction("u", 0.4, right=False, condition=UNANSWERABLE, question=lacking)
    figures = evaluate([*pairs(), extra], num_resamples=5)
    assert list(figures["conditions"]) == [PRESENT, ARTICLE_REMOVED, UNANSWERABLE]
    assert list(figures["separation"]) == [ARTICLE_REMOVED, UNANSWERABLE]
    assert list(figures["selection"]) == [PRESENT, ARTICLE_REMOVED, UNANSWERABLE]
    assert PASSAGE_REMOVED not in figures["conditions"]
    assert figures["separation"][UNANSWERABLE]["confidence"].value == 0.75


def test_a_row_without_a_signal_is_least_sure_and_does_not_cost_the_others_theirs() -> None:
    """Retrieval that brings nothing gives an answer without signals."""
    rows = [
        prediction("a", 0.9, right=True, signals={"dense_top1": 0.1, "x": 5.0}),
        prediction("b", 0.6, right=True, signals={"dense_top1": 0.9, "x": 2.0}),
        prediction("c", 0.8, right=True, condition=ARTICLE_REMOVED, signals={"x": 3.0}),
        prediction("d", 0.0, right=False, condition=ARTICLE_REMOVED),
    ]
    assert np.isnan(signals(rows)["dense_top1"]).tolist() == [False, False, True, True]
    surest_first = np.argsort(-trivial_scores(rows, [1, 0, 0, 0])["similarity_only"])
    assert surest_first.tolist()[:2] == [0, 1]
    found = separation(rows, **QUICK)
    assert found["signals"]["x"] == {"auroc": 0.5, "sign": 1, "num": 3}
    assert np.isnan(found["signals"]["dense_top1"]["auroc"])


def test_a_fact_that_another_document_holds_can_be_left_out() -> None:
    rows = [
        prediction("a", 0.7, right=True),
        prediction("a", 0.9, right=True, condition=PASSAGE_REMOVED),
        prediction("b", 0.1, right=False, condition=PASSAGE_REMOVED),
    ]
    found = separation(rows, **QUICK)
    assert found["confidence"].value == 0.5
    assert found["unanswered_only"].value == 1.0


def test_silence_about_an_unanswerable_question_is_no_right_answer() -> None:
    """An empty candidate matches "no answer" in SQuAD 2; as an answer it is still not right."""
    silent = prediction("u", 0.0, right=False, question=Question("u", "?", ()))
    silent = replace(silent, answer=replace(silent.answer, candidate=""))
    assert silent.exact == 1.0
    assert silent.right == {"em": False, "f1": False}


def styled(num: int) -> list[Prediction]:
    """Questions of 10 articles; those that begin with "Why" are the absent ones."""
    words = ["What is", "Why does"]
    return [
        prediction(
            str(n),
            0.5,
            right=n % 2 == 0,
            group=str(n // 2 % 10),
            question=Question(str(n), f"{words[n % 2]} thing {n // 2}?", ("yes",)),
        )
        for n in range(num)
    ]


def test_question_only_finds_a_style_that_gives_the_answer_away() -> None:
    rows = styled(60)
    held = np.array([n % 2 == 0 for n in range(60)])
    scores = question_only(rows, held)
    assert scores[held].min() > scores[~held].max()


def test_question_only_never_scores_an_article_it_learned_from() -> None:
    """Each article's questions share a word that tells the label: of no use in other articles."""
    rows = [
        prediction(
            str(n),
            0.5,
            right=True,
            group=str(n // 4),
            question=Question(str(n), f"topic{n // 4}", ("yes",)),
        )
        for n in range(80)
    ]
    target = np.array([n // 4 % 2 for n in range(80)])
    scores = question_only(rows, target)
    assert abs(np.corrcoef(scores, target)[0, 1]) < 0.5
    assert question_only(rows[:4], [1, 1, 0, 0]).tolist() == [0.5] * 4  # one article only


def test_the_length_baseline_prefers_the_short_answer() -> None:
    rows = [
        prediction("a", 0.5, right=False, candidate="one two three"),
        prediction("b", 0.5, right=False, candidate="one"),
    ]
    assert trivial_scores(rows, [1, 0])["answer_length_only"].tolist() == [-3, -1]
