"""Searches an index: dense and lexical candidates, fused; knows no decoder and no answers.

Legend: n questions, d candidates of each kind, k neighbours of one question.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import mapped
from index.dense import EXACT, DenseIndex, Keys, VectorStore
from index.errors import UserError
from index.faiss_store import FILE, FaissStore
from index.fusion import LEXICAL_WEIGHT, Scored, best_places
from index.keys import KeyEncoder, open_encoder
from index.lexical import LexicalIndex
from index.manifest import Manifest, damaged
from index.milvus_store import MilvusStore
from index.recipe import Recipe
from index.spelling import IsWord, Speller, Spelling
from index.store import TABLE, TokenStore
from index.vocabulary import Ids, Vocabulary
from index.where import EVERYWHERE, Where

DEPTH = 100
"""Candidates taken from each of the two searches before they are fused."""
QUERY_BLOCK = 512
NO_CHUNKS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of one question, best first; k may be smaller than asked.

    Every neighbour is a window [N, F]: a chunk and its continuation in the same section.
    """

    chunk_ids: Ids
    """int64 [k]"""
    doc_ids: tuple[str, ...]
    titles: tuple[str, ...]
    """The documents' titles, with the headings of the window's section."""
    trusts: tuple[str, ...]
    """The documents' trust labels, empty where they have none."""
    texts: tuple[str, ...]
    """The document's own text of the window."""
    starts: Ids
    """int64 [k]: the window's first character in its document."""
    ends: Ids
    tokens: tuple[NDArray[Any], ...]
    """Decoder ids of the window, [<= 2 * chunk_size] each."""
    offsets: tuple[Ids, ...]
    """Characters *in the document* of each of those tokens, int64 [<= 2 * chunk_size, 2] each."""
    distances: Keys
    """float32 [k]: 1 - cosine to the question, whichever search found the neighbour."""
    lexical: Keys
    """float32 [k]: BM25 score, 0 where no word is shared."""
    scores: Keys
    """float32 [k]: the fused score that orders them, higher is better."""
    dense_top: Keys
    """float32 [<= k]: the smallest distances of all, ascending, whatever was fused."""
    lexical_top: Keys
    """float32 [<= k]: the highest BM25 scores of all, descending, whatever was fused."""
    dense_rank: NDArray[np.int32]
    """int32 [k]: place in the dense list from 0; -1 where the neighbour is not in it."""
    lexical_rank: NDArray[np.int32]
    pages: tuple[tuple[int, ...], ...] = ()
    """Where the pages of their documents begin; none where these have none."""
    searched: bool = True
    """Whether they were looked for in the database; False where they were given."""
    absent: Ids = field(default_factory=NO_CHUNKS.copy)
    """int64 [a]: chunks that this search was not to find."""

    def __len__(self) -> int:
        return len(self.chunk_ids)

    def page_of(self, place: int, character: int) -> int:
        """The number of the page of the document of one that a character of it is on, from 1; 0
        where it has none."""
        return bisect_right(self.pages[place], character) if self.pages else 0

    def select(self, places: Sequence[int]) -> Neighbours:
        """Some of them, by their places; of all that was searched as many are the nearest."""
        here = list(places)
        listed = ("doc_ids", "titles", "trusts", "texts", "tokens", "offsets")
        arrays = ("chunk_ids", "starts", "ends", "distances", "lexical", "scores")
        picked: dict[str, Any] = {n: tuple(getattr(self, n)[i] for i in here) for n in listed}
        picked["pages"] = tuple(self.pages[i] for i in here if i < len(self.pages))
        picked |= {n: getattr(self, n)[here] for n in (*arrays, "dense_rank", "lexical_rank")}
        picked |= {n: getattr(self, n)[: len(here)] for n in ("dense_top", "lexical_top")}
        return replace(self, **picked)


class Retriever:
    """An open index. ``open`` is the way in; everything is mapped, little is read.

    It keeps the version that it opened, whatever is written to the folder afterwards.
    Only documents that ``where`` allows are found. ``lexical_weight``: how much BM25 counts beside
    the cosine (``index.fusion``).
    """

    def __init__(
        self, folder: Path, manifest: Manifest, encoder: KeyEncoder, where: Where = EVERYWHERE
    ) -> None:
        files = folder / manifest.version
        self.folder = folder
        self.manifest = manifest
        self.encoder = encoder
        self.lexical_weight = LEXICAL_WEIGHT
        self.where = where
        self.store = TokenStore(files, manifest.removed)
        self._hidden = self._chunks(self._hidden_rows())
        self._dense = _open_dense(files, manifest, len(self.store), self._hidden)
        lexical = LexicalIndex(files / "bm25", len(self.store))
        self._vocabulary = Vocabulary(lexical, np.unique(self._hidden))

    @classmethod
    def open(
        cls, folder: Path, encoder: KeyEncoder | None = None, where: Where = EVERYWHERE
    ) -> Retriever:
        """Opens an index with the encoder that built it, or with one that gives the same keys.

        Raises:
            UserError: there is no index, a file is missing or damaged as far as that can be seen
                without reading all, the encoder is another one than the keys were made with, or
                no document is where it may be.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        encoder = encoder or open_encoder(manifest.embedder)
        while True:
            Recipe.used(manifest).check_encoder(encoder, folder)
            try:
                manifest.check_sizes(folder)
                manifest.check_small(folder)
                return cls(folder, manifest, encoder, where)
            except Exception as error:  # numpy and FAISS raise a dozen kinds on damaged files
                current = Manifest.read(folder)
                if current.version == manifest.version:
                    if isinstance(error, UserError):
                        raise
                    what = f"cannot be opened ({' '.join(str(error).split())[:200]})"
                    raise UserError(damaged(folder, what)) from error
                manifest = current  # it was replaced between two steps

    def search(self, text: str, k: int = 8, exclude: Collection[str] = ()) -> Neighbours:
        """The ``k`` best neighbours of a question; documents in ``exclude`` count as absent."""
        return self.search_batch([text], k, [exclude])[0]

    def search_batch(
        self,
        texts: Sequence[str],
        k: int = 8,
        exclude: Sequence[Collection[str]] | None = None,
    ) -> list[Neighbours]:
        """Neighbours of many questions at once, in their order; ``exclude`` is one per question."""
        exclude = exclude if exclude is not None else [()] * len(texts)
        if len(exclude) != len(texts):
            raise ValueError(f"{len(exclude)} exclusions for {len(texts)} questions")
        found: list[Neighbours] = []
        for start in range(0, len(texts), QUERY_BLOCK):
            block = slice(start, start + QUERY_BLOCK)
            found += self._search_block(texts[block], k, exclude[block])
        return found

    def document_neighbours(self, doc_id: str, text: str) -> Neighbours:
        """All windows of one document as the neighbours of a question, best first.

        Raises:
            KeyError: the index has no such document.
        """
        chunk_ids = np.asarray(self.store.chunks_of(self.store.rows[doc_id]), dtype=np.int64)
        key = self.encoder.encode([text])[0]
        lexical = self._bm25(text)
        by_cosine = chunk_ids[np.argsort(-self._dense.cosines(key, chunk_ids), kind="stable")]
        by_bm25 = chunk_ids[best_places(lexical[chunk_ids], len(chunk_ids))]
        scored = self._score(chunk_ids, by_cosine, by_bm25, key, lexical)
        return replace(self._neighbours(scored, scored.order()), searched=False)

    def vocabulary(self, absent: Ids = NO_CHUNKS) -> Vocabulary:
        """The words of the database, some chunks set aside."""
        return self._vocabulary.without(absent)

    def spelling(self, text: str, is_word: IsWord, absent: Ids = NO_CHUNKS) -> Spelling:
        """What a question's words that stand in no document may have meant, and names in it of
        which none has heard (``index.spelling``)."""
        return Speller(self.vocabulary(absent), self.store.titled).read(text, is_word)

    def _search_block(
        self, texts: Sequence[str], k: int, exclude: Sequence[Collection[str]]
    ) -> list[Neighbours]:
        keys = self.encoder.encode(texts)
        absent = [self._absent(documents) for documents in exclude]
        depth = max(DEPTH, 2 * k)
        # Absent chunks take places in the dense list; ask for as many more.
        dense = self._dense.search(keys, depth + max(map(len, absent)))
        rows = zip(texts, keys, dense, absent, strict=True)
        return [self._search_one(*row, depth, k) for row in rows]

    def _search_one(
        self, text: str, key: Keys, dense_ids: Ids, absent: Ids, depth: int, k: int
    ) -> Neighbours:
        lexical = self._bm25(text, absent)
        lexical[self._hidden] = lexical[absent] = 0
        dense_ids = dense_ids[(dense_ids >= 0) & ~np.isin(dense_ids, absent)][:depth]
        lexical_ids = best_places(lexical, depth)
        candidates = np.union1d(dense_ids, lexical_ids)
        scored = self._score(candidates, dense_ids, lexical_ids, key, lexical)
        return replace(self._neighbours(scored, self._distinct(scored, k), k), absent=absent)

    def _score(
        self, candidates: Ids, dense_ids: Ids, lexical_ids: Ids, key: Keys, lexical: Keys
    ) -> Scored:
        cosines, bm25 = self._dense.cosines(key, candidates), lexical[candidates]
        if not (np.isfinite(cosines).all() and np.isfinite(bm25).all()):
            raise UserError(damaged(self.folder, "keys or BM25 scores are no numbers"))
        return Scored.of(candidates, cosines, bm25, dense_ids, lexical_ids, self.lexical_weight)

    def _absent(self, doc_ids: Collection[str]) -> Ids:
        """Chunks of some documents, int64 [n]; unknown ids count for nothing."""
        return self._chunks(self.store.rows[d] for d in doc_ids if d in self.store.rows)

    def _hidden_rows(self) -> Iterable[int]:
        """Documents that are never found: the removed ones, and those elsewhere."""
        if not self.where:
            return self.manifest.removed
        self.manifest.check_file(self.folder, TABLE)
        allowed = self.where.rows(self.store.origins()) - self.store.removed
        if not allowed:
            raise UserError(
                f"{self.folder}: no document is there with {self.where}; what documents are from, "
                f"their trust and date tells: retro index export {self.folder} --out FILE.parquet"
            )
        return (row for row in range(self.store.num_documents) if row not in allowed)

    def _chunks(self, rows: Iterable[int]) -> Ids:
        ranges = (self.store.chunks_of(row) for row in rows)
        parts = [np.arange(r.start, r.stop, dtype=np.int64) for r in ranges]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    def _bm25(self, text: str, absent: Ids = NO_CHUNKS) -> Keys:
        """BM25 score of every chunk, float32 [chunks]."""
        try:
            return self.vocabulary(absent).scores(text)
        except IndexError as error:
            raise UserError(damaged(self.folder, "the BM25 index names unknown chunks")) from error

    def _distinct(self, scored: Scored, k: int) -> Ids:
        """The ``k`` best candidates of which none lies in the window of a better one, int64 [k]."""
        chosen: list[int] = []
        covered: set[int] = set()
        for place in scored.order():
            chunk = int(scored.chunk_ids[place])
            if chunk in covered:
                continue
            chosen.append(int(place))
            covered |= {chunk, self.store.continuation(chunk)}
            if len(chosen) == k:
                break
        return np.asarray(chosen, dtype=np.int64)

    def _neighbours(self, scored: Scored, order: Ids, k: int | None = None) -> Neighbours:
        chunk_ids = scored.chunk_ids[order]
        spans = (self.store.span(int(c)) for c in chunk_ids)
        placed = [(self.store.document(row), start, end) for row, start, end in spans]
        return Neighbours(
            chunk_ids=chunk_ids,
            doc_ids=tuple(d.id for d, _, _ in placed),
            titles=tuple(d.title_at(start) for d, start, _ in placed),
            trusts=tuple(d.trust for d, _, _ in placed),
            texts=tuple(d.text[start:end] for d, start, end in placed),
            starts=np.asarray([start for _, start, _ in placed], dtype=np.int64),
            ends=np.asarray([end for _, _, end in placed], dtype=np.int64),
            tokens=tuple(self.store.value(int(c)) for c in chunk_ids),
            offsets=tuple(self.store.offsets(int(c)) for c in chunk_ids),
            distances=1 - scored.cosines[order],
            lexical=scored.bm25[order],
            scores=scored.fused[order],
            dense_top=1 - np.sort(scored.cosines)[::-1][:k],
            lexical_top=np.sort(scored.bm25)[::-1][:k],
            dense_rank=scored.dense_rank[order],
            lexical_rank=scored.lexical_rank[order],
            pages=tuple(d.pages for d, _, _ in placed),
        )


def _open_dense(files: Path, manifest: Manifest, num_chunks: int, hidden: Ids) -> DenseIndex:
    """Raises ValueError when the files, or the server, hold other keys than the manifest says."""
    keys, shape = mapped(files / "keys.npy"), (num_chunks, manifest.dim)
    if keys.shape != shape or keys.dtype != np.float16:
        raise ValueError(f"keys of {keys.shape}, {keys.dtype}, not {shape}")
    store: VectorStore
    if len(keys) - len(hidden) <= EXACT < len(keys):
        store = FaissStore.of_few(keys, np.setdiff1d(np.arange(len(keys)), hidden))
    elif manifest.store:
        store = MilvusStore(manifest.store, manifest.version, manifest.num_probes, hidden)
        store.check(num_chunks)
    else:
        store = FaissStore.open(files / FILE, shape, manifest.num_probes, hidden)
    return DenseIndex(keys, store)
