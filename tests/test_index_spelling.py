"""Words that stand in no document, in the spelling of ones that do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from index_fakes import small_index, write_jsonl

from index.keys import HashingKeyEncoder
from index.lexical import LexicalIndex, write_lexical
from index.retriever import Retriever
from index.spelling import Speller, one_slip
from index.where import Where

TEXTS = [
    "The Planetarium has 62 seats under its dome.",
    "Every meeting is held in the meet room; a seed is planted, seeds rot.",
    "Beans: three centimetres deep are beans planted.",
    "Bees fly deep into the flower. Bees, bees!",
    "Joë Brückner keeps the warranty cards.",
]


def speller(folder: Path, hidden: tuple[int, ...] = ()) -> Speller:
    write_lexical(TEXTS, folder)
    lexical = LexicalIndex(folder, len(TEXTS))
    return Speller(lexical, TEXTS.__getitem__, np.array(hidden, dtype=np.int64))


def no_word(_: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("How many seets has the planetarum?", "How many seats has the planetarium?"),
        ("PLANETARUM seats?", "Planetarium seats?"),  # a capital where there was one
        ("Planetarium, waranty", "Planetarium, warranty"),
        ("Who is Joe Brukner?", "Who is Joe Brückner?"),  # as the documents write it
        ("Wich seats?", "Which seats?"),
        ("How deep are beens planted?", "How deep are beans planted?"),  # not "been", not "bees"
        ("the flower of beees", "the flower of bees"),
        ("warrenty", "warranty"),
        ("werrenty", None),  # two slips
        ("How many seats has the planetarium?", None),
        ("planted beens 63 R7 sea", "planted beans 63 R7 sea"),  # neither numbers nor short words
        ("", None),
    ],
)
def test_a_word_that_stands_nowhere_is_respelt(
    tmp_path: Path, typed: str, meant: str | None
) -> None:
    assert speller(tmp_path / "bm25").respelt(typed, {"many"}.__contains__) == meant


def test_what_the_rest_of_the_question_stands_with_is_meant(tmp_path: Path) -> None:
    """ "bees" is as near, and more frequent."""
    made = speller(tmp_path / "bm25")
    assert made.respelt("beess in the flower", no_word) == "bees in the flower"
    assert made.respelt("bears planted three centimetres", no_word) == (
        "beans planted three centimetres"
    )


def test_a_short_word_alone_is_not_guessed(tmp_path: Path) -> None:
    """It must stand with the rest of the question; a long one is known by itself."""
    made = speller(tmp_path / "bm25")
    assert made.respelt("seets into the flower", no_word) is None
    assert made.respelt("planetarum in the flower", no_word) == "planetarium in the flower"


def test_a_word_of_the_language_stays(tmp_path: Path) -> None:
    made = speller(tmp_path / "bm25")
    assert made.respelt("Where are means planted?", no_word) == "Where are beans planted?"
    assert made.respelt("Where are means planted?", {"means"}.__contains__) is None


def test_hidden_chunks_lend_no_words(tmp_path: Path) -> None:
    assert speller(tmp_path / "all").respelt("waranty", no_word) == "warranty"
    assert speller(tmp_path / "some", hidden=(4,)).respelt("waranty", no_word) is None
    assert speller(tmp_path / "some", hidden=(0, 4)).respelt("warranty", no_word) is None


def test_one_slip_is_one_letter() -> None:
    slips = one_slip("abc")
    assert {"ab", "bc", "bac", "xbc", "abx", "abcd", "aabc"} <= slips
    assert not slips & {"abc", "a", "cba", "abcde"}


def test_an_index_respells_by_what_may_be_found(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "title": "Planetarium", "text": "It has 62 seats.", "source": "a"},
        {"id": "b", "title": "Orchard", "text": "Trees and more trees.", "source": "b"},
    ]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    small_index(source, tmp_path / "index")
    whole = Retriever.open(tmp_path / "index", HashingKeyEncoder())
    assert whole.respelt("seats of the planetarum", no_word) == "seats of the planetarium"
    part = Retriever.open(tmp_path / "index", HashingKeyEncoder(), where=Where(sources=("b",)))
    assert part.respelt("seats of the planetarum", no_word) is None
