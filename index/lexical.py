"""BM25 over chunks; knows words, nothing of vectors, tokens or documents."""

from __future__ import annotations

import json
import re
import shutil
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import ArrayWriter, mapped, reserve

K1, B = 0.9, 0.4
"""Chunks are of one length nearly, so length is normalised little (measured on SQuAD train)."""
STOPWORDS = frozenset(
    "a an and are as at be been but by did do does for from had has have how if in into is it no "
    "not of on or such that the their then there these they this to was were what when where "
    "which who whom whose why will with".split()
)
BLOCK = 1 << 17
"""Postings sorted at a time."""
_WORD = re.compile(r"[^\W_]+")
_local = threading.local()
_ACCENT = re.compile("[\u0300-\u036f]+")


def words(text: str) -> list[str]:
    """The words of a text as BM25 sees them: folded, without stop words, stemmed (Snowball)."""
    kept = [w for w in _WORD.findall(fold(text)) if w not in STOPWORDS]
    stems: list[str] = _stemmer().stemWords(kept)
    return stems


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
        ArrayWriter(scratch / "words.npy", np.int32) as found,
        ArrayWriter(scratch / "counts.npy", np.int32) as counts,
        ArrayWriter(scratch / "lens.npy", np.int32, (2,)) as lens,
    ):
        for text in texts:
            counted = Counter(words(text))
            found.extend([vocab.setdefault(word, len(vocab)) for word in counted])
            counts.extend(list(counted.values()))
            lens.extend((counted.total(), len(counted)))
    return vocab


def _invert(scratch: Path, folder: Path, num_words: int) -> None:
    """Sorts postings by word instead of by chunk, a block at a time (Lucene's BM25).

    Robertson & Zaragoza 2009, equation 3.15, without the constant factor ``k1 + 1``.
    """
    all_words, counts = mapped(scratch / "words.npy"), mapped(scratch / "counts.npy")
    lens, distinct = mapped(scratch / "lens.npy").T
    indptr = np.zeros(num_words + 1, dtype=np.int64)
    for start in range(0, len(all_words), BLOCK):
        block = all_words[start : start + BLOCK]
        indptr[1:] += np.bincount(block, minlength=num_words)
    idf = _idf(indptr[1:], len(lens))
    np.cumsum(indptr, out=indptr)
    np.save(folder / "indptr.npy", indptr)
    for name, dtype in (("indices", np.int32), ("data", np.float32)):
        reserve(folder / f"{name}.npy", dtype, (len(all_words),))
    mean_len = max(float(lens.mean()), 1.0)
    cursor, before = indptr[:-1].copy(), 0
    for chunks in _chunk_blocks(distinct):
        rows = np.repeat(np.arange(chunks.start, chunks.stop), distinct[chunks])
        part = slice(before, before + len(rows))
        tf, norm = counts[part], K1 * (1 - B + B * lens[rows] / mean_len)
        scores = idf[all_words[part]] * tf / (tf + norm)
        _place(folder, cursor, all_words[part], rows, scores)
        before = part.stop


def _chunk_blocks(distinct: NDArray[np.int32]) -> Iterator[slice]:
    """Chunks in blocks of some ``BLOCK`` postings; chunks are short, so by the mean."""
    size = max(1, int(BLOCK / max(1.0, float(distinct.mean()))))
    return (slice(a, min(a + size, len(distinct))) for a in range(0, len(distinct), size))


def _place(
    folder: Path,
    cursor: NDArray[np.int64],
    found: NDArray[np.int32],
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """Writes postings, which come by chunk, behind those that each word has; moves ``cursor``."""
    order = np.argsort(found, kind="stable")
    ordered = found[order]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    places = cursor[ordered] + rank
    for name, values in (("indices", rows), ("data", scores)):
        whole = np.lib.format.open_memmap(folder / f"{name}.npy", "r+")
        whole[places] = values[order]
        whole.flush()
    np.add.at(cursor, ordered, 1)


def _idf(seen: Any, num_chunks: int) -> Any:
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

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """BM25 score of every chunk, float32 [chunks], for the ``words`` of a question."""
        found = np.zeros(self.num_chunks, dtype=np.float32)
        for word in query:
            part = self._postings(word)
            # A word's chunks are distinct, so plain += is right and faster than np.add.at.
            found[self._indices[part]] += self._data[part]
        return found

    def idf(self, word: str) -> float:
        """Inverse document frequency over chunks (Lucene's form); unseen words get the maximum."""
        part = self._postings(known[0]) if (known := words(word)) else slice(0, 0)
        return float(_idf(part.stop - part.start, self.num_chunks))

    def _postings(self, word: str) -> slice:
        i = self._vocab.get(word)
        return slice(0, 0) if i is None else slice(*self._indptr[[i, i + 1]].tolist())
