"""Makes a FAISS file of keys in memory that does not grow with their number.

FAISS trains on float32 keys that it holds, and adds keys to an index that it holds. Here inverted
lists are trained on keys that stay on disk, and every code is written to its place in the file as
it is made: the file that FAISS would write, byte for byte. What FAISS lays out in another way
(graphs, refined codes), and what a GPU makes, is held whole.
"""

from __future__ import annotations

import os
import struct
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from index.arrays import Array, ArrayWriter, allocate, in_blocks, mapped, rows_in_blocks
from index.dense import BLOCK, Ids, Keys, Stored, chosen, numbered_blocks
from index.gpu import from_gpu, num_gpus, to_gpu

FEWEST_TRAINED = 16_384
"""Keys that codes are trained on."""
PER_LIST = 64
"""Keys that inverted lists are trained on, for each of them."""
TURNS = 10
"""Turns of k-means: as many as FAISS takes for inverted lists."""
TRIED = 64
"""Keys that show whether FAISS lays an index out as it is laid out here."""


def write_faiss(file: Path, keys: Stored, kind: str, scratch: Path) -> None:
    """Trains a FAISS inner-product index of ``keys`` [n, dim] on a seeded sample of them, and
    writes it; on a GPU if there is one, whose sums differ in their last bits.

    ``scratch``: a folder for files as large as the keys, which are gone at the end.

    Raises:
        OSError: the disk is full.
        RuntimeError: FAISS cannot make such an index of so many keys.
    """
    import faiss

    with TemporaryDirectory(dir=scratch) as folder:
        empty = _trained(keys, kind, Path(folder))
        if not num_gpus() and _is_laid_out_so(empty, keys[:TRIED], Path(folder)):
            _lay_out(file, empty, keys, Path(folder))
            return
    filled = _filled(empty, keys)
    with file.open("wb") as stream:  # FAISS's own writer hides why it failed, or that it did
        writer = faiss.PyCallbackIOWriter(stream.write)  # type: ignore[attr-defined]
        faiss.write_index(filled, writer)


def _trained(keys: Stored, kind: str, folder: Path) -> Any:
    import faiss

    faiss_index = faiss.index_factory(keys.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if faiss_index.is_trained:
        return faiss_index
    ivf = faiss.try_extract_index_ivf(faiss_index)
    count = min(len(keys), max(FEWEST_TRAINED, (ivf.nlist if ivf else 0) * PER_LIST))
    rows = np.sort(np.random.default_rng(0).choice(len(keys), count, replace=False))
    if ivf is not None and not isinstance(faiss_index, faiss.IndexPreTransform):
        ivf.quantizer.add(_centroids(keys, rows, ivf.nlist, folder))
        rows = rows[:: -(-count // FEWEST_TRAINED)]
    faiss_index.train(chosen(keys, rows))
    return faiss_index


def _centroids(keys: Stored, rows: Ids, lists: int, folder: Path) -> Keys:
    """Centroids [lists, dim] of some keys by k-means, of unit length as FAISS makes those of an
    inner product (spherical k-means; Dhillon & Modha 2001)."""
    with ArrayWriter(folder / "sample.npy", keys.dtype, keys.shape[1:]) as sample:
        for part in rows_in_blocks(keys, rows, BLOCK):
            sample.extend(part)
    keys_on_disk = _OnDisk(mapped(folder / "sample.npy"))
    with Path(os.devnull).open("w") as quiet, redirect_stdout(quiet):
        from faiss.contrib import clustering  # it says that it lacks SciPy, needed for sparse keys

        kmeans: Any = clustering.kmeans
        centroids: Keys = kmeans(lists, keys_on_disk, niter=TURNS, verbose=False)
    lens = np.linalg.norm(centroids, axis=1, keepdims=True)
    centroids /= np.maximum(lens, np.finfo(np.float32).tiny)
    return centroids


class _OnDisk:
    """What k-means asks of its points (``faiss.contrib.clustering.DatasetAssign``), which are
    read block by block."""

    def __init__(self, keys: Stored) -> None:
        import faiss

        self._keys = keys
        self._nearest = to_gpu(faiss.IndexFlatL2(keys.shape[1]))

    def count(self) -> int:
        return len(self._keys)

    def dim(self) -> int:
        return int(self._keys.shape[1])

    def get_subset(self, rows: Ids) -> Keys:
        return chosen(self._keys, np.sort(rows))

    def assign_to(self, centroids: Keys, weights: None = None) -> tuple[Ids, Keys, Keys]:
        """The nearest centroid of each point, its distance, and the sum of the points of each."""
        self._nearest.reset()
        self._nearest.add(centroids)
        sums = np.zeros_like(centroids)
        distances, lists = np.empty(self.count(), np.float32), np.empty(self.count(), np.int64)
        for start, stored in numbered_blocks(self._keys):
            block = stored.astype(np.float32)
            part = slice(start, start + len(block))
            found = self._nearest.search(block, 1)
            distances[part], lists[part] = found[0][:, 0], found[1][:, 0]
            order = np.argsort(lists[part], kind="stable")
            met, first = np.unique(lists[part][order], return_index=True)
            sums[met] += np.add.reduceat(block[order], first)
        return lists, distances, sums


def _filled(faiss_index: Any, keys: Stored) -> Any:
    """All keys added, in memory; to inverted lists on a GPU if there is one."""
    import faiss

    inverted = faiss.try_extract_index_ivf(faiss_index) is not None
    filled = to_gpu(faiss_index) if inverted else faiss_index
    for block in in_blocks(keys, BLOCK):
        filled.add(block.astype(np.float32))
    return filled if filled is faiss_index else from_gpu(filled)


def _is_laid_out_so(empty: Any, keys: Stored, folder: Path) -> bool:
    """Whether FAISS writes an index of a few keys as ``_lay_out`` does."""
    import faiss

    filled = faiss.clone_index(empty)
    filled.add(keys.astype(np.float32))
    try:
        _lay_out(folder / "few", faiss.clone_index(empty), keys, folder)
    except (_Unknown, RuntimeError):  # FAISS's own: such an index has no codes
        return False
    return (folder / "few").read_bytes() == faiss.serialize_index(filled).tobytes()


class _Unknown(Exception):
    """An index is laid out in another way."""


def _lay_out(file: Path, empty: Any, keys: Stored, folder: Path) -> None:
    """Writes the FAISS file of a trained index with all keys in it."""
    import faiss

    ivf = faiss.try_extract_index_ivf(empty)
    codes = _encode(empty, keys, folder / "codes.npy")
    for part in (empty, *([ivf] if ivf else [])):
        part.ntotal = len(keys)
    whole = faiss.serialize_index(empty).tobytes()
    tail = _no_lists(ivf) if ivf else struct.pack("<Q", 0)
    if not whole.endswith(tail):
        raise _Unknown
    with file.open("wb") as stream:
        stream.write(whole.removesuffix(tail))
        if ivf:
            _write_lists(stream, codes, ivf)
        else:
            stream.write(struct.pack("<Q", codes.size))
            stream.writelines(block.data for block in in_blocks(codes, BLOCK))


def _encode(empty: Any, keys: Stored, file: Path) -> Array:
    """Codes of all keys, uint8 [n, bytes], on disk; each begins with the number of its list."""
    with ArrayWriter(file, np.uint8, (empty.sa_code_size(),)) as codes:
        for block in in_blocks(keys, BLOCK):
            codes.extend(empty.sa_encode(block.astype(np.float32)))
    return mapped(file)


def _no_lists(ivf: Any) -> bytes:
    """How FAISS writes inverted lists (``ArrayInvertedLists``) without keys."""
    return b"ilar" + struct.pack("<QQ4sQ", ivf.nlist, ivf.code_size, b"sprs", 0)


def _write_lists(stream: IO[bytes], codes: Array, ivf: Any) -> None:
    """Writes inverted lists: how long each is, then of each its codes and the ids of its keys."""
    width = codes.shape[1] - ivf.code_size
    lens = np.zeros(ivf.nlist, dtype=np.int64)
    for block in in_blocks(codes, BLOCK):
        lens += np.bincount(_lists(block, width), minlength=ivf.nlist)
    stream.write(b"ilar" + struct.pack("<QQ", ivf.nlist, ivf.code_size))
    used = np.flatnonzero(lens)
    if len(used) > ivf.nlist // 2:
        kind, told = b"full", lens
    else:
        kind, told = b"sprs", np.stack([used, lens[used]], axis=1)
    stream.write(struct.pack("<4sQ", kind, told.size) + told.astype("<u8").tobytes())
    begins = stream.tell() + np.append(0, np.cumsum(lens * (ivf.code_size + 8)))
    allocate(stream, int(begins[-1]))
    filled = np.zeros_like(lens)
    for start, block in numbered_blocks(codes):
        _place(Path(stream.name), start, block, width, begins, lens, filled)


def _place(
    file: Path,
    start: int,
    codes: Array,
    width: int,
    begins: Ids,
    lens: Ids,
    filled: Ids,
) -> None:
    """Writes codes, and the ids of their keys, behind those that each list has; moves ``filled``.

    The file is mapped anew, so that written pages do not add up to its size.
    """
    lists = _lists(codes, width)
    order = np.argsort(lists, kind="stable")
    lists, size = lists[order], codes.shape[1] - width
    rank = filled[lists] + np.arange(len(lists)) - np.searchsorted(lists, lists)
    whole = np.memmap(file, np.uint8, "r+")
    ids = (start + order).astype("<i8").view(np.uint8).reshape(-1, 8)
    places = begins[lists] + rank * size
    sliding_window_view(whole, size, writeable=True)[places] = codes[order, width:]
    places = begins[lists] + lens[lists] * size + rank * 8
    sliding_window_view(whole, 8, writeable=True)[places] = ids
    filled += np.bincount(lists, minlength=len(filled))


def _lists(codes: Array, width: int) -> Ids:
    """The list of each code: a number of ``width`` bytes, the lowest first."""
    return codes[:, :width].astype(np.int64) @ (1 << 8 * np.arange(width))
