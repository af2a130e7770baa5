"""Arrays as ``.npy`` files: written as they grow, mapped to be read; knows nothing of content."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class ArrayWriter:
    """Writes an array to disk row by row, so that memory does not grow with it; a context.

    numpy leaves room in a header for a longer first axis, so the true length is put in at the end.
    """

    def __init__(self, file: Path, dtype: DTypeLike, row: tuple[int, ...] = ()) -> None:
        self._dtype, self._row = np.dtype(dtype), row
        self._stream = file.open("wb")
        self._len = 0
        self._write_header()
        self._start = self._stream.tell()

    def __len__(self) -> int:
        return self._len

    def extend(self, rows: Any) -> None:
        """Appends an array [n, *row], or a sequence that makes one."""
        rows = np.ascontiguousarray(rows, dtype=self._dtype).reshape(-1, *self._row)
        self._stream.write(rows.data if rows.size else b"")
        self._len += len(rows)

    def append(self, value: int) -> None:
        """Appends one number."""
        self.extend([value])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stream:
            self._stream.seek(0)
            self._write_header()
            assert self._stream.tell() == self._start, "the header has grown over the rows"

    def _write_header(self) -> None:
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._len, *self._row),
        }
        npy.write_array_header_1_0(self._stream, header)


def reserve(file: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    """Writes an array of zeros that can be mapped and filled: the disk has room for all of it.

    Without that, a mapped page that finds the disk full kills the process.

    Raises:
        OSError: the disk is full.
    """
    npy.open_memmap(file, "w+", dtype, shape).flush()
    with file.open("r+b") as stream:
        allocate(stream, file.stat().st_size)


def allocate(stream: IO[bytes], size: int) -> None:
    """Makes a file so long, with zeros behind what it holds; the disk has room for all of it.

    Raises:
        OSError: the disk is full.
    """
    stream.flush()
    stream.truncate(size)
    if hasattr(os, "posix_fallocate") and size:  # elsewhere files are not sparse by themselves
        os.posix_fallocate(stream.fileno(), 0, size)


def mapped(file: Path) -> Array:
    """An array on disk; as a plain view, which is indexed three times faster than a memmap.

    Raises:
        ValueError: the file is not an ``.npy`` of plain numbers in this machine's byte order.
    """
    array = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    if not array.dtype.isnative or not array.flags.c_contiguous:
        raise ValueError(f"{file.name}: foreign byte order or layout")
    return array


def in_blocks(array: Array, size: int) -> Iterator[Array]:
    """A mapped array block by block, whose pages are given back on the way."""
    for start in range(0, len(array), size):
        yield array[start : start + size]
        give_back(array)


def give_back(array: Array) -> None:
    """Pages of a mapped array that were read no longer count as this process's memory: reading
    on, they would add up to the size of the array."""
    base = array.base
    while type(base) is np.ndarray:  # a view of a view
        base = base.base
    pages = getattr(base, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def rows_in_blocks(array: Array, rows: NDArray[np.int64], size: int) -> Iterator[Array]:
    """Copies of some rows, given in order, of a mapped array, which is read block by block."""
    starts = range(0, len(array), size)
    bounds = pairwise(np.searchsorted(rows, [*starts, len(array)]))
    for start, (a, b), block in zip(starts, bounds, in_blocks(array, size), strict=True):
        if b > a:
            yield block[rows[a:b] - start]
