"""When two documents disagree, and the many ways in which they only seem to."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from retro.conflict import Dispute, agree, differ, dispute_signals, find_dispute, numbers_of
from retro.types import Reading

ASKED = "In which year did Mount Fuji last erupt?"
OURS = "Mount Fuji last erupted in 1707. It is the highest mountain of Japan."
RIVAL = "The last eruption of Mount Fuji, Japan's highest mountain, was that in 1854."
EDITED = "Mount Fuji last erupted in 1854. It is the highest mountain of Japan."
"""The same sentence with another year: a rule that was changed, or a slip of the pen."""


@dataclass(frozen=True)
class Passages:
    """What a dispute is looked for in; every text is its own document unless told."""

    texts: tuple[str, ...]
    titles: tuple[str, ...]
    doc_ids: tuple[str, ...]


def passages(*texts: str, ids: tuple[str, ...] | None = None, title: str = "") -> Passages:
    names = ids or tuple(f"d{n}" for n in range(len(texts)))
    return Passages(texts, (title,) * len(texts), names)


def reading(text: str, said: str, probability: float = 0.9) -> Reading:
    start = text.index(said)
    return Reading(start, start + len(said), probability)


@dataclass(frozen=True)
class Drafted:
    """An answer, the neighbour that it is read in, its place there, and all readings."""

    text: str
    source: int
    spans: tuple[tuple[int, int] | None, ...]
    readings: tuple[Reading, ...]


def dispute(
    found: Passages, said: tuple[str, ...], probabilities: tuple[float, ...], asked: str = ASKED
) -> Dispute | None:
    readings = [reading(*row) for row in zip(found.texts, said, probabilities, strict=True)]
    spans = tuple((r.start, r.end) for r in readings)
    draft = Drafted(said[0], 0, spans, tuple(readings))
    return find_dispute(asked, draft, found, lambda word: 1.0)  # type: ignore[arg-type]


def test_two_documents_that_say_two_things_are_in_dispute() -> None:
    found = dispute(passages(OURS, RIVAL), ("1707", "1854"), (0.75, 0.72))
    said, denied = reading(OURS, "1707", 0.75), reading(RIVAL, "1854", 0.72)
    assert found == Dispute(ours=0, rival=1, said=said, denied=denied, documents=1)
    assert dispute_signals(found) == {"dispute": pytest.approx(0.96), "num_conflicting": 1.0}


def test_a_rival_that_is_much_less_probable_is_no_side() -> None:
    """Counted, such disputes took right answers down: most questions have several answers."""
    assert dispute(passages(OURS, RIVAL), ("1707", "1854"), (0.8, 0.7)) is None


def test_the_strongest_rival_speaks_and_a_surer_one_is_no_more_than_equal() -> None:
    third = RIVAL.replace("1854", "1900")
    found = dispute(passages(OURS, RIVAL, third), ("1707", "1854", "1900"), (0.5, 0.6, 0.9))
    assert found is not None
    assert (found.ours, found.rival, found.strength, found.documents) == (0, 2, 1.0, 2)


def test_the_answer_is_as_strong_as_its_best_passage() -> None:
    twice = passages(OURS, RIVAL, f"{OURS} Tokyo is near.")
    found = dispute(twice, ("1707", "1854", "1707"), (0.4, 0.855, 0.9))
    assert found is not None
    assert (found.ours, found.strength) == (2, pytest.approx(0.95))


def test_the_same_sentence_with_another_answer_is_as_strong_whatever_is_read_there() -> None:
    """Of two versions of a page the reader often sees the answer in one alone."""
    found = dispute(passages(OURS, EDITED), ("1707", "Japan"), (0.8, 0.01))
    denied = reading(EDITED, "1854", 0.8)
    assert found == Dispute(0, 1, reading(OURS, "1707", 0.8), denied, documents=1)
    assert found.strength == 1.0


def test_an_edited_sentence_speaks_though_its_document_tells_the_first_answer_too() -> None:
    found = dispute(passages(OURS, f"{EDITED} Not in 1707."), ("1707", "1854"), (0.8, 0.8))
    assert found is not None


@pytest.mark.parametrize(
    ("asked", "ours", "said", "other", "why"),
    [
        (ASKED, OURS, "1707", EDITED.replace("1854", "the year 1707"), "the same year"),
        (ASKED, OURS, "1707", EDITED.replace("Fuji", "Etna"), "another mountain"),
        (ASKED, OURS, "1707", EDITED.replace("in 1854", "with fire"), "a word is no other year"),
        (
            "Who rules the town of Ulm?",
            "Ulm: the mayor of the town is Gunter Czisch.",
            "Gunter Czisch",
            "Trier: the mayor of the town is Wolfram Leibe.",
            "the same sentence of another town",
        ),
    ],
)
def test_what_repeats_a_sentence_and_denies_nothing(
    asked: str, ours: str, said: str, other: str, why: str
) -> None:
    assert dispute(passages(ours, other), (said, other[:2]), (0.9, 0.01), asked) is None, why


def test_names_that_the_answers_own_passage_lacks_are_not_asked_of_an_edited_one() -> None:
    asked = "When did Mount Fuji last erupt before the Meiji era?"
    assert dispute(passages(OURS, EDITED), ("1707", "1854"), (0.9, 0.9), asked) is not None
    assert dispute(passages(OURS, RIVAL), ("1707", "1854"), (0.9, 0.9), asked) is None


@pytest.mark.parametrize(
    ("other", "said", "probability", "why"),
    [
        (RIVAL, "1854", 0.1, "the rival is not sure"),
        ("Mount Etna last erupted in 1854.", "1854", 0.9, "the rival speaks of another mountain"),
        ("Fuji is in Japan. In 1854 Perry came.", "1854", 0.9, "its sentence is about other words"),
        (RIVAL.replace("1854", "year 1707"), "year 1707", 0.9, "the same number"),
        (f"{RIVAL} Others say 1707.", "1854", 0.9, "the rival's passage says both"),
        (RIVAL.replace("that in 1854", "of fire"), "fire", 0.9, "a word is no other year"),
    ],
)
def test_what_only_seems_a_dispute(other: str, said: str, probability: float, why: str) -> None:
    assert dispute(passages(OURS, other), ("1707", said), (0.9, probability)) is None, why


def test_one_document_does_not_dispute_with_itself() -> None:
    for other in (RIVAL, EDITED):
        same = passages(OURS, other, ids=("d", "d"))
        assert dispute(same, ("1707", "1854"), (0.9, 0.9)) is None
    assert dispute(same, ("17", "18"), (0.9, 0.9)) is None, "the answer is a part of a word"


def test_an_answer_that_nobody_is_sure_of_or_that_stands_nowhere_has_no_dispute() -> None:
    found = passages(OURS, RIVAL)
    assert dispute(found, ("1707", "1854"), (0.1, 0.9)) is None
    nowhere = Drafted("1707", -1, (None, None), (reading(OURS, "1707"), reading(RIVAL, "1854")))
    assert find_dispute(ASKED, nowhere, found, lambda _: 1.0) is None  # type: ignore[arg-type]
    assert dispute_signals(None) == {"dispute": 0.0, "num_conflicting": 0.0}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1707", "1854"),
        ("two", "three moons"),
        ("5 May 1990", "5 May 1991"),
        ("4.5 million", "4.5"),
        ("Halford Mackinder", "Eric Shipton"),
        ("the Black Forest", "the Alps"),
    ],
)
def test_answers_that_differ(first: str, second: str) -> None:
    assert differ(first, second)
    assert differ(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1,707", "1707"),
        ("two", "2 moons"),
        ("1.5 million", "1,500,000"),
        ("14 December 1911", "1911"),
        ("Darwin", "Charles Darwin"),
        ("The Alps", "alps"),
        ("Café", "cafe"),
        ("1911", "Amundsen"),
        ("", "Amundsen"),
    ],
)
def test_answers_that_may_be_one(first: str, second: str) -> None:
    assert not differ(first, second)
    assert not differ(second, first)


def test_numbers_in_digits_and_words() -> None:
    assert numbers_of("about 1,064 degrees, 12.5 %, or twenty") == {1064.0, 12.5, 20.0}
    assert numbers_of("three hundred thousand") == {300000.0}
    assert numbers_of("a million people") == frozenset()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("in 1974", "1974", True),
        ("Laxness", "Halldór Laxness", True),
        ("1338–39", "1338–37", False),
        ("5 nanometers across", "8 nanometers across", False),
        ("convergent boundaries", "divergent boundaries", False),
        ("Paris", "Warsaw", False),
    ],
)
def test_two_wordings_agree_unless_a_number_or_a_word_sets_them_apart(
    first: str, second: str, same: bool
) -> None:
    assert agree(first, second) is agree(second, first) is same


SHEETS = (
    "Warranty\n\nThe manufacturer grants two years from the day of purchase.",
    "Warranty\n\nThe manufacturer grants three years from the day of purchase.",
)


def sheets(first: str, second: str, question: str) -> Dispute | None:
    found = Passages(SHEETS, (first, second), ("d0", "d1"))
    return dispute(found, ("two years", "three years"), (0.9, 0.9), question)


@pytest.mark.parametrize(
    ("first", "second", "question"),
    [
        ("Brisa Duo", "Brisa Professional", "How long is the warranty of the Brisa Duo?"),
        ("Brisa One", "Brisa Duo", "How long is the warranty of the Brisa One?"),
        ("Lamps", "Toasters", "How long is the warranty of a lamp?"),
    ],
)
def test_sheets_of_two_things_say_two_things(first: str, second: str, question: str) -> None:
    """The title alone tells of which one a sentence is that stands in both."""
    assert sheets(first, second, question) is None


@pytest.mark.parametrize(
    ("first", "second", "question"),
    [
        ("Brisa Duo", "Brisa Duo (2023)", "How long is the warranty of the Brisa Duo?"),
        ("Manual 2024", "Manual 2023", "How long is the warranty of the Brisa Duo?"),
        ("Our terms", "Terms of warranty", "How long is the warranty?"),
    ],
)
def test_sheets_of_one_thing_are_in_dispute(first: str, second: str, question: str) -> None:
    assert sheets(first, second, question) is not None
