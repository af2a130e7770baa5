"""Builds an index of files and folders: reads and tokenizes, the rest is ``index.assemble``'s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from index.assemble import Entry, assemble, open_work
from index.chunks import CHUNK_SIZE, tokenize
from index.dedupe import without_near_duplicates
from index.engines import Engine, encode_with
from index.errors import UserError
from index.faiss_store import check_type
from index.filters import NO_FILTERS, Filters
from index.folder import check_out, locked
from index.keys import KeyEncoder, open_encoder
from index.manifest import Manifest
from index.milvus_store import check_uri
from index.recipe import Recipe, lasting
from index.request import is_done, request
from index.reuse import replaced
from index.sources import Document, Item, Skipped, read_documents
from index.weights import EMBEDDER, load_tokenizer

BLOCK_CHARACTERS = 200_000
"""Characters tokenized at a time."""


def build_index(
    sources: Sequence[Path],
    out: Path,
    *,
    embedder: str | KeyEncoder = EMBEDDER,
    tokenizer: str | Any = "smollm2-135m",
    chunk_size: int = CHUNK_SIZE,
    store: str = "",
    faiss: str = "",
    keep_duplicates: bool = False,
    filters: Filters = NO_FILTERS,
    engine: Engine = "local",
    progress: bool = True,
) -> Manifest:
    """Builds the index of ``sources`` in the folder ``out``, replacing the index it held.

    ``embedder`` and ``tokenizer`` are names for ``index.weights.resolve``, or the things
    themselves. ``store``: a Milvus server for the keys (``index.milvus_store``), else FAISS, of the
    type ``faiss`` (a factory string; default: by their number).
    ``engine``: where keys are computed, in this process or on a Ray cluster.
    Near duplicates are left out unless ``keep_duplicates``, and before them what ``filters`` say.
    Until the last step nothing that was in ``out`` changes. A build that was killed or broke goes
    on where it stood when it is started again, and gives the same bytes. Of documents that ``out``
    holds, or a build left unfinished there, the keys are copied (``index.reuse``).

    Raises:
        UserError: a source does not exist, no document has any text, ``out`` holds something
            that is not an index, or FAISS has no such type.
    """
    out = Path(out)
    check_out(out)
    if store:
        check_uri(store)
        if faiss:
            raise UserError("--faiss-type: the keys are to go to Milvus; leave out one of the two")
    sources = [Path(source) for source in sources]
    items = read_documents(sources, filters)
    items = items if keep_duplicates else without_near_duplicates(items)
    decoder = load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
    encoder = open_encoder(lasting(embedder)) if isinstance(embedder, str) else embedder
    name = tokenizer if isinstance(tokenizer, str) else decoder.name_or_path
    recipe = Recipe.of(encoder, name, decoder, chunk_size, store, keep_duplicates, faiss)
    if faiss:
        check_type(faiss, recipe.dim)
    wanted = request("build", out, recipe, sources=sources, **filters.identity())
    with locked(out) as finished:
        if is_done(finished, wanted):
            return Manifest.read(out)
        held = replaced(out, wanted)
        wanted["bases"] = [one.fingerprint for one in held]
        work = open_work(out, wanted, progress)
        entries = tokenized(items, decoder)
        encode = encode_with(encoder, engine)
        return assemble(work, recipe, entries, encode=encode, held=held, progress=progress)


def tokenized(items: Iterable[Item], tokenizer: Any) -> Iterator[Entry | Skipped]:
    """The documents with their tokens, and all that is left out, in blocks of like order."""
    for block in _batches(items):
        yield from (item for item in block if isinstance(item, Skipped))
        documents = [item for item in block if isinstance(item, Document)]
        texts = tokenize(tokenizer, [document.text for document in documents])
        for document, tokens in zip(documents, texts, strict=True):
            if len(tokens.ids):
                yield Entry(document, tokens)
            else:
                yield Skipped(document.source, "no tokens")


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items in order, some ``BLOCK_CHARACTERS`` of text at a time."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item.text) if isinstance(item, Document) else 100
        if size > BLOCK_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
