"""Kills the writing of an index at many points, starts it again, and compares every byte.

    python tests/index_kills.py FOLDER build|rebuild|add [POINTS]

Run by ``test_index_kills.py`` in a process of its own, which forks one child for each attempt: a
child dies without any clean-up right before it opens, syncs, maps, renames or removes a file.
Prints one JSON object a kill: at which point, whether the result is that of an attempt that was
left alone, and how many texts were embedded more than once.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from index_fakes import FACTS, tiny_tokenizer, write_jsonl

import index.assemble
import index.folder
from index.build import build_index
from index.folder import PLAN, WORK
from index.grow import add_documents
from index.keys import HashingKeyEncoder
from index.manifest import NAME, Manifest

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "mmap.__new__"}
DATES = ("2026-01-01T00:00:00+00:00", "2026-02-02T00:00:00+00:00")
SHARD = 8
KILLED = 9
Attempt = Callable[[Path], Any]
Content = dict[str, bytes]


class LoggingEncoder(HashingKeyEncoder):
    """Writes down how many texts it was given; a kill does not lose that."""

    def __init__(self, log: Path) -> None:
        super().__init__(dim=16)
        self.log = log

    def encode(self, texts: Sequence[str]) -> Any:
        with self.log.open("a") as stream:
            stream.write(f"{len(texts)}\n")
        return super().encode(texts)


def main() -> None:
    """Prints the outcome of every kill."""
    folder, operation = Path(sys.argv[1]), sys.argv[2]
    points = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    index.assemble.SHARD = SHARD
    attempt, start = attempts(folder)[operation]
    wanted = [reference(folder, date, attempt, start) for date in DATES]
    events = count_events(folder, attempt, start)
    chosen = range(1, events + 1)
    if points:  # evenly spread, and all of the last ones, where the new version gets its name
        last = chosen[-points // 3 :]
        chosen = sorted({*last, *random.Random(0).sample(chosen[: -len(last)], points - len(last))})
    for point in chosen:
        print(json.dumps(outcome(folder / "out", point, attempt, start, wanted)), flush=True)


def attempts(folder: Path) -> dict[str, tuple[Attempt, Path | None]]:
    """Each operation, and the index that it begins with."""
    facts = [{"id": t, "title": t, "text": x} for t, x in FACTS.items()]
    old, new = (
        write_jsonl(folder / f"{name}.jsonl", rows)
        for name, rows in (("old", facts[:2]), ("new", facts[2:]))
    )
    encoder, tokenizer = LoggingEncoder(folder / "encoded"), tiny_tokenizer()
    settings = {"embedder": encoder, "tokenizer": tokenizer, "progress": False, "chunk_size": 8}
    build_index([old], folder / "base", **settings)
    grown = {"encoder": encoder, "tokenizer": tokenizer, "progress": False}
    return {
        "build": (lambda out: build_index([old, new], out, **settings), None),
        "rebuild": (lambda out: build_index([old, new], out, **settings), folder / "base"),
        "add": (lambda out: add_documents(out, [new], **grown), folder / "base"),
    }


def outcome(
    out: Path, point: int, attempt: Attempt, start: Path | None, wanted: Sequence[Content]
) -> dict[str, Any]:
    """Kills one attempt, sometimes its successor too, lets the last one end, and compares."""
    fresh(out, start)
    log = out.parent / "encoded"
    log.unlink(missing_ok=True)
    died = forked(lambda: attempt(out), DATES[0], point) == KILLED
    readable = not (out / NAME).exists() or not Manifest.read(out).broken_files(out)
    begun = is_begun(out) or is_complete(out, wanted[0])
    successors = [2 + point // 2, 0] if point % 3 == 0 else [0]
    for successor in successors:
        if not is_complete(out, wanted[0]):
            forked(lambda: attempt(out), DATES[1], successor)
    return {
        "point": point,
        "died": died,
        "readable": readable,
        "same": content(out) == wanted[0 if begun else 1],
        "embedded": sum(map(int, log.read_text().split())),
    }


def is_begun(out: Path) -> bool:
    return (out / WORK / PLAN).exists()


def is_complete(out: Path, wanted: Content) -> bool:
    """Whether the kill came after the last step: to start again would be another index."""
    return not is_begun(out) and content(out).keys() == wanted.keys()


def fresh(out: Path, start: Path | None) -> None:
    shutil.rmtree(out, ignore_errors=True)
    if start:
        shutil.copytree(start, out)


def reference(folder: Path, date: str, attempt: Attempt, start: Path | None) -> Content:
    """What an attempt begun at ``date`` gives that is left alone."""
    fresh(folder / "reference", start)
    assert forked(lambda: attempt(folder / "reference"), date, 0) == 0
    return content(folder / "reference")


def content(out: Path) -> Content:
    """Every byte of an index; not of what a kill leaves of finished work, which nobody reads."""
    files = {f.relative_to(out).as_posix(): f for f in out.rglob("*") if f.is_file()}
    return {name: f.read_bytes() for name, f in files.items() if not name.startswith(WORK)}


def count_events(folder: Path, attempt: Attempt, start: Path | None) -> int:
    """How many points there are to die at."""
    fresh(folder / "counted", start)
    file = folder / "events"

    def work() -> None:
        counted = watch(0)
        attempt(folder / "counted")
        file.write_text(str(counted[0]))

    assert forked(work, DATES[0], 0) == 0
    return int(file.read_text())


def forked(work: Callable[[], Any], date: str, point: int) -> int:
    """Exit status of a child that does some work and dies at the ``point``-th event, if not 0."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            index.folder.datetime = SimpleNamespace(now=lambda zone: datetime.fromisoformat(date))
            if point:
                watch(point)
            work()
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(point: int) -> list[int]:
    """Counts the events of this process, at the ``point``-th of which it dies."""
    counted = [0]

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and "encoded" not in str(arguments[0]):
            counted[0] += 1
            if counted[0] == point:
                os._exit(KILLED)

    sys.addaudithook(seen)
    # A kill loses nothing that was written, synced or not, so the time is saved.
    os.fsync = lambda descriptor: seen("open", (descriptor,))
    return counted


if __name__ == "__main__":
    main()
