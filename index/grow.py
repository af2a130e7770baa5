"""Changes an index that is there: adds, updates, removes and merges; keys are copied, not made.

Readers keep the version that they opened. What is removed counts as absent at once and leaves
the files with the next version, which adding, updating and compacting write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from index.assemble import Entry, assemble, open_work, read_skipped
from index.build import tokenized
from index.changes import Unchanged, changes
from index.dedupe import text_digest, without_near_duplicates
from index.engines import Engine, encode_with
from index.errors import UserError
from index.filters import NO_FILTERS, Filters
from index.folder import check_out, locked
from index.keys import KeyEncoder, open_encoder
from index.manifest import NAME, Manifest
from index.recipe import Recipe
from index.request import is_done, request
from index.reuse import Base, opened
from index.sources import Item, Skipped, read_documents
from index.weights import load_tokenizer

Seen = dict[bytes, str]
"""Document id by digest of its text: one text must not be ten votes."""
GIVEN_BACK = 512
"""Documents after which what was read of an index no longer counts as memory."""


def add_documents(
    folder: Path,
    sources: Sequence[Path],
    *,
    update: bool = False,
    filters: Filters = NO_FILTERS,
    encoder: KeyEncoder | None = None,
    tokenizer: Any = None,
    engine: Engine = "local",
    progress: bool = True,
) -> Manifest:
    """Adds the documents of ``sources`` behind those that an index holds.

    With ``update`` a document whose id is there already is replaced if its title, text or trust
    label has changed, and left if not. Duplicates are left out as by the build that made the index;
    ``filters`` are best those of the build: an index does not keep them. ``encoder`` and
    ``tokenizer``: default those named in the manifest. ``engine``: as ``build_index`` has it.

    Raises:
        UserError: an id is there already (without ``update``), no source holds a document, or
            the embedder or tokenizer is not the one that the index was built with.
    """
    folder, sources = Path(folder), [Path(source) for source in sources]
    manifest = Manifest.read(folder)
    items = read_documents(sources, filters)
    encoder = encoder or open_encoder(manifest.embedder)
    tokenizer = tokenizer or load_tokenizer(manifest.tokenizer)
    with locked(folder) as finished:
        base = Base.open(folder)
        recipe = Recipe.used(base.manifest)
        recipe.check_encoder(encoder, folder)
        recipe.check_tokenizer(tokenizer, folder)
        operation = "update" if update else "add"
        options = filters.identity()
        wanted = request(
            operation, folder, recipe, sources=sources, bases=[base.manifest], **options
        )
        if is_done(finished, wanted):
            return base.manifest
        work = open_work(folder, wanted, progress)
        entries = _grown(base, items, tokenizer, work.folder / "changes.jsonl", update)
        try:
            return assemble(
                work,
                recipe,
                entries,
                encode=encode_with(encoder, engine),
                bases=[base.keys],
                progress=progress,
            )
        except Unchanged:
            work.drop()
            return base.manifest


def remove_documents(folder: Path, doc_ids: Collection[str]) -> Manifest:
    """Has some documents count as absent; only the manifest is written.

    Raises:
        UserError: an id is not in the index, or no document would be left.
    """
    folder = Path(folder)
    Manifest.read(folder)
    with locked(folder):
        manifest, store = opened(folder)
        if unknown := [doc_id for doc_id in doc_ids if doc_id not in store.rows]:
            raise UserError(f"{folder}: no document '{unknown[0]}'; retro index search shows ids")
        rows = {store.rows[doc_id] for doc_id in doc_ids}
        if len(rows) == manifest.num_documents:
            raise UserError(f"{folder}: no document would be left; delete the folder instead")
        manifest = replace(
            manifest,
            removed=tuple(sorted({*manifest.removed, *rows})),
            num_documents=manifest.num_documents - len(rows),
            num_chunks=manifest.num_chunks - sum(len(store.chunks_of(row)) for row in rows),
            num_tokens=manifest.num_tokens - sum(len(store.tokenized(row).ids) for row in rows),
        )
        manifest.write(folder / NAME)
    return manifest


def compact_index(folder: Path, *, progress: bool = True) -> Manifest:
    """Writes a version without the documents that were removed; does nothing if none were."""
    folder = Path(folder)
    Manifest.read(folder)
    with locked(folder):
        base = Base.open(folder)
        if not base.manifest.removed:
            return base.manifest
        recipe = Recipe.used(base.manifest)
        work = open_work(
            folder, request("compact", folder, recipe, bases=[base.manifest]), progress
        )
        return assemble(work, recipe, _together([base]), bases=[base.keys], progress=progress)


def merge_indexes(folders: Sequence[Path], out: Path, *, progress: bool = True) -> Manifest:
    """Writes to ``out`` one index of the documents of several, in their order.

    Its keys are searched by FAISS: a collection in a Milvus server belongs to one index alone.

    Raises:
        UserError: they were not built with one embedder, tokenizer and chunk size, or an id is
            in more than one of them.
    """
    out = Path(out)
    check_out(out)
    bases = [Base.open(Path(folder)) for folder in folders]
    recipe = replace(Recipe.used(bases[0].manifest), store="")
    for base in bases[1:]:
        recipe.check_same(Recipe.used(base.manifest), bases[0].folder, base.folder)
    _check_ids(bases)
    wanted = request("merge", out, recipe, bases=[base.manifest for base in bases])
    with locked(out) as finished:
        if finished == wanted:
            return Manifest.read(out)
        work = open_work(out, wanted, progress)
        keys = [base.keys for base in bases]
        return assemble(work, recipe, _together(bases), bases=keys, progress=progress)


def _check_ids(bases: Sequence[Base]) -> None:
    folder_of: dict[str, Path] = {}
    for base in bases:
        if clashing := [doc_id for doc_id in base.store.rows if doc_id in folder_of]:
            more = f" (and {len(clashing) - 1} more)" if len(clashing) > 1 else ""
            raise UserError(
                f"'{clashing[0]}'{more} is in {folder_of[clashing[0]]} and in {base.folder}; "
                "remove it from one of them first"
            )
        folder_of |= dict.fromkeys(base.store.rows, base.folder)


def _together(bases: Sequence[Base]) -> Iterator[Entry | Skipped]:
    """What several indexes hold and left out, in their order."""
    seen: Seen = {}
    for number, base in enumerate(bases):
        yield from read_skipped(base.folder)
        yield from _distinct(_kept(number, base), seen)


def _grown(
    base: Base, items: Iterator[Item], tokenizer: Any, file: Path, update: bool
) -> Iterator[Entry | Skipped]:
    """What the index holds, without what ``items`` replace, then what is new in them."""
    changed = changes(base.store, items, file, update)
    new = changed.items()
    if not base.manifest.keep_duplicates:
        held = (entry.document for entry in _kept(0, base, changed.replaced))
        new = without_near_duplicates(new, held)
    seen: Seen = {}
    yield from (skipped for skipped in read_skipped(base.folder) if skipped not in changed)
    yield from _distinct(_kept(0, base, changed.replaced), seen)
    yield from _distinct(tokenized(new, tokenizer), seen)


def _kept(number: int, base: Base, left_out: Collection[int] = ()) -> Iterator[Entry]:
    """The documents of a base but those in the rows ``left_out``, with the place of their keys."""
    store = base.store
    for row in store.present():
        if row % GIVEN_BACK == 0:
            store.give_back()
        if row not in left_out:
            origin = (number, store.chunks_of(row).start)
            yield Entry(store.document(row), store.tokenized(row), origin)


def _distinct(entries: Iterator[Entry | Skipped], seen: Seen) -> Iterator[Entry | Skipped]:
    for entry in entries:
        if isinstance(entry, Skipped):
            yield entry
            continue
        document = entry.document
        digest = text_digest(document.text)
        if (first := seen.setdefault(digest, document.id)) == document.id:
            yield entry
        else:
            yield Skipped(document.source, f"'{document.id}' has the same text as '{first}'")
