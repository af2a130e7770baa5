"""Builds an index: documents → store → words → keys → FAISS → manifest, one artefact a step."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from index.chunks import CHUNK_SIZE, tokenize, tokenizer_fingerprint
from index.dense import build_faiss, faiss_type
from index.errors import UserError
from index.keys import KeyEncoder, open_encoder
from index.lexical import LexicalIndex
from index.manifest import FORMAT, NAME, Manifest, record_files
from index.retriever import PROBE_TEXT
from index.sources import Document, Skipped, read_documents
from index.store import StoreWriter, TokenStore
from index.weights import load_tokenizer

SKIPPED = "skipped.jsonl"
BLOCK = 2048
"""Chunks embedded, and documents tokenized, at a time."""


def build_index(
    sources: Sequence[Path],
    out: Path,
    *,
    embedder: str | KeyEncoder = "minilm",
    tokenizer: str | Any = "smollm2-135m",
    chunk_size: int = CHUNK_SIZE,
    progress: bool = True,
) -> Manifest:
    """Builds the index of ``sources`` in the folder ``out``, replacing the index it held.

    ``embedder`` and ``tokenizer`` are names for ``index.weights.resolve``, or the things
    themselves. Until the last step nothing that was in ``out`` changes.

    Raises:
        UserError: a source does not exist, no document has any text, or ``out`` holds
            something that is not an index.
    """
    out = Path(out)
    _check_out(out)
    sources = [Path(s) for s in sources]
    if isinstance(tokenizer, str):
        tokenizer_name, tokenizer = tokenizer, load_tokenizer(tokenizer)
    else:
        tokenizer_name = tokenizer.name_or_path
    encoder = open_encoder(embedder) if isinstance(embedder, str) else embedder
    out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=out))
    try:
        skipped = write_store(sources, scratch, tokenizer, chunk_size, progress)
        store = TokenStore(scratch)
        write_lexical(store, scratch, progress)
        write_keys(store, encoder, scratch, progress)
        kind = write_faiss(scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    manifest = Manifest(
        format=FORMAT,
        version=_next_version(out),
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        num_documents=store.num_documents,
        num_chunks=len(store),
        num_tokens=store.num_tokens,
        num_skipped=len(skipped),
        chunk_size=chunk_size,
        embedder=encoder.name,
        embedder_sha256=encoder.fingerprint,
        dim=encoder.dim,
        probe=tuple(float(x) for x in encoder.encode([PROBE_TEXT])[0]),
        tokenizer=tokenizer_name,
        tokenizer_sha256=tokenizer_fingerprint(tokenizer),
        vocab_size=len(tokenizer),
        faiss_type=kind,
        libraries=_libraries(),
        files=record_files(scratch),
    )
    _publish(scratch, out, manifest)
    return manifest


def write_store(
    sources: Sequence[Path], folder: Path, tokenizer: Any, chunk_size: int, progress: bool
) -> list[Skipped]:
    writer = StoreWriter(folder, len(tokenizer), chunk_size)
    skipped: list[Skipped] = []
    items = _bar(read_documents(sources), "reading", "doc", progress)
    for block in _blocks(items, 512):
        skipped += [i for i in block if isinstance(i, Skipped)]
        documents = [i for i in block if isinstance(i, Document)]
        for document, tokens in zip(
            documents, tokenize(tokenizer, [d.text for d in documents]), strict=True
        ):
            writer.add(document, tokens)
    writer.close()
    rows = "".join(json.dumps(vars(s), ensure_ascii=False) + "\n" for s in skipped)
    (folder / SKIPPED).write_text(rows, encoding="utf-8")
    return skipped


def read_skipped(folder: Path) -> list[Skipped]:
    """What the build of an index left out, and why.

    Raises:
        UserError: there is no index in ``folder``.
    """
    file = folder / Manifest.read(folder).version / SKIPPED
    return [Skipped(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def write_lexical(store: TokenStore, folder: Path, progress: bool) -> None:
    texts = (_window_text(store, chunk) for chunk in range(len(store)))
    LexicalIndex.build(_bar(texts, "words", "chunk", progress, len(store))).save(folder / "bm25")


def write_keys(store: TokenStore, encoder: KeyEncoder, folder: Path, progress: bool) -> None:
    shape = (len(store), encoder.dim)
    keys = np.lib.format.open_memmap(folder / "keys.npy", "w+", np.float16, shape)
    bar = _bar(None, "keys", "chunk", progress, len(store))
    for start in range(0, len(store), BLOCK):
        chunks = range(start, min(start + BLOCK, len(store)))
        keys[start : chunks.stop] = encoder.encode([_key_text(store, c) for c in chunks])
        bar.update(len(chunks))
    bar.close()
    keys.flush()


def write_faiss(folder: Path) -> str:
    import faiss

    keys = np.load(folder / "keys.npy", mmap_mode="r", allow_pickle=False)
    kind = faiss_type(len(keys))
    faiss.write_index(build_faiss(keys, kind), str(folder / "faiss.index"))
    return kind


def _key_text(store: TokenStore, chunk: int) -> str:
    row, start, end = store.chunk_span(chunk)
    document = store.document(row)
    text = document.text[start:end]
    return f"{document.title}. {text}" if document.title else text


def _window_text(store: TokenStore, chunk: int) -> str:
    row, start, end = store.span(chunk)
    document = store.document(row)
    return f"{document.title} {document.text[start:end]}"


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder with --out")
    if out.is_dir() and not (out / NAME).exists():
        if any(not f.name.startswith(".building-") for f in out.iterdir()):
            raise UserError(f"{out}: holds other files and no index; give a new folder with --out")


def _next_version(out: Path) -> str:
    numbers = [int(f.name[1:]) for f in out.glob("v*") if f.name[1:].isdigit()]
    return f"v{max(numbers, default=0) + 1}"


def _publish(scratch: Path, out: Path, manifest: Manifest) -> None:
    """Names the finished folder, points the manifest at it, then drops what it replaced."""
    older = [f for f in out.iterdir() if f.name.startswith("v") and f.is_dir()]
    scratch.chmod(0o755)
    scratch.rename(out / manifest.version)
    manifest.write(out)
    for folder in older:
        shutil.rmtree(folder, ignore_errors=True)


def _libraries() -> dict[str, str]:
    found = {}
    for name in ("retro-abstain", "bm25s", "numpy", "tokenizers", "torch", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _blocks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while block := list(islice(rest, size)):
        yield block


def _bar(items: Any, label: str, unit: str, progress: bool, total: int | None = None) -> Any:
    from tqdm import tqdm

    return tqdm(
        items,
        desc=label,
        unit=unit,
        total=total,
        disable=not progress,
        file=sys.stderr,
        unit_scale=True,
        mininterval=0.5,
    )
