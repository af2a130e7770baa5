"""BM25 over chunks; knows words, nothing of vectors, tokens or documents."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import Array, ArrayWriter, in_blocks, mapped

K1, B = 0.9, 0.4
"""Chunks are of one length nearly, so length is normalised little (measured on SQuAD train)."""
STOPWORDS = frozenset(
    "a an and are as at be been but by did do does for from had has have how if in into is it no "
    "not of on or such that the their then there these they this to was were what when where "
    "which who whom whose why will with".split()
)
BLOCK = 1 << 18
"""Postings held in memory at a time."""
POSTING = np.dtype([("word", np.int32), ("chunk", np.int32), ("score", np.float32)])
IDENTIFIER = re.compile(r"(?<![^\W_])[^\W_]+(?:_+[^\W_]+)+")
"""A name as programs have them: ``work_mem`` is more than "work" and "mem"."""
_WORD = re.compile(r"[^\W_]+")
_local = threading.local()
_ACCENT = re.compile("[\u0300-\u036f]+")


def words(text: str) -> list[str]:
    """The words of a text as BM25 sees them: folded, without stop words, stemmed (Snowball); and
    behind them identifiers as they are, of which the words are parts."""
    folded = fold(text)
    kept = [w for w in _WORD.findall(folded) if w not in STOPWORDS]
    stems: list[str] = _stemmer().stemWords(kept)
    return stems + IDENTIFIER.findall(folded) if "_" in folded else stems


def main_word(word: str) -> str:
    """Of what BM25 sees of one word the whole: the identifier, or the stem; empty if nothing."""
    known = words(word) or [""]
    return known[-1] if IDENTIFIER.fullmatch(known[-1]) else known[0]


def _stemmer() -> Any:
    """A stemmer of this thread's own: one must not be used by two threads at a time."""
    if not hasattr(_local, "stemmer"):
        import Stemmer

        _local.stemmer = Stemmer.Stemmer("english")
    return _local.stemmer


def fold(text: str) -> str:
    """Lower case without accents: ``Zoë's`` and ``zoe's`` are one."""
    if text.isascii():
        return text.lower()
    bare = _ACCENT.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", bare).lower()


def write_lexical(texts: Iterable[str], folder: Path) -> None:
    """Writes the BM25 index of some texts, one a chunk, in order; memory grows with words alone.

    vocab.json    the words, in the order in which they were met
    indptr.npy    int64 [words + 1]     where each word's chunks begin
    indices.npy   int32 [postings]      its chunks, ascending
    data.npy      float32 [postings]    what the word adds to the score of each of them
    """
    shutil.rmtree(folder, ignore_errors=True)  # a kill may have left half of it
    folder.mkdir()
    with TemporaryDirectory(dir=folder) as scratch:
        vocab = _count_words(texts, Path(scratch))
        _invert(Path(scratch), folder, len(vocab))
    text = json.dumps(list(vocab), ensure_ascii=False)
    (folder / "vocab.json").write_text(text, encoding="utf-8")


def _count_words(texts: Iterable[str], scratch: Path) -> dict[str, int]:
    """The vocabulary; on disk, chunk by chunk, the distinct words with their counts."""
    vocab: dict[str, int] = {}
    with (
        (scratch / "words").open("wb") as found,
        (scratch / "counts").open("wb") as counts,
        ArrayWriter(scratch / "lens.npy", np.int32, (2,)) as lens,
    ):
        for text in texts:
            counted = Counter(words(text))
            found.write(array("i", [vocab.setdefault(word, len(vocab)) for word in counted]))
            counts.write(array("i", counted.values()))
            lens.extend((counted.total(), len(counted)))
    return vocab


def _counted(scratch: Path) -> Iterator[tuple[Array, Array, Array]]:
    """What ``_count_words`` has written, some ``BLOCK`` postings at a time.

    Chunks' lengths and numbers of distinct words, int32 [chunks, 2]; these words with their
    counts, both int32 [postings]. Chunks are short, so blocks are cut by the mean.
    """
    lens = mapped(scratch / "lens.npy")
    with (scratch / "words").open("rb") as found, (scratch / "counts").open("rb") as counts:
        postings = os.fstat(found.fileno()).st_size // 4
        for block in in_blocks(lens, max(1, BLOCK * len(lens) // max(1, postings))):
            size = int(block[:, 1].sum())
            yield block, np.fromfile(found, np.int32, size), np.fromfile(counts, np.int32, size)


def _invert(scratch: Path, folder: Path, num_words: int) -> None:
    """Sorts postings by word instead of by chunk, range of words by range of words."""
    indptr = np.zeros(num_words + 1, dtype=np.int64)
    num_chunks = total_len = 0
    for lens, found, _ in _counted(scratch):
        indptr[1:] += np.bincount(found, minlength=num_words)
        num_chunks += len(lens)
        total_len += int(lens[:, 0].sum())
    rarity = idf(indptr[1:], num_chunks)
    np.cumsum(indptr, out=indptr)
    np.save(folder / "indptr.npy", indptr)
    cuts = _cuts(indptr)
    scored = _scored(scratch, rarity, max(total_len / max(1, num_chunks), 1.0))
    _distribute(scored, scratch / "ranges", indptr, cuts)
    _sort(scratch / "ranges", np.diff(indptr[cuts]).tolist(), folder)


def _cuts(indptr: NDArray[np.int64]) -> list[int]:
    """Cuts the vocabulary into ranges of at most ``BLOCK`` postings, or of a word with more."""
    cuts = [0]
    while cuts[-1] < len(indptr) - 1:
        end = int(np.searchsorted(indptr, indptr[cuts[-1]] + BLOCK, "right")) - 1
        cuts.append(max(end, cuts[-1] + 1))
    return cuts


def _scored(scratch: Path, rarity: NDArray[np.float64], mean_len: float) -> Iterator[Array]:
    """Blocks of postings, by chunk, with Lucene's BM25.

    Robertson & Zaragoza 2009, equation 3.15, without the constant factor ``k1 + 1``.
    """
    before = 0
    for lens, found, tf in _counted(scratch):
        block = np.empty(len(found), POSTING)
        norm = K1 * (1 - B + B * lens[:, 0] / mean_len)
        block["word"] = found
        block["chunk"] = np.repeat(np.arange(before, before + len(lens)), lens[:, 1])
        block["score"] = rarity[found] * tf / (tf + np.repeat(norm, lens[:, 1]))
        before += len(lens)
        yield block


def _distribute(
    blocks: Iterator[Array], file: Path, indptr: NDArray[np.int64], cuts: list[int]
) -> None:
    """Writes each posting behind those that its range of words has, in that range's place."""
    num_ranges = len(cuts) - 1
    dtype = np.min_scalar_type(num_ranges)  # numbers of 16 bits are sorted by radix
    range_of = np.repeat(np.arange(num_ranges, dtype=dtype), np.diff(cuts))
    cursor = indptr[cuts[:-1]]
    with file.open("wb") as stream:
        for block in blocks:
            ranges = range_of[block["word"]]
            block = block[np.argsort(ranges, kind="stable")]
            sizes = np.bincount(ranges, minlength=num_ranges)
            for at, size, end in zip(cursor, sizes, np.cumsum(sizes), strict=True):
                stream.seek(at * POSTING.itemsize)
                stream.write(block[end - size : end].data)
            cursor += sizes


def _sort(file: Path, sizes: list[int], folder: Path) -> None:
    """Sorts each range by word, where chunks ascend already; one word's may be read in pieces."""
    with (
        file.open("rb") as stream,
        ArrayWriter(folder / "indices.npy", np.int32) as indices,
        ArrayWriter(folder / "data.npy", np.float32) as data,
    ):
        for size in sizes:
            for start in range(0, size, BLOCK):
                part = np.fromfile(stream, POSTING, min(BLOCK, size - start))
                part = part[np.argsort(part["word"], kind="stable")]
                indices.extend(part["chunk"])
                data.extend(part["score"])


def idf(seen: Any, num_chunks: int) -> Any:
    """Inverse document frequency in Lucene's form, of words that so many chunks hold."""
    return np.log(1 + (num_chunks - seen + 0.5) / (seen + 0.5))


class LexicalIndex:
    """BM25 scores of chunks for a question, mapped from disk.

    Raises:
        ValueError: the files contradict each other.
    """

    def __init__(self, folder: Path, num_chunks: int) -> None:
        names = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        self._vocab = {word: i for i, word in enumerate(names)}
        self._indptr = mapped(folder / "indptr.npy")
        self._indices, self._data = mapped(folder / "indices.npy"), mapped(folder / "data.npy")
        self.num_chunks = num_chunks
        ends = (len(self._indptr) - 1, self._indptr[-1], len(self._data))
        if ends != (len(self._vocab), len(self._indices), len(self._indices)):
            raise ValueError("the files of the BM25 index do not fit together")

    @cached_property
    def has_identifiers(self) -> bool:
        """Whether the index holds any; one that was built before they were told apart does not."""
        return any("_" in word for word in self._vocab)

    def scores(
        self, query: Sequence[str], rarer: Callable[[str], float] | None = None
    ) -> NDArray[np.float32]:
        """BM25 score of every chunk, float32 [chunks], for the ``words`` of a question; each word
        counts ``rarer`` times as much as it does here."""
        found = np.zeros(self.num_chunks, dtype=np.float32)
        for word in query:
            part = self._postings(word)
            added = self._data[part]
            # A word's chunks are distinct, so plain += is right and faster than np.add.at.
            found[self._indices[part]] += added * np.float32(rarer(word)) if rarer else added
        return found

    def count(self, stem: str) -> int:
        """How many chunks hold one of the ``words``."""
        part = self._postings(stem)
        return int(part.stop - part.start)

    def chunks(self, stem: str) -> NDArray[np.int32]:
        """The chunks that hold one of the ``words``, ascending; none if none does."""
        return np.asarray(self._indices[self._postings(stem)])

    def _postings(self, word: str) -> slice:
        i = self._vocab.get(word)
        return slice(0, 0) if i is None else slice(*self._indptr[[i, i + 1]].tolist())
