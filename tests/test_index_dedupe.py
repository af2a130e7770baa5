from __future__ import annotations

from index.dedupe import distinct, without_near_duplicates
from index.documents import Document, Skipped

PASSAGE = (
    "The Old Bridge of Mostar was built in 1566 by the architect Hayruddin over the river Neretva. "
    "It stood for centuries until it fell during the war, and divers still leap from it in summer. "
    "Travellers wrote of its single arch, which seemed to them as high and thin as a rainbow, and "
    "of the towers on either side where guards once slept among sacks of powder and of grain."
)
"""70 words; one other word changes three of its triples."""


def documents(*texts: str) -> list[Document]:
    return [Document(f"d{n}", "", text, f"{n}.txt") for n, text in enumerate(texts)]


def left_out(*texts: str) -> list[str]:
    items = without_near_duplicates(distinct(documents(*texts)))
    return [item.reason for item in items if isinstance(item, Skipped)]


def test_case_and_spacing_make_no_other_text() -> None:
    assert left_out("The  camel\ndrinks.", "the CAMEL drinks.", "the camel drinks") == [
        "'d1' has the same text as 'd0'"
    ]


def test_the_first_of_near_copies_stays() -> None:
    assert left_out(
        PASSAGE,
        PASSAGE.replace("thin", "slender"),
        PASSAGE.replace(".", " ."),
        "copied: " + PASSAGE,
    ) == [f"'d{n}' is a near duplicate of 'd0'" for n in (1, 2, 3)]


def test_texts_that_differ_in_a_fact_stay() -> None:
    """By similarity alone, the season of 2007 was a copy of the season of 2008."""
    assert (
        left_out(
            PASSAGE,
            PASSAGE.replace("1566", "1567"),
            PASSAGE.replace("Hayruddin", "Sinan"),
            PASSAGE.replace("it fell", "it never fell"),
            PASSAGE.replace("single", "second"),
        )
        == []
    )


def test_a_text_that_lost_half_of_it_or_is_short_stays() -> None:
    assert left_out(PASSAGE, PASSAGE[: len(PASSAGE) // 2], PASSAGE + PASSAGE.swapcase()[::-1]) == []
    assert left_out("a camel drinks a lot of water.", "a camel drinks a lot of water, too.") == []


def test_the_same_items_give_the_same_result() -> None:
    items = documents(*(PASSAGE.replace("river", f"river {word}") for word in "abcabcde"))
    first = list(without_near_duplicates(distinct(items)))
    assert list(without_near_duplicates(distinct(items))) == first
