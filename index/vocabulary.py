"""How common words are among the chunks that count: a database without those that are hidden."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.lexical import LexicalIndex, idf, main_word, words

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """The words of an index as they stand in its chunks; those in ``hidden`` (int64, ascending,
    distinct) count as absent: removed documents, and those that a search was not to find."""

    lexical: LexicalIndex
    hidden: Ids
    _counts: dict[str, int] = field(default_factory=dict, repr=False)

    def without(self, absent: Ids) -> Vocabulary:
        """The same without some more chunks, in any order."""
        return Vocabulary(self.lexical, np.union1d(self.hidden, absent)) if len(absent) else self

    def idf(self, word: str) -> float:
        """Inverse document frequency over chunks (Lucene's form); unseen words get the maximum."""
        return self._idf(main_word(word))

    def scores(self, text: str) -> NDArray[np.float32]:
        """BM25 score of every chunk, float32 [chunks], hidden or not, for a question. Words are as
        rare as among the chunks that count; a chunk's length is measured by all."""
        return self.lexical.scores(words(text), self._rarer if len(self.hidden) else None)

    def _idf(self, stem: str) -> float:
        return float(idf(self.count(stem), self.lexical.num_chunks - len(self.hidden)))

    def _rarer(self, stem: str) -> float:
        return self._idf(stem) / float(idf(self.lexical.count(stem), self.lexical.num_chunks))

    def count(self, stem: str) -> int:
        """How many chunks hold one of the ``words``."""
        if not len(self.hidden):
            return self.lexical.count(stem)
        if stem not in self._counts:
            found = self.lexical.chunks(stem)
            if not len(found):
                return 0  # not kept: what stands nowhere has no end
            self._counts[stem] = len(found) - _num_shared(found, self.hidden)
        return self._counts[stem]

    def chunks(self, stem: str) -> Ids:
        """The chunks that hold one of the ``words``, ascending; none if none does."""
        found = self.lexical.chunks(stem)
        return np.setdiff1d(found, self.hidden) if len(self.hidden) else found.astype(np.int64)


def _num_shared(some: NDArray[np.integer], others: NDArray[np.integer]) -> int:
    """How many numbers two ascending lists without repetitions share."""
    few, many = (some, others) if len(some) < len(others) else (others, some)
    at = np.minimum(np.searchsorted(many, few.astype(many.dtype)), len(many) - 1)
    return int(np.count_nonzero(many[at] == few))
