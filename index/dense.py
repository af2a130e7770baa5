"""Nearest keys of chunks; knows vectors and numbers, nothing of text.

The keys themselves are kept on disk (``keys.npy``, float16), so that the distance of any chunk is
exact, whatever ``VectorStore`` found it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.arrays import Array, in_blocks, rows_in_blocks

Keys = NDArray[np.float32]
Stored = NDArray[np.float16]
Ids = NDArray[np.int64]

EXACT = 100_000
"""Up to so many keys are searched exactly."""
RECALL = 0.95
"""Share of the ten nearest keys that a store with inverted lists must find."""
SAMPLE = 1000
PROBED = 256
"""Keys that stand as questions when the number of lists to visit is chosen."""
BLOCK = 1 << 12
"""Keys that are float32 at a time, beside what FAISS keeps."""


class VectorStore(Protocol):
    """Finds the nearest keys of a database: a FAISS file (``index.faiss_store``) or a Milvus
    server (``index.milvus_store``)."""

    def search(self, queries: Keys, depth: int) -> Ids:
        """Chunk ids of the nearest keys, best first, int64 [n, depth]; -1 where there are none."""
        ...


class DenseIndex:
    """A store of keys, and the keys [chunks, dim] mapped from disk."""

    def __init__(self, keys: Stored, store: VectorStore) -> None:
        self._keys, self._store = keys, store

    def search(self, queries: Keys, depth: int) -> Ids:
        """Chunk ids of the nearest keys, best first, int64 [n, depth]; -1 where there are none."""
        return self._store.search(queries, min(depth, len(self._keys)))

    def cosines(self, query: Keys, chunk_ids: NDArray[np.int64]) -> Keys:
        """Exact cosine of one query [dim] to the keys of some chunks, float32 [n]."""
        cosines: Keys = self._keys[chunk_ids].astype(np.float32) @ query
        return cosines


def fewest_probes(
    search: Callable[[Keys, int, int], Ids], keys: Stored, most: int
) -> tuple[int, float]:
    """Inverted lists to visit for a question, and the recall@10 that this gives.

    The smallest power of two with recall ``RECALL``, measured on keys of the database against
    exact search, each key itself left out. ``search(queries, depth, probes)``; ``most``: lists
    that there are.
    """
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(len(keys), min(PROBED, len(keys)), replace=False))
    queries = chosen(keys, rows)
    nearest = _nearest(keys, rows, queries, 10)
    count = 1
    while True:
        found = search(queries, 11, count)
        shared = [np.isin(a, b).mean() for a, b in zip(nearest, found, strict=True)]
        recall = float(np.mean(shared))
        if recall >= RECALL or count >= most:
            return count, recall
        count = min(2 * count, most)


def _nearest(keys: Stored, rows: Ids, queries: Keys, count: int) -> Ids:
    """Exact nearest keys of ``queries``, the keys ``rows``, themselves left out,
    int64 [rows, <= count]."""
    import faiss

    cosines = np.empty((len(rows), 0), dtype=np.float32)
    ids = np.empty((len(rows), 0), dtype=np.int64)
    for start, stored in numbered_blocks(keys):
        block = stored.astype(np.float32)
        depth = min(count + 1, len(block))
        near, places = faiss.knn(queries, block, depth, metric=faiss.METRIC_INNER_PRODUCT)
        near[places + start == rows[:, None]] = -np.inf
        cosines, ids = np.hstack([cosines, near]), np.hstack([ids, places + start])
        best = np.argsort(-cosines, axis=1, kind="stable")[:, : count + 1]
        cosines, ids = np.take_along_axis(cosines, best, 1), np.take_along_axis(ids, best, 1)
    return ids[:, : min(count, len(keys) - 1)]


def own_distances(keys: Stored, document_rows: NDArray[np.int32]) -> NDArray[np.float64]:
    """21 quantiles of the distance from a chunk to the nearest one of another document.

    Of at most ``SAMPLE`` chunks, compared with all; empty where there is a single document.
    """
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(keys), min(SAMPLE, len(keys)), replace=False))
    queries, own = chosen(keys, rows), document_rows[rows]
    nearest = np.full(len(rows), -np.inf, dtype=np.float32)
    for start, block in numbered_blocks(keys):
        cosines = queries @ block.astype(np.float32).T
        cosines[own[:, None] == document_rows[start : start + len(block)]] = -np.inf
        np.maximum(nearest, cosines.max(axis=1), out=nearest)
    nearest = nearest[np.isfinite(nearest)]
    levels = np.linspace(0, 1, 21)
    return np.quantile(np.maximum(1.0 - nearest, 0.0), levels) if len(nearest) else np.empty(0)


def chosen(keys: Stored, rows: Ids) -> Keys:
    """Some keys, their rows given in order, float32 [rows, dim]."""
    parts = [part.astype(np.float32) for part in rows_in_blocks(keys, rows, BLOCK)]
    return np.concatenate(parts)


def numbered_blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Blocks of rows, each with the number of its first one."""
    return zip(range(0, len(array), BLOCK), in_blocks(array, BLOCK), strict=True)
