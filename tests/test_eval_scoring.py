"""Answer scores on cases worked out by hand from SQuAD's official script."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scoring import exact_match, f1
from retro.text import contains_answer

WORDS = st.lists(st.sampled_from(["the", "Nile", "river", "1991", "in."]), max_size=5).map(" ".join)


@pytest.mark.parametrize(
    ("said", "answers", "exact", "overlap"),
    [
        ("The Beatles.", ["beatles"], 1, 1),
        ("in 1991", ["1991"], 0, 2 / 3),
        ("5 May 1990", ["5 May 1991"], 0, 2 / 3),
        ("Paris", ["London", "paris!"], 1, 1),
        ("Paris", ["London"], 0, 0),
        ("a b b", ["b c"], 0, 1 / 2),  # "a" is an article; one "b" is shared
        ("", ["London"], 0, 0),
        ("", [], 1, 1),  # SQuAD 2: silence is right where there is no answer
        ("London", [], 0, 0),
    ],
)
def test_exact_match_and_f1(said: str, answers: list[str], exact: float, overlap: float) -> None:
    assert exact_match(said, answers) == exact
    assert f1(said, answers) == pytest.approx(overlap)


@settings(max_examples=50)
@given(WORDS, st.lists(WORDS, min_size=1, max_size=3), WORDS)
def test_more_accepted_answers_never_hurt(said: str, answers: list[str], another: str) -> None:
    assert exact_match(said, answers) <= f1(said, answers)
    assert f1(said, answers) <= f1(said, [*answers, another])
    assert exact_match(said, answers) <= exact_match(said, [*answers, another])


def test_contains_answer_takes_whole_words_only() -> None:
    assert contains_answer("It was built in the year 1991.", ["1991"])
    assert contains_answer("the Mediterranean Sea, of course", ["Mediterranean sea"])
    assert not contains_answer("It was built in 19915.", ["1991"])
    assert not contains_answer("Anything at all", ["", "the"])
