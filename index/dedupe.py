"""Leaves out texts that were read before, whole or nearly; knows documents, nothing of files.

One text in ten copies would otherwise be ten votes. The first of each stays, so the result follows
from the order alone. What was read is remembered on the disk: memory does not grow with it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sqlite3
import unicodedata
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import count
from sqlite3 import Connection

import numpy as np
from numpy.typing import NDArray

from index.documents import Document, Item, Skipped
from index.lexical import STOPWORDS

THRESHOLD = 0.9
"""Share of common word triples (Jaccard) from which two texts are nearly the same."""
SHINGLE = 3
FEWEST_WORDS = 20
"""Of a shorter text, one other word is a large part of what it says."""
NUM_PERM = 128
MOST_UNLIKE = int((1 - THRESHOLD) * NUM_PERM)
"""Numbers of the signatures in which nearly the same texts may differ."""
NUM_BANDS = MOST_UNLIKE + 1
"""So many that in one band at least they do not differ: none is missed."""
CANDIDATES = 100
"""Similar texts looked at: thousands of pages made from one mould are not all compared."""
BLOCK = 1000
"""Signatures compared at once."""
WORD = re.compile(r"\w+")
EMPTY_WORDS = STOPWORDS - {"no", "not"}
"""Words that say nothing by themselves."""
SETTINGS = "PRAGMA cache_size = -8000; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
TEXTS = """
CREATE TABLE texts (digest BLOB PRIMARY KEY, id TEXT) WITHOUT ROWID;
CREATE TABLE ids (id TEXT PRIMARY KEY, next INTEGER DEFAULT 2) WITHOUT ROWID;
"""
KEPT = """
CREATE TABLE signatures (row INTEGER PRIMARY KEY, signature BLOB);
CREATE TABLE documents (row INTEGER PRIMARY KEY, id TEXT, triples BLOB);
CREATE TABLE bands (band INTEGER, row INTEGER, PRIMARY KEY (band, row)) WITHOUT ROWID;
"""
"""Signatures are apart because many are read for each document that is."""
SHARING = f"""
SELECT row, signature FROM signatures
WHERE row IN (SELECT row FROM bands WHERE band IN ({", ".join("?" * NUM_BANDS)}))
"""


def distinct(items: Iterable[Item]) -> Iterator[Item]:
    """Items without the texts that were read before; an id that was used before gets ``#2``.

    Case and spacing make no difference.

    Raises:
        OSError: the disk is full.
    """
    with _remembered(TEXTS) as base:
        for item in items:
            if isinstance(item, Skipped):
                yield item
                continue
            digest = text_digest(item.text)
            if first := base.execute("SELECT id FROM texts WHERE digest = ?", [digest]).fetchone():
                reason = f"'{item.id}' has the same text as '{first[0]}'"
                yield Skipped(item.source, reason, by="same text")
                continue
            doc_id = _unused(base, item.id)
            base.execute("INSERT INTO texts VALUES (?, ?)", [digest, doc_id])
            yield replace(item, id=doc_id)


@contextmanager
def _remembered(tables: str) -> Iterator[Connection]:
    """A database in the folder of temporary files, gone when it is closed; 8 MB are in memory."""
    with closing(sqlite3.connect("")) as base:
        base.executescript(SETTINGS + tables)
        try:
            yield base
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            full = errno.ENOSPC
            raise OSError(full, os.strerror(full), "temporary files (TMPDIR)") from error


def _unused(base: Connection, wanted: str) -> str:
    """The id ``wanted``, or with the first ``#2``, ``#3`` ... that nothing has; now it is used."""
    if _use(base, wanted):
        return wanted
    [(start,)] = base.execute("SELECT next FROM ids WHERE id = ?", [wanted])
    number = next(n for n in count(start) if _use(base, f"{wanted}#{n}"))
    base.execute("UPDATE ids SET next = ? WHERE id = ?", [number + 1, wanted])
    return f"{wanted}#{number}"


def _use(base: Connection, doc_id: str) -> bool:
    return base.execute("INSERT OR IGNORE INTO ids (id) VALUES (?)", [doc_id]).rowcount == 1


def text_digest(text: str) -> bytes:
    """16 bytes that two texts share if they are the same but for case and spacing."""
    words = unicodedata.normalize("NFC", text).casefold().split()
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()


def without_near_duplicates(
    items: Iterable[Item], before: Iterable[Document] = ()
) -> Iterator[Item]:
    """Items without the texts that say nothing that an earlier one does not say.

    Nearly the same are two texts whose word triples have a Jaccard similarity of ``THRESHOLD``,
    estimated by MinHash (Broder 1997) and found by banding. That alone would take the article on
    the season of 2007 for a copy of the one on 2008, and a contract for the one before it was
    amended; so a text stays that has a word, but for ``EMPTY_WORDS``, where the earlier one has
    none (``new_words``). On the disk: some 1.5 kB a document and 4 bytes a word.

    ``before``: documents that are there already, whatever they repeat.

    Raises:
        OSError: the disk is full.
    """
    with _remembered(KEPT) as base:
        kept = _Kept(base)
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
    """What is remembered of the documents that stay: id, signature, and a hash of each triple."""

    base: Connection

    def original(self, document: Document) -> str:
        """The id of the document that this one nearly repeats; else this one is remembered."""
        words = WORD.findall(document.text.casefold())
        if len(words) < FEWEST_WORDS:
            return ""
        triples = [" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)]
        signature = _signature(triples)
        hashes = np.fromiter(map(_hash, triples), np.uint32, len(triples))
        for row in self._nearest(signature):
            query = "SELECT id, triples FROM documents WHERE row = ?"
            [(doc_id, held)] = self.base.execute(query, [row])
            known = np.isin(hashes, np.frombuffer(held, np.uint32))
            if EMPTY_WORDS.issuperset(new_words(words, known)):
                return str(doc_id)
        self._remember(document.id, signature, np.unique(hashes))
        return ""

    def _nearest(self, signature: list[int]) -> list[int]:
        """Rows of the most similar documents, best first, the earlier first of equals."""
        return [row for _, row in nsmallest(CANDIDATES, self._similar(signature))]

    def _similar(self, signature: list[int]) -> Iterator[tuple[int, int]]:
        """In how many numbers the similar documents differ, with their rows."""
        found = self.base.execute(SHARING, _bands(signature))
        while block := found.fetchmany(BLOCK):
            rows, signatures = zip(*block, strict=True)
            numbers = np.frombuffer(b"".join(signatures), np.uint32).reshape(-1, NUM_PERM)
            unlike = np.count_nonzero(numbers != np.array(signature, np.uint32), axis=1)
            pairs = zip(unlike.tolist(), rows, strict=True)
            yield from (pair for pair in pairs if pair[0] <= MOST_UNLIKE)

    def _remember(self, doc_id: str, signature: list[int], triples: NDArray[np.uint32]) -> None:
        values = [doc_id, triples.tobytes()]
        row = self.base.execute("INSERT INTO documents VALUES (NULL, ?, ?)", values).lastrowid
        self.base.execute("INSERT INTO signatures VALUES (?, ?)", [row, array("I", signature)])
        bands = [(band, row) for band in _bands(signature)]
        self.base.executemany("INSERT INTO bands VALUES (?, ?)", bands)


def new_words(words: Sequence[str], known: NDArray[np.bool_]) -> set[str]:
    """Those of a text that another one does not have in their place: no triple that they are in is
    ``known``, bool [words - 2]. Where something was left out, or moved, no word is new."""
    covered = np.zeros(len(words), dtype=bool)
    for place in range(SHINGLE):
        covered[place : len(known) + place] |= known
    return {words[i] for i in np.flatnonzero(~covered).tolist()}


def _signature(triples: list[str]) -> list[int]:
    from rensa import RMinHash

    sketch = RMinHash(NUM_PERM, 1)
    sketch.update(triples)
    return list(sketch.digest())


def _bands(signature: list[int]) -> list[int]:
    """A hash of each band, numbers that are ``NUM_BANDS`` apart; a chance hit does no harm."""
    return [hash((band, *signature[band::NUM_BANDS])) for band in range(NUM_BANDS)]


def _hash(triple: str) -> int:
    return zlib.crc32(triple.encode("utf-8", "replace"))
