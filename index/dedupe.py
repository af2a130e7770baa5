"""Leaves out texts that were read before, whole or nearly; knows documents, nothing of files.

One text in ten copies would otherwise be ten votes. The first of each stays, so the result follows
from the order alone.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from itertools import chain, count
from typing import Any

from index.documents import Document, Item, Skipped

THRESHOLD = 0.9
"""Share of common word triples (Jaccard) from which two texts are nearly the same."""
SHINGLE = 3
FEWEST_WORDS = 20
"""Of a shorter text, one other word is a large part of what it says."""
NUM_PERM, NUM_BANDS = 128, 16
CANDIDATES = 100
"""Similar texts looked at: thousands of pages made from one mould are not all compared."""
WORD = re.compile(r"\w+")
NUMERALS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve first second third fourth "
    "fifth sixth seventh eighth ninth tenth eleventh twelfth last no not none never".split()
)


def distinct(items: Iterable[Item]) -> Iterator[Item]:
    """Items without the texts that were read before; an id that was used before gets ``#2``.

    Case and spacing make no difference. Memory: one digest and one id a document.
    """
    first: dict[bytes, str] = {}
    used: set[str] = set()
    for item in items:
        if isinstance(item, Skipped):
            yield item
            continue
        digest = text_digest(item.text)
        if digest in first:
            reason = f"'{item.id}' has the same text as '{first[digest]}'"
            yield Skipped(item.source, reason, by="same text")
            continue
        names = chain([item.id], (f"{item.id}#{n}" for n in count(2)))
        doc_id = next(name for name in names if name not in used)
        first[digest] = doc_id
        used.add(doc_id)
        yield replace(item, id=doc_id)


def text_digest(text: str) -> bytes:
    """16 bytes that two texts share if they are the same but for case and spacing."""
    words = unicodedata.normalize("NFC", text).casefold().split()
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()


def without_near_duplicates(
    items: Iterable[Item], before: Iterable[Document] = ()
) -> Iterator[Item]:
    """Items without the texts that say next to nothing that an earlier one does not say.

    Nearly the same are two texts whose word triples have a Jaccard similarity of ``THRESHOLD``,
    estimated by MinHash (Broder 1997) and found by banding. That alone would take the article on
    the season of 2007 for a copy of the one on 2008; so a text stays that has a number or a
    capitalised word which the earlier one lacks. Memory: about a kilobyte a document.

    ``before``: documents that are there already, whatever they repeat.
    """
    kept = _Kept()
    for document in before:
        kept.original(document)
    for item in items:
        if isinstance(item, Document) and (original := kept.original(item)):
            reason = f"'{item.id}' is a near duplicate of '{original}'"
            yield Skipped(item.source, reason, by="near duplicate")
        else:
            yield item


@dataclass
class _Kept:
    """What is remembered of the documents that stay: id, signature, and a hash of each word."""

    ids: list[str] = field(default_factory=list)
    sketches: list[Any] = field(default_factory=list)
    words: list[array[int]] = field(default_factory=list)
    bands: Any = field(default_factory=lambda: _bands())

    def original(self, document: Document) -> str:
        """The id of the document that this one nearly repeats; else this one is remembered."""
        words = WORD.findall(document.text)
        if len(words) < FEWEST_WORDS:
            return ""
        sketch = _sketch([word.casefold() for word in words])
        facts = _facts(words)
        for row in self._nearest(sketch):
            if facts <= set(self.words[row]):
                return self.ids[row]
        self.bands.insert(len(self.ids), sketch)
        self.ids.append(document.id)
        self.sketches.append(sketch)
        self.words.append(array("I", {_hash(word) for word in words}))
        return ""

    def _nearest(self, sketch: Any) -> list[int]:
        """Rows of the most similar documents, best first, the earlier first of equals."""
        rows = self.bands.query(sketch)
        similar = [(-sketch.jaccard(self.sketches[row]), row) for row in rows]
        best = nsmallest(CANDIDATES, similar)
        return [row for distance, row in best if distance <= -THRESHOLD]


def _bands() -> Any:
    from rensa import RMinHashLSH

    return RMinHashLSH(THRESHOLD, NUM_PERM, NUM_BANDS)


def _sketch(words: list[str]) -> Any:
    from rensa import RMinHash

    sketch = RMinHash(NUM_PERM, 1)
    sketch.update([" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)])
    return sketch


def _facts(words: list[str]) -> set[int]:
    """Hashes of the words that make a statement another one: numbers, names, numerals, "not"."""
    return {_hash(word) for word in words if not word[0].islower() or word in NUMERALS}


def _hash(word: str) -> int:
    return zlib.crc32(word.casefold().encode("utf-8", "replace"))
