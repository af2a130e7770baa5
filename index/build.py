"""Builds an index: documents → store → words → keys → FAISS → manifest, one artefact a step."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from index.chunks import CHUNK_SIZE, tokenize, tokenizer_fingerprint
from index.dedupe import without_near_duplicates
from index.dense import build_faiss, faiss_type, own_distances
from index.errors import UserError
from index.folder import check_out, next_version, publish, workplace
from index.keys import KeyEncoder, open_encoder
from index.lexical import LexicalIndex
from index.manifest import FORMAT, PROBE_TEXT, Manifest, record_files
from index.sources import Document, Item, Skipped, read_documents
from index.store import StoreWriter, TokenStore
from index.weights import load_tokenizer

SKIPPED = "skipped.jsonl"
BLOCK = 512
"""Chunks embedded between two steps of the progress line."""
BLOCK_CHARACTERS = 1_000_000
"""Characters tokenized at a time."""


def build_index(
    sources: Sequence[Path],
    out: Path,
    *,
    embedder: str | KeyEncoder = "minilm",
    tokenizer: str | Any = "smollm2-135m",
    chunk_size: int = CHUNK_SIZE,
    keep_duplicates: bool = False,
    progress: bool = True,
) -> Manifest:
    """Builds the index of ``sources`` in the folder ``out``, replacing the index it held.

    ``embedder`` and ``tokenizer`` are names for ``index.weights.resolve``, or the things
    themselves. Near duplicates are left out unless ``keep_duplicates``. Until the last step
    nothing that was in ``out`` changes.

    Raises:
        UserError: a source does not exist, no document has any text, or ``out`` holds
            something that is not an index.
    """
    out = Path(out)
    check_out(out)
    items = read_documents([Path(source) for source in sources])
    items = items if keep_duplicates else without_near_duplicates(items)
    decoder = load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
    encoder = open_encoder(_lasting(embedder)) if isinstance(embedder, str) else embedder
    with workplace(out) as folder:
        num_skipped = _write_store(items, folder, decoder, chunk_size, progress)
        store = TokenStore(folder)
        _write_words(store, folder, progress)
        keys = _write_keys(store, encoder, folder, progress)
        faiss_index = _write_faiss(keys, folder)
        manifest = Manifest(
            format=FORMAT,
            version=next_version(out),
            built=datetime.now(UTC).isoformat(timespec="seconds"),
            num_documents=store.num_documents,
            num_chunks=len(store),
            num_tokens=store.num_tokens,
            num_skipped=num_skipped,
            chunk_size=chunk_size,
            embedder=encoder.name,
            embedder_sha256=encoder.fingerprint,
            dim=encoder.dim,
            probe=_floats(encoder.encode([PROBE_TEXT])[0]),
            tokenizer=_lasting(tokenizer if isinstance(tokenizer, str) else decoder.name_or_path),
            tokenizer_sha256=tokenizer_fingerprint(decoder),
            vocab_size=len(decoder),
            faiss_type=faiss_type(len(keys)),
            libraries=_libraries(),
            files=record_files(folder),
            own_distances=_floats(own_distances(faiss_index, keys, store.document_rows())),
        )
        publish(folder, out, manifest)
    return manifest


def _lasting(name: str) -> str:
    """A name that finds the same weights from any working directory."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if name and folder.is_dir() else name


def read_skipped(out: Path) -> list[Skipped]:
    """What the build of an index left out, and why.

    Raises:
        UserError: there is no index in ``out``.
    """
    file = out / Manifest.read(out).version / SKIPPED
    return [Skipped(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def _write_store(
    items: Iterator[Item], folder: Path, tokenizer: Any, chunk_size: int, progress: bool
) -> int:
    """Writes documents, tokens and ``skipped.jsonl``; the number of items left out."""
    skipped: list[Skipped] = []
    with StoreWriter(folder, len(tokenizer), chunk_size) as writer:
        for block in _batches(_bar(items, "Reading", "doc", progress)):
            skipped += [i for i in block if isinstance(i, Skipped)]
            documents = [i for i in block if isinstance(i, Document)]
            texts = tokenize(tokenizer, [d.text for d in documents])
            for document, tokens in zip(documents, texts, strict=True):
                if len(tokens.ids):
                    writer.add(document, tokens)
                else:
                    skipped.append(Skipped(document.source, "no tokens"))
        if not writer.num_documents:
            raise UserError(_nothing(skipped))
    rows = "".join(json.dumps(vars(s), ensure_ascii=False) + "\n" for s in skipped)
    (folder / SKIPPED).write_text(rows, encoding="utf-8")
    return sum(not item.kept for item in skipped)


def _nothing(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return "no documents in the sources; give files or folders with .txt .md .html .pdf …"
    first = f"{skipped[0].source}: {skipped[0].reason}"
    more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    return f"nothing to index, all was skipped: {first}{more}; mend or convert the files"


def _write_words(store: TokenStore, folder: Path, progress: bool) -> None:
    """BM25 over ``title [N, F]``: with its continuation a chunk is found more often."""
    texts = (_titled(store, " ", *store.span(chunk)) for chunk in range(len(store)))
    LexicalIndex.build(_bar(texts, "Words", "chunk", progress, len(store))).save(folder / "bm25")


def _write_keys(store: TokenStore, encoder: KeyEncoder, folder: Path, progress: bool) -> Any:
    """Keys of ``title. N``, float16 [chunks, dim], mapped from the file written."""
    shape = (len(store), encoder.dim)
    keys = np.lib.format.open_memmap(folder / "keys.npy", "w+", np.float16, shape)
    with _bar(None, "Keys", "chunk", progress, len(store)) as bar:
        for chunks in _blocks(range(len(store)), BLOCK):
            keys[chunks] = encoder.encode([key_text(store, chunk) for chunk in chunks])
            bar.update(len(chunks))
    keys.flush()
    return keys


def key_text(store: TokenStore, chunk: int) -> str:
    """What is embedded for a chunk: the title tells what its "it" and "he" stand for."""
    return _titled(store, ". ", *store.chunk_span(chunk))


def _titled(store: TokenStore, mark: str, row: int, start: int, end: int) -> str:
    document = store.document(row)
    return mark.join(part for part in (document.title, document.text[start:end]) if part)


def _write_faiss(keys: Any, folder: Path) -> Any:
    import faiss

    faiss_index = build_faiss(keys, faiss_type(len(keys)))
    faiss.write_index(faiss_index, str(folder / "faiss.index"))
    return faiss_index


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _libraries() -> dict[str, str]:
    """Versions of what shaped the files."""
    found = {}
    for name in ("retro-abstain", "bm25s", "numpy", "pystemmer", "tokenizers", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout, never installed
            continue
    return found


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


def _blocks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while block := list(islice(rest, size)):
        yield block


def _bar(items: Any, label: str, unit: str, progress: bool, total: int | None = None) -> Any:
    """A progress line with its rate on stderr; a rare one where nobody sits before it."""
    from tqdm import tqdm

    pause = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(
        items,
        desc=label,
        unit=unit,
        total=total,
        disable=not progress,
        mininterval=pause,
        delay=0.5,
    )
