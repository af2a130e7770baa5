"""Opens .gz, .xz, .bz2 and .zip; knows how much may come out of them, nothing of what is inside.

Nothing is ever extracted under a member's own name, so a name with ``..`` in it does no harm.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, Any

from index.documents import Allowance, File, Skipped, Unreadable, whole

OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
NESTED = "an archive inside an archive; unpack it first"


class _Counted(io.RawIOBase):
    """What comes out of a compressed stream, as long as the allowance lasts."""

    def __init__(self, inner: IO[bytes], allowance: Allowance) -> None:
        self._inner, self._allowance = inner, allowance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        self._allowance.spend(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


class _Late:
    """A member opened when first read: its errors then belong to it and not to the archive."""

    def __init__(self, archive: zipfile.ZipFile, info: str | zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        self._stream: IO[bytes] | None = None

    def read(self, size: int) -> bytes:
        if self._stream is None:
            self._stream = self._archive.open(self._info)
        return self._stream.read(size)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def decompressed(file: File) -> File:
    """What a ``.gz``, ``.xz`` or ``.bz2`` holds, as a stream; ``a.txt.gz`` holds ``a.txt``.

    Raises:
        Unreadable: it holds an archive.
    """
    inner = PurePosixPath(file.name).with_suffix("")
    if inner.suffix.lower() in {".zip", *OPENERS}:
        raise Unreadable(NESTED)
    stream = _limited(OPENERS[file.suffix](file.stream), file.allowance)
    return replace(file, stream=stream, inner=str(inner), on_disk=False)


def members(file: File) -> Iterator[File | Skipped]:
    """The files in a ``.zip`` by name, each as a stream to be read before the next is asked for.

    Raises:
        Unreadable: it is no zip file.
    """
    with open_zip(file) as archive:
        for info in sorted(archive.infolist(), key=lambda i: (i.filename, i.header_offset)):
            path = PurePosixPath(whole(info.filename))
            if info.is_dir() or any(p.startswith((".", "__MACOSX")) for p in path.parts):
                continue
            source = f"{file.source}!/{path}"
            if info.flag_bits & 1:
                yield Skipped(source, "encrypted; unpack it first")
            elif path.suffix.lower() == ".zip":
                yield Skipped(source, NESTED)
            else:
                with member(file, archive, info) as stream:
                    yield File(source, f"{file.name}!/{path}", stream, file.allowance, ExitStack())


def open_zip(file: File) -> zipfile.ZipFile:
    """A zip file whose directory was read.

    Raises:
        Unreadable: it is no zip file.
    """
    try:
        return zipfile.ZipFile(file.seekable())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise Unreadable(f"no zip file: {error}") from error


def member(file: File, archive: zipfile.ZipFile, info: str | zipfile.ZipInfo) -> IO[bytes]:
    """One file of an archive, which spends the archive's allowance."""
    return _limited(_Late(archive, info), file.allowance)


def _limited(inner: Any, allowance: Allowance) -> IO[bytes]:
    return io.BufferedReader(_Counted(inner, allowance))
