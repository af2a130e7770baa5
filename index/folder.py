"""The versions of an index on disk: locks, work that a kill does not lose, renames; no content.

    DIR/.building/plan.json       what is being made, and since when
    DIR/.building/journal.jsonl   what of it is whole: a line is written after its data is flushed
    DIR/.building/files/          becomes the version's folder
    DIR/.building/manifest.json   becomes the index's; once it is there, nothing is left to make
    DIR/.earlier/                 unfinished work that another request cannot go on with, kept for
                                  its keys until a version is published

A build works in that hidden folder. Only when all is written and flushed does ``files`` get its
version's name and the manifest point at it. Killed, it leaves the index as it was; the same
request goes on where the journal ends, another one starts anew.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.disk import flush, write_atomically
from index.errors import UserError
from index.manifest import NAME, FileRecord, Manifest, is_index, versions

WORK = ".building"
EARLIER = ".earlier"
PLAN = "plan.json"
Request = dict[str, Any]
"""What is to be made, as plain JSON: another request is another index."""


def check_out(out: Path) -> None:
    """Raises UserError unless ``out`` can become an index: new, empty, or an index already."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder with --out")
    if out.is_dir() and not is_index(out):
        foreign = [f.name for f in out.iterdir() if f.name not in (WORK, EARLIER)]
        if foreign and not (out / WORK / PLAN).exists():
            raise UserError(
                f"{out}: no index but other files ({min(foreign)}, …); give a new folder with --out"
            )


class Work:
    """An unfinished version of the index in ``out``, and what of it is whole."""

    def __init__(self, out: Path, name: str = WORK) -> None:
        self.out, self.folder = out, out / name
        self.files = self.folder / "files"
        self._journal = self.folder / "journal.jsonl"
        plan = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))
        self.request: Request = plan["request"]
        self.built: str = plan["built"]
        """When it was begun, UTC, ISO 8601: one moment, however often it was continued."""
        self.version: str = plan["version"]
        self._stages = {e["stage"]: e for e in self._entries() if "stage" in e}

    @classmethod
    def begin(cls, out: Path, request: Request) -> Work:
        """Drops unfinished work, if there is any, and begins with nothing."""
        folder = out / WORK
        _drop(folder)
        (folder / "files").mkdir(parents=True)
        plan = {
            "request": request,
            "built": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": _next_version(out),
        }
        write_atomically(folder / PLAN, json.dumps(plan, indent=1, ensure_ascii=False))
        return cls(out)

    @classmethod
    def found(cls, out: Path, name: str = WORK) -> Work | None:
        """The unfinished work in ``out``; None if there is none, or none that can be read."""
        try:
            return cls(out, name)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stage(self, name: str) -> dict[str, Any] | None:
        """What a stage noted when it was whole; None before that."""
        return self._stages.get(name)

    def finish(self, stage: str, **facts: Any) -> dict[str, Any]:
        """Flushes all new files and notes that a stage is whole, with ``facts`` about it."""
        new = sorted({f for f in self.files.rglob("*") if f.is_file()} - self._known())
        for path in (*new, *{file.parent for file in new}):
            flush(path)
        names = {file.relative_to(self.files).as_posix(): file for file in new}
        records = {name: asdict(FileRecord.of(file)) for name, file in names.items()}
        entry = {"stage": stage, **facts, "files": records}
        self.note(entry)
        self._stages[stage] = entry
        return entry

    def note(self, entry: dict[str, Any]) -> None:
        """Appends a line to the journal; when it returns, a kill cannot lose it."""
        with self._journal.open("ab") as stream:
            stream.write(json.dumps(entry).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def notes(self, kind: str) -> Iterator[Any]:
        """What was noted as ``{kind: …}``, in order."""
        return (entry[kind] for entry in self._entries() if kind in entry)

    def records(self) -> dict[str, FileRecord]:
        """Every file of the finished stages, by name inside the version, sorted."""
        found = {n: FileRecord(**r) for s in self._stages.values() for n, r in s["files"].items()}
        return dict(sorted(found.items()))

    def intact(self) -> bool:
        """Whether the files of the finished stages are all there in full."""
        if not self.files.is_dir():
            return False
        files = {self.files / name: record.size for name, record in self.records().items()}
        return all(f.is_file() and f.stat().st_size == size for f, size in files.items())

    def publish(self) -> Manifest:
        """Names the finished folder, points the manifest at it, drops what was before.

        A kill may come after every step: the next call does the rest.
        """
        version, manifest = self.out / self.version, self.folder / NAME
        if self.files.exists():
            self.files.rename(version)
            flush(self.out)
        if manifest.exists():
            manifest.replace(self.out / NAME)
            flush(self.out)
        published = Manifest.read(self.out)
        for folder in versions(self.out):
            if folder.name != published.version:
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.out / EARLIER, ignore_errors=True)
        self.drop()
        return published

    def is_whole(self) -> bool:
        """Whether nothing is left but to publish it."""
        return (self.folder / NAME).exists() or (self.out / self.version).exists()

    def set_aside(self) -> None:
        """Makes room for other work, which may copy this one's keys; drops what was set aside."""
        shutil.rmtree(self.out / EARLIER, ignore_errors=True)
        self.folder.rename(self.out / EARLIER)
        flush(self.out)

    def drop(self) -> None:
        """Forgets the work and its files."""
        _drop(self.folder)

    def _known(self) -> set[Path]:
        return {self.files / name for name in self.records()}

    def mend(self) -> None:
        """Cuts off the line at the end of the journal that a kill has torn."""
        if self._journal.exists():
            journal = self._journal.read_bytes()
            os.truncate(self._journal, journal.rfind(b"\n") + 1)

    def _entries(self) -> Iterator[dict[str, Any]]:
        """The whole lines of the journal."""
        if self._journal.exists():
            with self._journal.open("rb") as stream:
                yield from (json.loads(line) for line in stream if line.endswith(b"\n"))


@contextmanager
def locked(out: Path) -> Iterator[Request | None]:
    """Keeps others from writing to ``out``, creating it if need be, and finishes publishing.

    Hands out the request of the work that a kill left whole but unpublished: it is published now.
    The folder itself is the lock, which the system drops even if the process is killed.

    Raises:
        UserError: ``out`` cannot be written to, another process writes to it, or the disk is full.
    """
    fresh = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _lock(out):
            work = Work.found(out)
            if work and work.is_whole():
                work.publish()
                yield work.request
            else:
                yield None
    except PermissionError as error:
        raise UserError(f"{error.filename}: {error.strerror}; choose another --out") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{out}: the disk is full; free some space and start again: what is written is kept"
        ) from error
    finally:
        if fresh and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: two builds into one folder are not told apart there
        yield
        return
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{out}: another build is writing there; wait for it to end") from error
        yield
    finally:
        os.close(descriptor)


def _next_version(out: Path) -> str:
    """``v1`` for a new index, one more than the highest there is for others."""
    numbers = [int(folder.name[1:]) for folder in versions(out)]
    return f"v{max(numbers, default=0) + 1}"


def _drop(folder: Path) -> None:
    """The plan goes first: what has none is no work."""
    (folder / PLAN).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
