"""Keys of chunks in FAISS; knows vectors and numbers, nothing of text.

The keys themselves are kept beside the FAISS index (``keys.npy``, float16), so that the distance
of any chunk is exact whatever FAISS type found it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import mapped

Keys = NDArray[np.float32]
RECALL = 0.95
"""Share of the ten nearest keys that inverted lists must find (``num_probes``)."""
SAMPLE = 1000
PROBED = 256
"""Keys that stand as questions when the number of lists to visit is chosen."""
POINTS_PER_CENTROID = 39
"""FAISS warns below this; a corpus too small for a type gets a smaller number of lists."""


def faiss_type(num_keys: int) -> str:
    """FAISS factory string by size: exact up to 100 k, then inverted lists of 8-bit codes."""
    if num_keys <= 100_000:
        return "Flat"
    most = 4096 if num_keys <= 1_000_000 else 65_536 if num_keys <= 10_000_000 else 262_144
    lists = min(most, num_keys // POINTS_PER_CENTROID)
    return f"IVF{lists},SQ8" if num_keys <= 1_000_000 else f"IVF{lists}_HNSW32,SQ8"


def build_faiss(keys: NDArray[np.float16], kind: str) -> Any:
    """A FAISS inner-product index of ``keys`` [n, dim], trained on a seeded sample of them."""
    import faiss

    faiss_index = faiss.index_factory(keys.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if not faiss_index.is_trained:
        lists = faiss.extract_index_ivf(faiss_index).nlist
        count = min(len(keys), lists * 64)
        rows = np.sort(np.random.default_rng(0).choice(len(keys), count, replace=False))
        faiss_index.train(keys[rows].astype(np.float32))
    for start in range(0, len(keys), 1 << 16):
        faiss_index.add(keys[start : start + (1 << 16)].astype(np.float32))
    return faiss_index


def num_probes(faiss_index: Any, keys: NDArray[np.float16]) -> tuple[int, float]:
    """Inverted lists to visit for a question, and the recall@10 that this gives.

    The smallest power of two with recall ``RECALL``, measured on keys of the database against
    exact search, each key itself left out. (0, 1.0) for a type without inverted lists.
    """
    import faiss

    ivf = faiss.try_extract_index_ivf(faiss_index)
    if ivf is None:
        return 0, 1.0
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(len(keys), min(PROBED, len(keys)), replace=False))
    queries, nearest = keys[rows].astype(np.float32), _nearest(keys, rows, 10)
    count, recall = 1, 0.0
    while True:
        visit(faiss_index, count)
        found = faiss_index.search(queries, 11)[1]
        recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(nearest, found, strict=True)]))
        if recall >= RECALL or count >= ivf.nlist:
            return count, recall
        count = min(2 * count, ivf.nlist)


def visit(faiss_index: Any, count: int) -> None:
    """Makes every later search visit ``count`` inverted lists, if there are any."""
    import faiss

    if count and (ivf := faiss.try_extract_index_ivf(faiss_index)) is not None:
        ivf.nprobe = count
        quantizer = faiss.downcast_index(ivf.quantizer)
        if isinstance(quantizer, faiss.IndexHNSW):
            quantizer.hnsw.efSearch = max(16, 2 * count)


def _nearest(keys: NDArray[np.float16], rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Exact nearest keys of the keys ``rows``, themselves left out, int64 [rows, <= count]."""
    import faiss

    queries = keys[rows].astype(np.float32)
    cosines = np.empty((len(rows), 0), dtype=np.float32)
    ids = np.empty((len(rows), 0), dtype=np.int64)
    for start in range(0, len(keys), 1 << 16):
        block = keys[start : start + (1 << 16)].astype(np.float32)
        depth = min(count + 1, len(block))
        near, places = faiss.knn(queries, block, depth, metric=faiss.METRIC_INNER_PRODUCT)
        near[places + start == rows[:, None]] = -np.inf
        cosines, ids = np.hstack([cosines, near]), np.hstack([ids, places + start])
        best = np.argsort(-cosines, axis=1, kind="stable")[:, : count + 1]
        cosines, ids = np.take_along_axis(cosines, best, 1), np.take_along_axis(ids, best, 1)
    return ids[:, : min(count, len(keys) - 1)]


def own_distances(
    faiss_index: Any, keys: NDArray[np.float16], document_rows: NDArray[np.int32]
) -> NDArray[np.float64]:
    """21 quantiles of the distance from a chunk to the nearest one of another document.

    Of at most ``SAMPLE`` chunks; empty where there is a single document.
    """
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(keys), min(SAMPLE, len(keys)), replace=False))
    cosines, found = faiss_index.search(keys[rows].astype(np.float32), min(256, len(keys)))
    other = (found >= 0) & (document_rows[found] != document_rows[rows, None])
    nearest = np.where(other, cosines, -np.inf).max(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    levels = np.linspace(0, 1, 21)
    return np.quantile(np.maximum(1.0 - nearest, 0.0), levels) if len(nearest) else np.empty(0)


class DenseIndex:
    """Nearest keys by cosine, from a FAISS file and the keys, both mapped from disk.

    ``shape`` is that of the keys [chunks, dim]; ``probes``: what ``num_probes`` chose when the
    index was built; the chunks in ``removed`` are never found.

    Raises:
        ValueError: the files hold something else.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int],
        probes: int,
        removed: NDArray[np.int64] | None = None,
    ) -> None:
        import faiss

        self._keys = mapped(folder / "keys.npy")
        self._faiss = faiss.read_index(str(folder / "faiss.index"), faiss.IO_FLAG_MMAP_IFC)
        found = (self._keys.shape, self._keys.dtype, self._faiss.ntotal, self._faiss.d)
        if found != (shape, np.float16, *shape):
            raise ValueError(f"keys of {found}, not {shape}")
        visit(self._faiss, probes)
        self._parameters = None
        if removed is not None and len(removed):
            kept = faiss.IDSelectorNot(faiss.IDSelectorBatch(removed))
            inverted = faiss.try_extract_index_ivf(self._faiss) is not None
            self._parameters = (
                faiss.SearchParametersIVF(sel=kept, nprobe=probes)
                if inverted
                else faiss.SearchParameters(sel=kept)
            )

    def search(self, queries: Keys, depth: int) -> NDArray[np.int64]:
        """Chunk ids of the nearest keys, best first, int64 [n, depth]; -1 where there are none."""
        depth = min(depth, len(self._keys))
        with _one_thread() if len(queries) == 1 else nullcontext():
            ids: NDArray[np.int64] = self._faiss.search(queries, depth, params=self._parameters)[1]
        return ids

    def cosines(self, query: Keys, chunk_ids: NDArray[np.int64]) -> Keys:
        """Exact cosine of one query [dim] to the keys of some chunks, float32 [n]."""
        cosines: Keys = self._keys[chunk_ids].astype(np.float32) @ query
        return cosines


@contextmanager
def _one_thread() -> Iterator[None]:
    """One OpenMP thread: starting more for a single question costs more than they save."""
    import faiss

    num = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(num)
