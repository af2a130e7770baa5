from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import pytest
from rensa import RMinHash

from index import dedupe
from index.dedupe import THRESHOLD, distinct, without_near_duplicates
from index.documents import Document, Item, Skipped

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
        PASSAGE.replace("over the river", "over a river"),
        PASSAGE.replace(".", " ."),
        "and " + PASSAGE,
        PASSAGE.replace("single ", ""),
        " ".join([*PASSAGE.split()[16:], *PASSAGE.split()[:16]]),
    ) == [f"'d{n}' is a near duplicate of 'd0'" for n in (1, 2, 3, 4, 5)]


def test_texts_that_differ_in_a_fact_stay() -> None:
    """By similarity alone, the season of 2007 was a copy of the season of 2008."""
    assert (
        left_out(
            PASSAGE,
            PASSAGE.replace("1566", "1567"),
            PASSAGE.replace("Hayruddin", "Sinan"),
            PASSAGE.replace("it fell", "it never fell"),
            PASSAGE.replace("single", "second"),
            PASSAGE.replace("thin", "slender"),
            PASSAGE.replace("powder", "grain"),  # a word that stands elsewhere
            PASSAGE.replace("summer.", "summer. It is closed while they leap."),
        )
        == []
    )


def test_what_was_added_to_a_long_text_is_kept() -> None:
    """The current constitution of a club was left out for a copy of the one before."""
    rules = " ".join(f"Rule w{n} holds on the day w{n + 1} of the year." for n in range(200))
    assert left_out(rules, rules.replace("w99 of", "w99, not w98, of"), f"{rules} {rules}") == [
        "'d2' is a near duplicate of 'd0'"
    ]


def test_a_text_that_lost_half_of_it_or_is_short_stays() -> None:
    assert left_out(PASSAGE, PASSAGE[: len(PASSAGE) // 2], PASSAGE + PASSAGE.swapcase()[::-1]) == []
    assert left_out("a camel drinks a lot of water.", "a camel drinks a lot of water, too.") == []


def test_the_same_items_give_the_same_result() -> None:
    items = documents(*(PASSAGE.replace("river", f"river {word}") for word in "abcabcde"))
    first = list(without_near_duplicates(distinct(items)))
    assert list(without_near_duplicates(distinct(items))) == first


def test_an_id_that_was_used_gets_the_next_number_that_is_free() -> None:
    ids = ["a", "a", "a#2", "a", "a#5", "a", "a", "b"]
    items = distinct(Document(name, "", f"text {n}", "") for n, name in enumerate(ids))
    found = [item.id for item in items if isinstance(item, Document)]
    assert found == ["a", "a#2", "a#2#2", "a#3", "a#5", "a#4", "a#6", "b"]


def test_the_nearest_of_all_earlier_texts_is_found() -> None:
    """By comparing each with all before it, in place of those that have a band in common."""
    rng = random.Random(0)
    texts = [" ".join(f"w{n}" for n in range(300))]
    for _ in range(300):
        cut = rng.randrange(300)
        words = rng.choice(texts).split()[:cut] + rng.choice(texts).split()[cut:]
        for _ in range(rng.randint(0, 6)):
            words[rng.randrange(300)] = rng.choice(["the", "of", "and", "with"])
        texts.append(" ".join(words))
    kept: list[tuple[int, RMinHash, set[str]]] = []
    expected = []
    for n, text in enumerate(texts):
        split = text.split()
        sketch = RMinHash(128, 1)
        triples = [" ".join(split[i : i + 3]) for i in range(len(split) - 2)]
        sketch.update(triples)
        near = [(sketch.jaccard(s), -m) for m, s, held in kept if not says_more(triples, held)]
        similarity, place = max(near, default=(0.0, 0))
        if similarity >= THRESHOLD:
            expected.append(f"'d{n}' is a near duplicate of 'd{-place}'")
        else:
            kept.append((n, sketch, set(triples)))
    assert 20 < len(expected) < 280
    items = without_near_duplicates(documents(*texts))
    assert [item.reason for item in items if isinstance(item, Skipped)] == expected


def says_more(triples: list[str], held: set[str]) -> bool:
    """Whether a word that says something has no triple in common with the other text."""
    for i, triple in enumerate(triples):
        around = triples[max(0, i - 2) : i + 1]
        if triple.split()[0] not in dedupe.EMPTY_WORDS and not held.intersection(around):
            return True
    last = [(triples[-2:], triples[-1].split()[1]), (triples[-1:], triples[-1].split()[2])]
    return any(w not in dedupe.EMPTY_WORDS and not held.intersection(t) for t, w in last)


@pytest.mark.parametrize("reads", [distinct, without_near_duplicates])
def test_memory_does_not_grow_with_the_documents(
    reads: Callable[[Iterable[Item]], Iterator[Item]],
) -> None:
    """Each text once took some 2 kB as long as the build read on."""

    def peak(num: int) -> int:
        texts = (" ".join(f"w{n}x{k}" for k in range(30)) for n in range(num))
        tracemalloc.start()
        kept = sum(1 for _ in reads(Document(f"d{n}", "", t, "") for n, t in enumerate(texts)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert kept == num
        return most

    peak(10)
    assert peak(500) < peak(100) + 30_000


def test_a_full_disk_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedupe, "SETTINGS", dedupe.SETTINGS + "PRAGMA max_page_count = 8;")
    with pytest.raises(OSError, match="No space left on device: 'temporary files"):
        left_out(*(f"{PASSAGE} {n}" for n in range(1000)))
