"""Keys of chunks in FAISS; knows vectors and numbers, nothing of text.

The keys themselves are kept beside the FAISS index (``keys.npy``, float16), so that the distance
of any chunk is exact whatever FAISS type found it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import mapped

Keys = NDArray[np.float32]
NUM_PROBES = 64
"""Lists visited for a question: recall@10 .966 of 4096 lists over a million MiniLM keys."""
SAMPLE = 1000
BLOCK = 1 << 12
"""Keys that are float32 at a time, beside what FAISS keeps."""
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
    for start in range(0, len(keys), BLOCK):
        faiss_index.add(keys[start : start + BLOCK].astype(np.float32))
    return faiss_index


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
    """Nearest keys by cosine, from a FAISS file and the keys mapped from disk.

    ``shape`` is that of the keys [chunks, dim]; the chunks in ``removed`` are never found.

    Raises:
        ValueError: the files hold something else.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, int], removed: NDArray[np.int64] | None = None
    ) -> None:
        import faiss

        self._keys = mapped(folder / "keys.npy")
        self._faiss = faiss.read_index(str(folder / "faiss.index"))
        found = (self._keys.shape, (self._faiss.ntotal, self._faiss.d))
        if found != (shape, shape) or self._keys.dtype != np.float16:
            raise ValueError(f"keys of {found}, not {shape}")
        self._parameters: Any = None
        ivf = faiss.try_extract_index_ivf(self._faiss)
        if ivf is not None:
            ivf.nprobe = NUM_PROBES
            quantizer = faiss.downcast_index(ivf.quantizer)
            if isinstance(quantizer, faiss.IndexHNSW):
                quantizer.hnsw.efSearch = 2 * NUM_PROBES
        if removed is not None and len(removed):
            kept = faiss.IDSelectorNot(faiss.IDSelectorBatch(removed))
            kind: Any = faiss.SearchParameters if ivf is None else faiss.SearchParametersIVF
            self._parameters = kind(sel=kept, **({} if ivf is None else {"nprobe": NUM_PROBES}))

    def search(self, queries: Keys, depth: int) -> NDArray[np.int64]:
        """Chunk ids of the nearest keys, best first, int64 [n, depth]; -1 where there are none."""
        depth = min(depth, len(self._keys))
        ids: NDArray[np.int64] = self._faiss.search(queries, depth, params=self._parameters)[1]
        return ids

    def cosines(self, query: Keys, chunk_ids: NDArray[np.int64]) -> Keys:
        """Exact cosine of one query [dim] to the keys of some chunks, float32 [n]."""
        cosines: Keys = self._keys[chunk_ids].astype(np.float32) @ query
        return cosines
