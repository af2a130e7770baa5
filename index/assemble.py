"""Makes a version of an index from a stream of documents: store → words → keys → FAISS → manifest.

Every stage ends with a line in the journal (``index.folder``), and so does every shard of keys:
what is whole is never made again. Keys that another index holds are copied, not computed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import Array, ArrayWriter, give_back, mapped, reserve
from index.chunks import TokenizedText
from index.dense import own_distances
from index.disk import flush
from index.engines import Encode, nothing_new
from index.errors import UserError
from index.faiss_store import FILE, FaissStore, faiss_type, fitted
from index.folder import Request, Work
from index.lexical import write_lexical
from index.manifest import FORMAT, NAME, Manifest
from index.milvus_store import MilvusStore
from index.progress import bar
from index.recipe import Recipe
from index.request import differences
from index.reuse import Held, earlier, origin, set_aside, whole_keys
from index.sources import UNKNOWN_TYPE, Document, Skipped, known_types
from index.store import StoreWriter, TokenStore

SKIPPED = "skipped.jsonl"
SHARD = 512
"""Chunks embedded, written and noted at a time: what a kill can lose."""


@dataclass(frozen=True)
class Entry:
    """A document on its way into an index.

    ``origin``: number of the base and chunk there from which its keys are copied; None if they
    are to be computed, or copied from where the same document is held.
    """

    document: Document
    tokens: TokenizedText
    origin: tuple[int, int] | None = None


def open_work(out: Path, request: Request, progress: bool) -> Work:
    """The unfinished work that made the same thing, or new work; says on stderr which."""
    work = Work.found(out)
    if work is None:
        return Work.begin(out, request)
    if changed := differences(work.request, request):
        kept = "; keys of documents that stay are copied" if set_aside(work, request) else ""
        _say(f"{out}: starting anew, other than last time: {changed}{kept}", progress)
    elif not work.intact():
        _say(f"{out}: starting anew, files of the unfinished build are gone", progress)
    else:
        _say(f"{out}: going on with the unfinished build of {work.built}", progress)
        work.mend()
        return work
    return Work.begin(out, request)


def assemble(
    work: Work,
    recipe: Recipe,
    entries: Iterable[Entry | Skipped],
    *,
    encode: Encode = nothing_new,
    bases: Sequence[Array] = (),
    held: Sequence[Held] = (),
    progress: bool = True,
) -> Manifest:
    """Makes, or goes on making, the version that ``work`` is for, and publishes it.

    ``entries`` is read only if the store is not whole yet. ``bases`` are the keys [chunks, dim]
    of the indexes that entries come from; those of others are copied if they are ``held``, there
    or by work that was set aside, else ``encode`` makes them.

    Raises:
        UserError: no entry is a document; the work is dropped.
    """
    held = [*held, *earlier(work)]
    known = partial(origin, held=held, number=len(bases))
    bases = [*bases, *(one.keys for one in held)]
    try:
        stored = work.stage("store") or _write_store(work, recipe, entries, known, progress)
    except UserError:
        work.drop()
        raise
    # Each stage maps the store anew: what one has read does not count as memory of the next.
    if not work.stage("words"):
        _write_words(TokenStore(work.files), work.files, progress)
        work.finish("words")
    if not work.stage("keys"):
        _write_keys(work, TokenStore(work.files), recipe.dim, encode, bases, progress)
        work.finish("keys")
    dense = work.stage("dense") or _write_dense(work, recipe, progress)
    manifest = Manifest(
        format=FORMAT,
        version=work.version,
        built=work.built,
        **{name: stored[name] for name in ("num_documents", "num_chunks", "num_tokens")},
        num_skipped=stored["num_skipped"],
        **asdict(recipe),
        faiss_type=dense["faiss_type"],
        libraries=work.request["libraries"],
        files=work.records(),
        own_distances=tuple(dense["own_distances"]),
        num_probes=dense["num_probes"],
        recall_at_10=dense["recall_at_10"],
    )
    manifest.write(work.folder / NAME)
    published = work.publish()
    if recipe.store:
        MilvusStore(recipe.store, work.version, published.num_probes).drop_others()
    return published


def key_text(store: TokenStore, chunk: int) -> str:
    """What is embedded for a chunk: the title tells what its "it" and "he" stand for."""
    row, start, end = store.chunk_span(chunk)
    return store.document(row).titled(start, end, ". ")


def read_skipped(folder: Path) -> Iterator[Skipped]:
    """What was left out of an index, and why.

    Raises:
        UserError: there is no index in ``folder``.
    """
    file = folder / Manifest.read(folder).version / SKIPPED
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield Skipped(**json.loads(line))


def _write_store(
    work: Work,
    recipe: Recipe,
    entries: Iterable[Entry | Skipped],
    known: Callable[[Document], tuple[int, int] | None],
    progress: bool,
) -> dict[str, Any]:
    """Documents, tokens, what was left out, and beside the files where keys come from."""
    first: Skipped | None = None
    num_skipped = 0
    with (
        StoreWriter(work.files, recipe.vocab_size, recipe.chunk_size) as writer,
        ArrayWriter(work.folder / "origins.npy", np.int64, (2,)) as origins,
        (work.files / SKIPPED).open("w", encoding="utf-8") as skipped,
    ):
        for entry in bar(entries, "Reading", "doc", progress):
            if isinstance(entry, Entry):
                writer.add(entry.document, entry.tokens)
                origins.extend(entry.origin or known(entry.document) or (-1, -1))
                continue
            first = first or entry
            num_skipped += not entry.kept
            skipped.write(json.dumps(vars(entry), ensure_ascii=False) + "\n")
        if not writer.num_documents:
            raise UserError(_nothing(first, num_skipped))
    flush(work.folder / "origins.npy")
    return work.finish(
        "store",
        num_documents=writer.num_documents,
        num_chunks=writer.num_chunks,
        num_tokens=writer.num_tokens,
        num_skipped=num_skipped,
    )


def _nothing(first: Skipped | None, count: int) -> str:
    if first is None:
        return "no documents in the sources; give files or folders with .txt .md .html .pdf …"
    more = f" (and {count - 1} more)" if count > 1 else ""
    known = f" ({known_types()})" if first.by == UNKNOWN_TYPE else ""
    return (
        f"nothing to index, all was skipped: {first.source}: {first.reason}{more}; "
        f"mend or convert the files{known}"
    )


def _write_words(store: TokenStore, folder: Path, progress: bool) -> None:
    """BM25 over ``title [N, F]``: with its continuation a chunk is found more often."""
    parts = _parts(store, 0)
    texts = (store.titled(chunk) for part in parts for chunk in part)
    write_lexical(bar(texts, "Words", "chunk", progress, len(store)), folder / "bm25")


def _write_keys(
    work: Work,
    store: TokenStore,
    dim: int,
    encode: Encode,
    bases: Sequence[Array],
    progress: bool,
) -> None:
    """Keys of ``title. N``, float16 [chunks, dim], shard by shard, from the first missing one."""
    file, shape = work.files / "keys.npy", (len(store), dim)
    done = whole_keys(work, shape)
    if done:
        _say(f"continuing at chunk {done:,} of {len(store):,}", progress)
    else:
        scratch = work.folder / "keys.npy"  # under its name it is never shorter than it says
        reserve(scratch, np.float16, shape)
        scratch.replace(file)
    origins = mapped(work.folder / "origins.npy")
    shards = partial(_shards, store, origins, [len(base) for base in bases], done)
    texts = ([key_text(store, n) for n in chunks[new]] for chunks, _, new in shards() if new.any())
    computed = encode(texts)
    with bar(None, "Keys", "chunk", progress, len(store), done) as line:
        for chunks, places, new in shards():
            keys = _copied(places, dim, bases)
            if new.any():
                keys[new] = next(computed)
            start = int(chunks[0])
            _write_shard(file, start, keys)
            work.note({"shard": [start, len(keys), sha256(keys.tobytes()).hexdigest()]})
            line.update(len(keys))


def _shards(
    store: TokenStore, origins: Array, sizes: Sequence[int], done: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """The chunks of every shard from ``done`` on; base and row there of each one's key [n, 2]; and
    which are new: no base, of so many keys each, has theirs."""
    for part in _parts(store, done):
        chunks = np.asarray(part)
        rows = store.document_rows()[chunks]
        base, first = origins[rows].T
        place = first + chunks - store.first_chunks()[rows]
        known = (base >= 0) & (base < len(sizes))
        new = ~known | (place >= np.array([*sizes, 0])[np.where(known, base, -1)])
        yield chunks, np.where(new, -1, [base, place]).T, new


def _parts(store: TokenStore, first: int) -> Iterator[range]:
    """The chunks from ``first`` on, ``SHARD`` at a time; what was read of one part is given back
    before the next."""
    for start in range(first, len(store), SHARD):
        yield range(start, min(start + SHARD, len(store)))
        store.give_back()


def _copied(places: NDArray[np.int64], dim: int, bases: Sequence[Array]) -> NDArray[np.float16]:
    """Keys, float16 [n, dim], of ``places`` (base, row), [n, 2]; those of no base are unset."""
    keys = np.empty((len(places), dim), dtype=np.float16)
    for number, held in enumerate(bases):
        kept = np.flatnonzero(places[:, 0] == number)
        keys[kept] = held[places[kept, 1]]
        give_back(held)
    return keys


def _write_shard(file: Path, start: int, keys: NDArray[np.float16]) -> None:
    """Mapped anew for each shard, so that written pages do not count as this process's memory."""
    whole = np.lib.format.open_memmap(file, "r+")
    whole[start : start + len(keys)] = keys
    whole.flush()


def _write_dense(work: Work, recipe: Recipe, progress: bool) -> dict[str, Any]:
    """Puts the keys where they are searched, and measures how near this database's chunks are."""
    keys = mapped(work.files / "keys.npy")
    vectors: FaissStore | MilvusStore
    kind = ""
    if uri := recipe.store:
        vectors, recall = MilvusStore.write(uri, work.version, keys, str(work.out.resolve()))
    else:
        kind, vectors, recall = _write_faiss(work, keys, recipe.faiss, progress)
    distances = own_distances(keys, TokenStore(work.files).document_rows())
    return work.finish(
        "dense",
        faiss_type=kind,
        own_distances=[round(float(distance), 6) for distance in distances],
        num_probes=vectors.probes,
        recall_at_10=round(recall, 4),
    )


def _write_faiss(
    work: Work, keys: Array, wanted: str, progress: bool
) -> tuple[str, FaissStore, float]:
    """The type that was made, the store and its recall@10. Keys too few for the wanted type to be
    trained get the one that suits their number, and no work is lost."""
    file, usual = work.files / FILE, faiss_type(len(keys))
    kind = fitted(wanted, len(keys)) or usual
    try:
        return (kind, *FaissStore.write(file, keys, kind, work.folder))
    except RuntimeError as error:
        if kind == usual:
            raise
        reason = str(error).strip().splitlines()[-1]
        _say(f"{kind} cannot be made of {len(keys):,} keys ({reason}); made {usual}", progress)
        return (usual, *FaissStore.write(file, keys, usual, work.folder))


def _say(text: str, progress: bool) -> None:
    if progress:
        print(text, file=sys.stderr)
