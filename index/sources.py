"""Reads files and folders into documents; knows formats, nothing of tokens.

Nothing stops the reading: what cannot be read is handed out as ``Skipped`` with its reason.
The order depends on the names only, so one corpus always gives one index.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from index import html, markdown
from index.errors import UserError
from index.manifest import NAME


@dataclass(frozen=True)
class Document:
    """One text with a name. ``id`` is unique in an index; ``source`` is the file it came from."""

    id: str
    title: str
    text: str
    source: str


@dataclass(frozen=True)
class Skipped:
    """A file, or a row of one (``file:line``), that gave no document, and why."""

    source: str
    reason: str


Item = Document | Skipped


def read_documents(sources: Sequence[Path]) -> Iterator[Item]:
    """Documents of all ``sources`` (files or folders, read recursively), in the order of names.

    A document's id is its path inside the folder given (a file's own name if the file was given),
    or the ``id`` of a ``.jsonl`` row (``<file>:<line>`` where it has none); an id that was used
    before gets ``#2``. A text that was read before is skipped: one text must not be ten votes.

    Raises:
        UserError: a source does not exist, or is a file of an unknown type or without permission.
    """
    for source in sources:
        _check(source)
    return _distinct(item for source in sources for item in _read_source(source))


def _check(source: Path) -> None:
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; check the SOURCE argument")
    if source.is_dir():
        return
    if _reader(source) is None:
        raise UserError(f"{source}: {_unknown_type(source)}; convert it first")
    try:
        source.open("rb").close()
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}; check its mode") from error


def _distinct(items: Iterator[Item]) -> Iterator[Item]:
    first: dict[bytes, str] = {}
    used: set[str] = set()
    for item in items:
        if isinstance(item, Skipped):
            yield item
            continue
        digest = hashlib.sha256(item.text.encode()).digest()
        if digest in first:
            yield Skipped(item.source, f"'{item.id}' has the same text as '{first[digest]}'")
            continue
        names = chain([item.id], (f"{item.id}#{n}" for n in count(2)))
        doc_id = next(name for name in names if name not in used)
        first[digest] = doc_id
        used.add(doc_id)
        yield replace(item, id=doc_id)


def _read_source(source: Path) -> Iterator[Item]:
    if not source.is_dir():
        yield from _read_file(source, source.name)
        return
    for found in _walk(source):
        if isinstance(found, Skipped):
            yield found
        else:
            yield from _read_file(found, found.relative_to(source).as_posix())


def _walk(root: Path) -> Iterator[Path | Skipped]:
    """Files under a folder by name; hidden ones are left out, and so are indexes."""
    failed: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=failed.append):
        if NAME in files and any(re.fullmatch(r"v\d+", f) for f in folders):
            folders.clear()
            yield Skipped(folder, "an index, not documents")
            continue
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(f for f in files if not f.startswith(".")):
            file = Path(folder, name)
            special = file.exists() and not file.is_file()
            yield Skipped(str(file), "not a regular file") if special else file
    yield from (Skipped(str(e.filename), f"cannot be read: {e.strerror}") for e in failed)


def _read_file(file: Path, name: str) -> Iterator[Item]:
    reader = _reader(file)
    if reader is None:
        yield Skipped(str(file), _unknown_type(file))
        return
    try:
        yield from reader(file, name)
    except UnicodeDecodeError as error:
        yield Skipped(str(file), f"not UTF-8 text (byte {error.start})")
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        yield Skipped(str(file), f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _unknown_type(file: Path) -> str:
    known = " ".join(READERS)
    return f"type '{file.suffix}' is unknown (known: {known}, .jsonl.gz .jsonl.xz)"


def _reader(file: Path) -> Callable[[Path, str], Iterator[Item]] | None:
    compressed = file.suffix.lower() in OPENERS
    suffix = Path(file.stem).suffix if compressed else file.suffix
    reader = READERS.get(suffix.lower())
    return reader if not compressed or reader is _read_jsonl else None


def _read_txt(file: Path, name: str) -> Iterator[Item]:
    yield _document(file, name, _title(file), _decode(file))


def _read_md(file: Path, name: str) -> Iterator[Item]:
    title, text = markdown.extract(_decode(file))
    yield _document(file, name, title or _title(file), text)


def _read_html(file: Path, name: str) -> Iterator[Item]:
    title, text = html.extract(_decode(file))
    yield _document(file, name, title or _title(file), text)


def _read_jsonl(file: Path, name: str) -> Iterator[Item]:
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _row(line, f"{file}:{number}", f"{name}:{number}", file)


def _row(line: bytes, place: str, default_id: str, file: Path) -> Item:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Skipped(place, f"not JSON: {error}")
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        return Skipped(place, "no 'text' (a row needs a string 'text', may have 'id' and 'title')")
    if not row["text"].strip():
        return Skipped(place, "empty")
    doc_id = row.get("id")
    return Document(
        id=_whole(default_id if doc_id in (None, "") else str(doc_id)),
        title=_whole(str(row.get("title") or "").strip()),
        text=_whole(row["text"]),
        source=_whole(str(row.get("source") or file)),
    )


def _whole(text: str) -> str:
    """JSON may escape half a character (a lone surrogate), which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _document(file: Path, name: str, title: str, text: str) -> Item:
    if not text.strip():
        return Skipped(str(file), "empty")
    return Document(name, title, text.strip(), str(file))


def _decode(file: Path) -> str:
    data = file.read_bytes()
    if b"\0" in data[:8192]:
        raise OSError("binary or UTF-16, not UTF-8 text")
    return data.decode("utf-8-sig").replace("\r\n", "\n")


def _title(file: Path) -> str:
    return file.stem.replace("_", " ").replace("-", " ").strip()


def _open(file: Path) -> IO[bytes]:
    opener: Callable[[Path], Any] | None = OPENERS.get(file.suffix.lower())
    return opener(file) if opener else file.open("rb")


READERS: dict[str, Callable[[Path, str], Iterator[Item]]] = {
    ".txt": _read_txt,
    ".md": _read_md,
    ".html": _read_html,
    ".htm": _read_html,
    ".jsonl": _read_jsonl,
}
OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".xz": lzma.open}
