"""Answers compared as SQuAD's official script compares them; the cases are worked by hand."""

from __future__ import annotations

import pytest

from retro.text import exact_match, f1, normalise_answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Bald Eagle.", "bald eagle"),
        ("an apple a day", "apple day"),
        ("U.S.A.", "usa"),
        ("theatre", "theatre"),
        ("", ""),
        ("the", ""),
        ("1,064 °C", "1064 °c"),
    ],
)
def test_normalise_answer(text: str, normal: str) -> None:
    assert normalise_answer(text) == normal


def test_exact_match_with_any_reference() -> None:
    assert exact_match("The Danube!", ["Rhine", "danube"])
    assert not exact_match("Danube river", ["Rhine", "danube"])
    assert not exact_match("Danube", [])


@pytest.mark.parametrize(
    ("answer", "references", "score"),
    [
        ("the Black Sea", ["Black Sea"], 1.0),
        ("in the Black Sea", ["Black Sea"], 2 * 2 / 5),
        ("black black sea", ["black sea"], 2 * 2 / 5),
        ("Warsaw", ["Paris", "Warsaw Poland"], 2 / 3),
        ("Warsaw", ["Paris"], 0.0),
        ("", [""], 1.0),
        ("", ["Paris"], 0.0),
        ("Paris", [], 0.0),
    ],
)
def test_f1_by_hand(answer: str, references: list[str], score: float) -> None:
    assert f1(answer, references) == pytest.approx(score)
