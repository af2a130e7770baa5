"""The versions of an index on disk: locks, temporary folders, renames; knows nothing of content.

A build works in a hidden folder inside ``out``. Only when all is written and flushed does that
folder get its version's name and the manifest point at it; a killed build leaves the index as it
was, and the next build removes its remains.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.errors import UserError
from index.manifest import NAME, Manifest

UNFINISHED = ".building-"


def check_out(out: Path) -> None:
    """Raises UserError unless ``out`` can become an index: new, empty, or an index already."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder with --out")
    if out.is_dir() and not (out / NAME).exists():
        foreign = [f.name for f in out.iterdir() if not f.name.startswith(UNFINISHED)]
        if foreign:
            raise UserError(
                f"{out}: no index but other files ({min(foreign)}, …); give a new folder with --out"
            )


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """A temporary folder inside ``out``, removed if it is not published.

    Raises:
        UserError: ``out`` cannot be written to, or another build works on it.
    """
    fresh = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            for remains in out.glob(UNFINISHED + "*"):
                shutil.rmtree(remains, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=out))
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except PermissionError as error:
        raise UserError(f"{error.filename}: {error.strerror}; choose another --out") from error
    finally:
        if fresh and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def next_version(out: Path) -> str:
    """``v1`` for a new index, one more than the highest there is for others."""
    numbers = [int(f.name[1:]) for f in out.glob("v*") if f.name[1:].isdigit()]
    return f"v{max(numbers, default=0) + 1}"


def publish(scratch: Path, out: Path, manifest: Manifest) -> None:
    """Names the finished folder, points the manifest at it, then drops the versions before."""
    older = [f for f in out.glob("v*") if f.is_dir()]
    for file in scratch.rglob("*"):
        _flush(file)
    scratch.chmod(0o755)
    scratch.rename(out / manifest.version)
    manifest.write(out)
    for folder in older:
        shutil.rmtree(folder, ignore_errors=True)


def _flush(file: Path) -> None:
    if file.is_file():
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Holds the folder itself as a lock, which the system drops even if the process is killed."""
    try:
        import fcntl
    except ImportError:  # Windows: two builds into one folder are not told apart there
        yield
        return
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(f"{out}: another build is writing there; wait for it to end") from error
    try:
        yield
    finally:
        os.close(descriptor)
