"""Reads files, archives and folders into documents; knows names and order, nothing of formats.

Nothing stops the reading: what cannot be read is handed out as ``Skipped`` with its reason.
The order depends on the names only, so one corpus always gives one index.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from index import archives
from index.dedupe import distinct
from index.documents import Document, File, Item, Skipped, Unreadable, whole
from index.errors import UserError
from index.filters import NO_FILTERS, Filters
from index.formats import READERS
from index.manifest import is_index

__all__ = ["Document", "Item", "Skipped", "read_documents"]

UNKNOWN_TYPE = "of unknown types"
"""What leaves out files that nothing here can read (``Skipped.by``)."""
MISSING = "needs pip install 'retro-abstain[ingest]'"


def read_documents(sources: Sequence[Path], filters: Filters = NO_FILTERS) -> Iterator[Item]:
    """Documents of all ``sources`` (files, folders, patterns like ``docs/**/*.md``), by name.

    A document's id is its path inside the folder given (a file's own name if the file was given),
    or the ``id`` of a row (``<file>:<line>`` where it has none); an id that was used before gets
    ``#2``. What ``filters`` leave out is skipped, and so is a text that was read before: one text
    must not be ten votes.

    Raises:
        UserError: a source does not exist, or is a file of an unknown type or without permission;
            or a filter cannot be had.
    """
    found = [pair for source in sources for pair in expand(source)]
    for source, _ in found:
        _check(source)
    items = (item for source, root in found for item in _read_source(source, root))
    return distinct(filters.apply(items))


def expand(source: Path) -> list[tuple[Path, Path]]:
    """A source, or the files that match it, with the folder that their ids are relative to."""
    if source.exists() or not glob.has_magic(str(source)):
        return [(source, source if source.is_dir() else source.parent)]
    plain = next(n for n, part in enumerate(source.parts) if glob.has_magic(part))
    root = Path(*source.parts[:plain])
    found = root.glob(str(Path(*source.parts[plain:])))
    matching = sorted(path for path in found if path.is_file() and _is_visible(path, root))
    if not matching:
        raise UserError(f"{source}: no file matches this pattern; check the SOURCE argument")
    return [(path, root) for path in matching]


def _is_visible(path: Path, root: Path) -> bool:
    """Whether a walk from ``root`` would come to a file: it isn't hidden, nor part of an index."""
    inside = path.relative_to(root)
    hidden = any(part.startswith(".") for part in inside.parts)
    return not hidden and not any(is_index(root / folder) for folder in inside.parents)


def _check(source: Path) -> None:
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; check the SOURCE argument")
    if source.is_dir():
        return
    if not _is_known(source.name):
        what = _unknown_type(source.name)
        raise UserError(f"{source}: {what} ({known_types()}); convert it first")
    try:
        source.open("rb").close()
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}; check its mode") from error


def _read_source(source: Path, root: Path) -> Iterator[Item]:
    for found in walk(source) if source.is_dir() else [source]:
        if isinstance(found, Skipped):
            yield found
        else:
            yield from _open(found, found.relative_to(root).as_posix())


def walk(root: Path, without: Path | None = None) -> Iterator[Path | Skipped]:
    """Files under a folder by name; hidden ones are left out, and so are indexes and the folder
    ``without`` (a resolved path)."""
    failed: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=failed.append):
        if is_index(Path(folder)):
            folders.clear()
            yield Skipped(folder, "an index, not documents")
            continue
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if without is not None:
            folders[:] = [f for f in folders if Path(folder, f).resolve() != without]
        for name in sorted(f for f in files if not f.startswith(".")):
            file = Path(folder, name)
            special = file.exists() and not file.is_file()
            yield Skipped(whole(str(file)), "not a regular file") if special else file
    yield from (Skipped(whole(str(e.filename)), f"cannot be read: {e.strerror}") for e in failed)


def _open(path: Path, name: str) -> Iterator[Item]:
    if not _is_known(path.name):
        yield Skipped(whole(str(path)), _unknown_type(path.name), by=UNKNOWN_TYPE)
        return
    try:
        with path.open("rb") as stream:
            yield from _read(File.of(str(path), name, stream))
    except OSError as error:
        yield Skipped(whole(str(path)), f"cannot be read: {error.strerror or error}")


def _read(file: File) -> Iterator[Item]:
    """The documents of a file, whatever it holds: its errors end as ``Skipped``."""
    try:
        with file.copies:
            items = _content(file)
            yield next(items, Skipped(file.source, "empty"))
            yield from items
    except Unreadable as error:
        yield Skipped(file.source, str(error))
    except ModuleNotFoundError:
        yield Skipped(file.source, MISSING)
    except Exception as error:  # whatever a library says to hostile bytes, it stops no build
        yield Skipped(file.source, f"cannot be read: {error or type(error).__name__}")


def _content(file: File) -> Iterator[Item]:
    if file.suffix in archives.OPENERS:
        file = archives.decompressed(file)
    if file.suffix == ".zip":
        for member in archives.members(file):
            yield from [member] if isinstance(member, Skipped) else _read(member)
    elif file.suffix in READERS:
        yield from READERS[file.suffix](file)
    else:
        yield Skipped(file.source, _unknown_type(file.name), by=UNKNOWN_TYPE)


def _is_known(name: str) -> bool:
    suffix = _inner_suffix(name)
    return suffix == ".zip" or suffix in READERS


def _inner_suffix(name: str) -> str:
    """The ending without that of a compression."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in archives.OPENERS else path.suffix


def _unknown_type(name: str) -> str:
    return f"type '{_inner_suffix(name)}' is unknown"


def known_types() -> str:
    """The ends of the names of files that can be read, for a person."""
    return f"known: {' '.join([*filter(None, READERS), '.zip'])}, each also .gz .xz .bz2"
