"""BM25 over chunks; knows words, nothing of vectors, tokens or documents."""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bm25s import BM25

K1, B = 0.9, 0.4
"""Chunks are of one length nearly, so length is normalised little (measured on SQuAD train)."""
STOPWORDS = frozenset(
    "a an and are as at be been but by did do does for from had has have how if in into is it no "
    "not of on or such that the their then there these they this to was were what when where "
    "which who whom whose why will with".split()
)
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


class LexicalIndex:
    """BM25 scores of chunks for a question, from a ``bm25s`` index mapped from disk."""

    def __init__(self, bm25: BM25) -> None:
        self._bm25 = bm25
        self._vocab: dict[str, int] = bm25.vocab_dict
        self.num_chunks = int(bm25.scores["num_docs"])

    @classmethod
    def build(cls, texts: Iterable[str]) -> LexicalIndex:
        """Indexes the texts, one a chunk, in order."""
        import bm25s

        vocab: dict[str, int] = {}
        ids = [[vocab.setdefault(w, len(vocab)) for w in words(text)] for text in texts]
        if not vocab:  # bm25s divides by the mean length, so every text gets one silent word
            vocab, ids = {"": 0}, [[0] for _ in ids]
        bm25 = bm25s.BM25(k1=K1, b=B, method="lucene")
        bm25.index((ids, vocab), show_progress=False, create_empty_token=False)
        return cls(bm25)

    @classmethod
    def open(cls, folder: Path) -> LexicalIndex:
        import bm25s

        return cls(bm25s.BM25.load(folder, mmap=True, show_progress=False))

    def save(self, folder: Path) -> None:
        self._bm25.save(folder, show_progress=False)

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """BM25 score of every chunk, float32 [chunks], for the ``words`` of a question."""
        ids = [self._vocab[w] for w in query if w in self._vocab]
        indptr, found = self._bm25.scores["indptr"], np.zeros(self.num_chunks, dtype=np.float32)
        for i in ids:
            part = slice(int(indptr[i]), int(indptr[i + 1]))
            # A word's chunks are distinct, so plain += is right and faster than np.add.at.
            found[self._bm25.scores["indices"][part]] += self._bm25.scores["data"][part]
        return found

    def idf(self, word: str) -> float:
        """Inverse document frequency over chunks (Lucene's form); unseen words get the maximum."""
        seen = 0
        if (known := words(word)) and (i := self._vocab.get(known[0])) is not None:
            indptr = self._bm25.scores["indptr"]
            seen = int(indptr[i + 1] - indptr[i])
        return math.log(1 + (self.num_chunks - seen + 0.5) / (seen + 0.5))
