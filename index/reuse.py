"""Keys that were computed once: of the index that a build replaces, and of work left unfinished.

A key depends on the title and text of its document, the chunk size, the tokenizer and the embedder
alone. Whatever else made a build start anew (a file that was added, touched or moved to another
disk, another filter), the keys of the documents that stay are copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from index.arrays import Array, give_back, mapped
from index.errors import UserError
from index.folder import EARLIER, Request, Work
from index.manifest import Manifest, is_index
from index.sources import Document
from index.store import TokenStore

MADE_BY = ("chunk_size", "embedder_sha256", "dim", "tokenizer_sha256", "format", "libraries")
"""What of a request decides a key, beside the document."""
KEYED = ("title", "text", "sections")
"""What of a document decides its keys."""


@dataclass(frozen=True)
class Base:
    """An index whose documents go into another one, with their keys [chunks, dim]."""

    folder: Path
    manifest: Manifest
    store: TokenStore
    keys: Array

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises UserError if there is no index, not all of it, or its keys are damaged.

        Keys go into other indexes as they are, so they are compared with their hash; the rest is
        checked when it is read.
        """
        manifest, store = opened(folder)
        manifest.check_file(folder, "keys.npy")
        return cls(folder, manifest, store, mapped(store.folder / "keys.npy"))


@dataclass(frozen=True)
class Held:
    """Documents whose keys [<= chunks, dim] are there, those of the first chunks.

    ``fingerprint``: the index's (``Manifest.fingerprint``); empty for unfinished work.
    """

    store: TokenStore
    keys: Array
    fingerprint: str = ""

    def first_chunk(self, document: Document) -> int | None:
        """Where the keys of a document begin; None unless it is held as it is."""
        row = self.store.rows.get(document.id)
        if row is None:
            return None
        try:
            held = self.store.document(row)
        except UserError:  # damaged: it is made again
            return None
        same = all(getattr(held, name) == getattr(document, name) for name in KEYED)
        return self.store.chunks_of(row).start if same else None


def opened(folder: Path) -> tuple[Manifest, TokenStore]:
    """Raises UserError if there is no index, or not all of it."""
    manifest = Manifest.read(folder)
    manifest.check_sizes(folder)
    manifest.check_small(folder)
    return manifest, TokenStore(folder / manifest.version, manifest.removed)


def origin(document: Document, held: Sequence[Held], number: int) -> tuple[int, int] | None:
    """Number of the first of ``held``, counted from ``number``, with the document's keys, and its
    chunk there."""
    for at, one in enumerate(held, number):
        if (first := one.first_chunk(document)) is not None:
            return at, first
    return None


def replaced(out: Path, request: Request) -> list[Held]:
    """The index in ``out``, if its keys are such as the request asks for and none is damaged."""
    if not is_index(out):
        return []
    try:
        if not _same_keys(asdict(Manifest.read(out)), request):
            return []
        base = Base.open(out)
    except UserError:  # a build is how a damaged index is mended
        return []
    return [Held(base.store, base.keys, base.manifest.fingerprint)]


def set_aside(work: Work, request: Request) -> bool:
    """Keeps unfinished work that is given up, if the request can use more of its keys than of the
    work that was set aside before."""
    now, before = (_unfinished(w, request) for w in (work, Work.found(work.out, EARLIER)))
    better = now is not None and len(now.keys) > (len(before.keys) if before else 0)
    del now, before  # mapped files cannot be moved everywhere
    if better:
        work.set_aside()
    return better


def earlier(work: Work) -> list[Held]:
    """The work that was set aside for ``work``, if it can use its keys."""
    held = _unfinished(Work.found(work.out, EARLIER), work.request)
    return [held] if held else []


def whole_keys(work: Work, shape: tuple[int, int]) -> int:
    """How many keys, from the first on, are on disk as they were noted in the journal."""
    try:
        keys = mapped(work.files / "keys.npy")
    except (OSError, ValueError):  # not there, or not all of it
        return 0
    if keys.shape != shape:
        return 0
    done = 0
    for start, count, digest in work.notes("shard"):
        part = keys[start : start + count].copy()
        give_back(keys)
        if start == done and sha256(part.tobytes()).hexdigest() == digest:
            done += count
    return done


def _unfinished(work: Work | None, request: Request) -> Held | None:
    if work is None or not work.stage("store") or not work.intact():
        return None
    if not _same_keys(work.request, request):
        return None
    store = TokenStore(work.files)
    done = whole_keys(work, (len(store), request["dim"]))
    return Held(store, mapped(work.files / "keys.npy")[:done]) if done else None


def _same_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in MADE_BY)
