"""Writes an index out as Parquet, for other tools; needs the extra ``ingest``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from index.arrays import mapped
from index.errors import UserError
from index.manifest import Manifest
from index.store import TokenStore

_NAMES = ("title", "source", "trust", "date")
BLOCK = 10_000
"""Chunks in a row group."""


def export_parquet(folder: Path, out: Path, *, keys: bool = False) -> int:
    """Writes a row for every chunk: ``doc_id, title, source, trust, date, text, start, end`` and,
    if asked, ``key``.

    ``start`` and ``end`` are characters of the document; ``key`` is float16 [dim]. Documents that
    were removed are left out. Returns the number of rows.

    Raises:
        UserError: there is no index in ``folder``, it is damaged, or ``out`` has no folder.
    """
    import pyarrow as pa
    from pyarrow import parquet

    manifest = Manifest.read(folder)
    manifest.check_sizes(folder)
    files = folder / manifest.version
    store = TokenStore(files, manifest.removed)
    words = dict.fromkeys(("doc_id", "title", "source", "trust", "date", "text"), pa.string())
    schema = pa.schema({**words, "start": pa.int64(), "end": pa.int64()})
    held = mapped(files / "keys.npy") if keys else None
    if held is not None:
        schema = schema.append(pa.field("key", pa.list_(pa.float16(), manifest.dim)))
    if not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}; make it, or give another --out")
    scratch = out.with_name(f".{out.name}.new")
    with parquet.ParquetWriter(scratch, schema) as writer:
        for block in _blocks(store):
            columns = _columns(store, block)
            if held is not None:
                flat = pa.array(held[block].reshape(-1))
                columns["key"] = pa.FixedSizeListArray.from_arrays(flat, manifest.dim)
            writer.write_table(pa.table(columns, schema=schema))
    scratch.replace(out)
    return manifest.num_chunks


def _blocks(store: TokenStore) -> Iterator[list[int]]:
    block: list[int] = []
    for row in store.present():
        block += store.chunks_of(row)
        if len(block) >= BLOCK:
            yield block
            block = []
    if block:
        yield block


def _columns(store: TokenStore, chunks: list[int]) -> dict[str, Any]:
    spans = [store.chunk_span(chunk) for chunk in chunks]
    documents = [store.document(row) for row, _, _ in spans]
    texts = [d.text[a:b] for d, (_, a, b) in zip(documents, spans, strict=True)]
    return {
        "doc_id": [document.id for document in documents],
        **{name: [getattr(d, name) for d in documents] for name in _NAMES},
        "title": [d.title_at(start) for d, (_, start, _) in zip(documents, spans, strict=True)],
        "text": texts,
        "start": [start for _, start, _ in spans],
        "end": [end for _, _, end in spans],
    }
