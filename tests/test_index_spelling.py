"""Words that stand in no document, in the spelling of ones that do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from index_fakes import small_index, write_jsonl

from index.keys import HashingKeyEncoder
from index.lexical import LexicalIndex, write_lexical
from index.retriever import NO_CHUNKS, Retriever
from index.spelling import Speller, one_slip
from index.vocabulary import Vocabulary
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
    vocabulary = Vocabulary(lexical, np.array(hidden, dtype=np.int64))
    return Speller(vocabulary, TEXTS.__getitem__)


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
        ("werrenty", ""),  # two slips
        ("How many seats has the planetarium?", ""),
        ("planted beens 63 R7 sea", "planted beans 63 R7 sea"),  # neither numbers nor short words
        ("", ""),
    ],
)
def test_a_word_that_stands_nowhere_is_respelt(tmp_path: Path, typed: str, meant: str) -> None:
    assert speller(tmp_path / "bm25").read(typed, {"many"}.__contains__).respelt == meant


def test_what_the_rest_of_the_question_stands_with_is_meant(tmp_path: Path) -> None:
    """ "bees" is as near, and more frequent."""
    made = speller(tmp_path / "bm25")
    assert made.read("beess in the flower", no_word).respelt == "bees in the flower"
    assert made.read("bears planted three centimetres", no_word).respelt == (
        "beans planted three centimetres"
    )


def test_a_short_word_alone_is_not_guessed(tmp_path: Path) -> None:
    """It must stand with the rest of the question; a long one is known by itself."""
    made = speller(tmp_path / "bm25")
    assert made.read("seets into the flower", no_word).respelt == ""
    assert made.read("planetarum in the flower", no_word).respelt == "planetarium in the flower"


def test_a_word_of_the_language_stays(tmp_path: Path) -> None:
    made = speller(tmp_path / "bm25")
    assert made.read("Where are means planted?", no_word).respelt == "Where are beans planted?"
    assert made.read("Where are means planted?", {"means"}.__contains__).respelt == ""


def test_names_of_which_no_document_has_heard(tmp_path: Path) -> None:
    made = speller(tmp_path / "bm25")
    assert made.read("Has Quzzbert Brückner a Planetarum?", no_word).unheard == ("Quzzbert",)
    assert made.read("Has Quzzbert seats?", {"quzzbert"}.__contains__).unheard == ()
    assert made.read("Quzzberts have seats", no_word).unheard == ()  # a capital in any case
    assert (
        made.read("has quzzbert seats", no_word).unheard == ()
    )  # of ordinary words there are many
    assert speller(tmp_path / "some", hidden=(4,)).read("a Joë Brückner", no_word).unheard == (
        "Brückner",
    )


def test_identifiers_are_names_as_far_as_the_index_tells_them_apart(tmp_path: Path) -> None:
    asked = "What is the default of work_mem and max_wrok_mem and seat_memm?"
    assert speller(tmp_path / "old").read(asked, no_word) == ("", ())
    texts = [*TEXTS, "work_mem and max_work_mem: memory of a seat."]
    write_lexical(texts, tmp_path / "new")
    lexical = LexicalIndex(tmp_path / "new", len(texts))
    told = Speller(Vocabulary(lexical, NO_CHUNKS), texts.__getitem__).read(asked, no_word)
    assert told.respelt == "What is the default of work_mem and max_work_mem and seat_memm?"
    assert told.unheard == ("seat_memm",)


def test_what_is_no_word_and_another_language_are_left_alone(tmp_path: Path) -> None:
    made = speller(tmp_path / "bm25")
    assert made.read(f"the waranty {'x' * 100_000}", no_word) == (
        "the warranty " + "x" * 100_000,
        (),
    )
    german = "die waranty Quzz Blubber Kreisel Garantien Maschinen Zeitraum Ablauf Anspruch"
    assert made.read(german, no_word) == ("", ())


def test_hidden_chunks_lend_no_words(tmp_path: Path) -> None:
    assert speller(tmp_path / "all").read("waranty", no_word).respelt == "warranty"
    assert speller(tmp_path / "some", hidden=(4,)).read("waranty", no_word).respelt == ""
    assert speller(tmp_path / "some", hidden=(0, 4)).read("warranty", no_word).respelt == ""


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
    assert whole.spelling("seats of the planetarum", no_word).respelt == "seats of the planetarium"
    part = Retriever.open(tmp_path / "index", HashingKeyEncoder(), where=Where(sources=("b",)))
    assert part.spelling("seats of the planetarum", no_word).respelt == ""
    absent = whole.search("seats", exclude=["a"]).absent
    assert whole.spelling("seats of the planetarum", no_word, absent).respelt == ""
