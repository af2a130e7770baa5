"""The same sentence twice with something else in one place, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retro.restated import restated

RULE = "After one year of service every employee has 20 days of paid leave a year."


def in_its_place(text: str, said: str, other: str) -> str | None:
    start = text.index(said)
    found = restated(text, start, start + len(said), other)
    return found and other[found[0] : found[1]]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (RULE, "20"),
        (RULE.replace("20", "25"), "25"),
        (f"What is new. {RULE.replace('20', 'twenty-five')} So be it.", "twenty-five"),
        (RULE.replace("20", "22,5").upper(), "22,5"),
        (RULE.replace("20", "25").replace("every employee", "each employee"), "25"),
        (RULE.replace(" has", " now has").replace("20", "25"), "25"),
    ],
)
def test_what_stands_in_the_place_of_the_answer(other: str, said: str) -> None:
    assert in_its_place(f"Leave. {RULE} More below.", "20", other) == said


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("", "nothing stands there"),
        ("Every employee has 25 days of paid leave.", "half of the sentence is missing"),
        (RULE.replace("20 days", "no claim"), "the word behind is another"),
        (RULE.replace("has 20", "has"), "nothing is in the place"),
        (RULE.replace("20", "one two three four five six seven eight nine"), "too much is"),
        ("After one year. Of service 25 days of paid leave a year.", "two sentences"),
    ],
)
def test_other_sentences(other: str, why: str) -> None:
    assert in_its_place(RULE, "20", other) is None, why


def test_the_place_may_be_at_either_end_and_of_several_words() -> None:
    text = "Gunter Czisch is the mayor of the town"
    assert in_its_place(text, "Gunter Czisch", text.replace("Gunter", "Martin")) == "Martin Czisch"
    text = "The mayor of the old town is Gunter Czisch"
    assert in_its_place(text, "Gunter Czisch", "The mayor of the old town is Ada Lu") == "Ada Lu"


def test_the_likest_sentence_is_taken() -> None:
    near = RULE.replace("20", "30").replace("every employee", "each employee")
    other = f"{near} {RULE.replace('20', '25')}"
    assert in_its_place(RULE, "20", other) == "25"


def test_a_place_without_words_or_outside_of_all_sentences_has_no_other() -> None:
    assert restated(RULE, len(RULE) - 1, len(RULE), RULE) is None
    assert restated(RULE, len(RULE) + 5, len(RULE) + 9, RULE) is None


@given(st.text(max_size=60), st.text(max_size=60), st.integers(0, 60), st.integers(1, 20))
def test_any_text_is_taken_and_what_is_found_lies_in_it(
    text: str, other: str, start: int, length: int
) -> None:
    found = restated(text, start, start + length, other)
    assert found is None or 0 <= found[0] < found[1] <= len(other)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=12), st.integers(0, 7))
def test_a_sentence_restates_itself(words: list[str], place: int) -> None:
    text = " ".join(words)
    assert in_place(text, 2 * place) == (2 * place, 2 * place + 1)


def in_place(text: str, start: int) -> tuple[int, int] | None:
    return restated(text, start, start + 1, text)
