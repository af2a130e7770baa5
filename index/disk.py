"""Files that a kill leaves whole; knows bytes, nothing of what they say."""

from __future__ import annotations

import os
from pathlib import Path

from index.errors import UserError


def write_atomically(file: Path, text: str) -> None:
    """Writes a file so that a kill leaves the old one or the new one, whole."""
    scratch = file.with_name(f".{file.name}.new")
    with scratch.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(file)
    flush(file.parent)


def flush(path: Path) -> None:
    """Has the system write a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot, and need not
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def claim(folder: Path) -> None:
    """Makes a folder, and finds out now, not after hours of work, whether it can be written to.

    Raises:
        UserError: it cannot.
    """
    probe = folder / ".can-write"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)  # another process of this run may have
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write there ({error.strerror}); give another --out"
        ) from error
