"""Keys in a FAISS file: chosen by size, trained, opened without being read; no text, no chunks."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from index.dense import BLOCK, EXACT, Ids, Keys, Stored, fewest_probes
from index.errors import UserError
from index.faiss_build import write_faiss
from index.gpu import num_gpus, to_gpu

_LOG = logging.getLogger(__name__)

FILE = "faiss.index"
TRIED = 10_000
"""Keys on which a type that someone asks for is tried: enough to train any code."""
AT_A_TIME = 4
"""Questions searched before the file is mapped anew, when a build measures."""
READ = 8 << 20
"""Bytes of inverted lists read before that."""
POINTS_PER_CENTROID = 39
"""FAISS warns below this; a corpus too small for a type gets a smaller number of lists."""


def faiss_type(num_keys: int) -> str:
    """FAISS factory string by size: the keys' own float16 up to 100 k, which is exact and half as
    large as ``Flat``, then inverted lists of 8-bit codes."""
    if num_keys <= EXACT:
        return "SQfp16"
    most = 4096 if num_keys <= 1_000_000 else 65_536 if num_keys <= 10_000_000 else 262_144
    lists = min(most, num_keys // POINTS_PER_CENTROID)
    return f"IVF{lists},SQ8" if num_keys <= 1_000_000 else f"IVF{lists}_HNSW32,SQ8"


def fitted(kind: str, num_keys: int) -> str:
    """A factory string with no more inverted lists than so many keys can train."""
    most = max(1, num_keys // POINTS_PER_CENTROID)
    return re.sub(r"(?<=IVF)\d+", lambda lists: str(min(int(lists[0]), most)), kind)


def check_type(kind: str, dim: int) -> None:
    """Tries a factory string on ``TRIED`` random keys, before any work is done for it.

    Raises:
        UserError: FAISS knows no such type, or cannot leave out removed chunks with it.
    """
    keys = np.random.default_rng(0).standard_normal((TRIED, dim), dtype=np.float32)
    try:
        with TemporaryDirectory() as folder:
            file = Path(folder) / FILE
            write_faiss(file, keys.astype(np.float16), fitted(kind, TRIED), Path(folder))
            FaissStore.open(file, keys.shape, 1, np.arange(2)).search(keys[:1], 8)
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"--faiss-type {kind}: FAISS cannot use it here ({reason}); give a factory string such "
            "as IVF4096,SQ8 or leave it out"
        ) from error


def _is_exact(faiss_index: Any) -> bool:
    """Whether it holds keys as they are."""
    import faiss

    half = faiss.ScalarQuantizer.QT_fp16
    coded = isinstance(faiss_index, faiss.IndexScalarQuantizer)
    return isinstance(faiss_index, faiss.IndexFlat) or (coded and faiss_index.sq.qtype == half)


def _on_gpu(faiss_index: Any) -> Any:
    """A copy on a GPU if there is one; of exact keys a flat one, the kind that can be there."""
    import faiss

    if num_gpus() and _is_exact(faiss_index) and not isinstance(faiss_index, faiss.IndexFlat):
        flat = faiss.IndexFlatIP(faiss_index.d)
        flat.add(faiss_index.reconstruct_n(0, faiss_index.ntotal))
        faiss_index = flat
    return to_gpu(faiss_index)


def num_probes(opened: Callable[[], Any], keys: Stored) -> tuple[int, float]:
    """``fewest_probes`` of a FAISS index; 0 and its recall for a type without inverted lists.

    ``opened`` gives the index, mapped anew every few questions: pages of it that were read do not
    add up to its size.
    """
    import faiss

    if _is_exact(faiss_index := opened()):
        return 0, 1.0
    ivf = faiss.try_extract_index_ivf(faiss_index)

    def search(queries: Keys, depth: int, probes: int) -> Ids:
        parts = [queries[start : start + AT_A_TIME] for start in range(0, len(queries), AT_A_TIME)]
        return np.concatenate([_searched(opened, part, depth, probes) for part in parts])

    if ivf is None:
        return 0, fewest_probes(search, keys, 1)[1]
    return fewest_probes(search, keys, ivf.nlist)


def _searched(opened: Callable[[], Any], queries: Keys, depth: int, probes: int) -> Ids:
    """What a search finds that visits ``probes`` lists, of which some ``READ`` bytes are read at a
    time; at once behind a transform, or where distances depend on all lists."""
    import faiss

    visit(faiss_index := opened(), probes)
    plain = isinstance(faiss_index, faiss.IndexIVF)
    if not plain or isinstance(faiss_index, faiss.IndexIVFFastScan):
        ids: Ids = faiss_index.search(queries, depth)[1]
        return ids
    near, lists = faiss_index.quantizer.search(queries, probes)
    per_list = faiss_index.ntotal / faiss_index.nlist * (faiss_index.code_size + 8)
    size = max(1, int(READ / len(queries) / per_list))
    found = []
    for start in range(0, probes, size):
        part = slice(start, start + size)
        visit(faiss_index := opened(), lists[:, part].shape[1])
        found.append(faiss_index.search_preassigned(queries, depth, lists[:, part], near[:, part]))
    scores, places = (np.hstack(columns) for columns in zip(*found, strict=True))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return np.take_along_axis(places, best, axis=1)


def visit(faiss_index: Any, count: int) -> None:
    """Makes every later search visit ``count`` inverted lists, if there are any."""
    import faiss

    if count and (ivf := faiss.try_extract_index_ivf(faiss_index)) is not None:
        ivf.nprobe = count
        quantizer = faiss.downcast_index(ivf.quantizer)
        if isinstance(quantizer, faiss.IndexHNSW):
            quantizer.hnsw.efSearch = max(16, 2 * count)


class FaissStore:
    """The nearest keys by a FAISS index, of which chunks in ``hidden`` are never found.

    ``probes``: inverted lists visited for a question, 0 where there are none.
    """

    def __init__(self, faiss_index: Any, probes: int, hidden: Ids | None = None) -> None:
        import faiss

        self._faiss, self.probes = faiss_index, probes
        self._parameters: Any = None
        visit(faiss_index, probes)
        if hidden is not None and len(hidden):
            shown = np.ones(faiss_index.ntotal, dtype=bool)
            shown[hidden] = False
            bitmap: Any = faiss.IDSelectorBitmap
            kept = bitmap(np.packbits(shown, bitorder="little"))
            inverted = faiss.try_extract_index_ivf(faiss_index) is not None
            kind: Any = faiss.SearchParametersIVF if inverted else faiss.SearchParameters
            self._parameters = kind(sel=kept, **({"nprobe": probes} if inverted else {}))
            if isinstance(faiss_index, faiss.IndexPreTransform):
                self._parameters = faiss.SearchParametersPreTransform(
                    index_params=self._parameters  # type: ignore[call-arg]
                )

    @classmethod
    def write(
        cls, file: Path, keys: Stored, kind: str, scratch: Path | None = None
    ) -> tuple[FaissStore, float]:
        """Trains and writes an index of all keys; the store, and its recall@10.

        ``scratch``: as ``write_faiss`` has it; default: beside the file.

        Raises:
            OSError: the disk is full.
            RuntimeError: FAISS cannot make such an index of so many keys.
        """
        write_faiss(file, keys, kind, scratch or file.parent)
        probes, recall = num_probes(lambda: _mapped(file), keys)
        return cls(_mapped(file), probes), recall

    @classmethod
    def open(
        cls, file: Path, shape: tuple[int, int], probes: int, hidden: Ids | None = None
    ) -> FaissStore:
        """Maps a file, or copies it to a GPU if there is one; ``shape`` is that of the keys
        [chunks, dim], ``probes`` what ``num_probes`` chose for them.

        Raises:
            ValueError: the file holds other keys.
        """
        faiss_index = _mapped(file)
        if (found := (faiss_index.ntotal, faiss_index.d)) != shape:
            raise ValueError(f"keys of {found}, not {shape}")
        store = cls(faiss_index, probes, hidden)
        if store._parameters is None:
            store._faiss = _on_gpu(faiss_index)
        elif num_gpus():
            _LOG.warning("search stays on the CPU: a GPU's would find hidden and removed chunks")
        return store

    @classmethod
    def of_few(cls, keys: Stored, shown: Ids) -> FaissStore:
        """An exact index, in memory, of some of the keys: 77 MB for ``EXACT`` of 384 numbers."""
        import faiss

        faiss_index = faiss.index_factory(keys.shape[1], "IDMap,SQfp16", faiss.METRIC_INNER_PRODUCT)
        for start in range(0, len(shown), BLOCK):
            ids = shown[start : start + BLOCK]
            faiss_index.add_with_ids(keys[ids].astype(np.float32), ids)
        return cls(faiss_index, 0)

    def search(self, queries: Keys, depth: int) -> Ids:
        """Chunk ids of the nearest keys, best first, int64 [n, depth]; -1 where there are none."""
        with _one_thread() if len(queries) == 1 else nullcontext():
            ids: Ids = self._faiss.search(queries, depth, params=self._parameters)[1]
        return ids


def _mapped(file: Path) -> Any:
    import faiss

    return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)


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
