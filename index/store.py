"""The token store: documents, their tokens and chunks, memory-mapped; knows no keys and no search.

documents.jsonl       one document a line: id, title, source, text
document_starts.npy   int64 [documents + 1]   byte where each line begins
document_ids.json     the ids alone, in order
document_chunks.npy   int64 [documents + 1]   first chunk of each document
chunk_starts.npy      int64 [chunks + 1]      first token of each chunk
chunk_documents.npy   int32 [chunks]          document row of each chunk
tokens.npy            uint16 or uint32 [tokens]
token_offsets.npy     uint32 [tokens, 2]      characters of each token in its document
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index.chunks import CHUNK_SIZE, TokenizedText, chunk_lens
from index.sources import Document

Array = NDArray[Any]


class TokenStore:
    """Chunks and documents of an index, read from disk as they are asked for.

    ``chunk_id`` counts chunks over all documents in order, so a chunk's continuation, where there
    is one, is ``chunk_id + 1``. ``len(store)`` is the number of chunks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tokens = _map(folder / "tokens.npy")
        self._offsets = _map(folder / "token_offsets.npy")
        self._chunk_starts = _map(folder / "chunk_starts.npy")
        self._chunk_documents = _map(folder / "chunk_documents.npy")
        self._document_chunks = _map(folder / "document_chunks.npy")
        self._document_starts = _map(folder / "document_starts.npy")
        self._lines = np.asarray(np.memmap(folder / "documents.jsonl", dtype=np.uint8, mode="r"))
        self._cached = lru_cache(maxsize=64)(self._read_document)

    def __len__(self) -> int:
        return len(self._chunk_documents)

    @property
    def num_documents(self) -> int:
        return len(self._document_starts) - 1

    @property
    def num_tokens(self) -> int:
        return len(self._tokens)

    def tokens(self, chunk_id: int) -> Array:
        """Token ids of one chunk N, [<= chunk_size]."""
        return np.asarray(self._tokens[slice(*self._chunk_starts[[chunk_id, chunk_id + 1]])])

    def value(self, chunk_id: int) -> Array:
        """Token ids of [N, F]: the chunk and its continuation, [<= 2 * chunk_size]."""
        return np.asarray(self._tokens[self._window(chunk_id)])

    def offsets(self, chunk_id: int) -> NDArray[np.int64]:
        """Characters in the document of each token of [N, F], [<= 2 * chunk_size, 2]."""
        return np.asarray(self._offsets[self._window(chunk_id)], dtype=np.int64)

    def span(self, chunk_id: int) -> tuple[int, int, int]:
        """``(document_row, start, end)``: characters of the [N, F] window in the document."""
        window = self._window(chunk_id)
        return (self.document_row(chunk_id), *self._characters(window))

    def chunk_span(self, chunk_id: int) -> tuple[int, int, int]:
        """``(document_row, start, end)``: characters of the chunk N alone in the document."""
        window = slice(*self._chunk_starts[[chunk_id, chunk_id + 1]])
        return (self.document_row(chunk_id), *self._characters(window))

    def document_row(self, chunk_id: int) -> int:
        return int(self._chunk_documents[chunk_id])

    def document_rows(self) -> NDArray[np.int32]:
        """Document row of every chunk, int32 [chunks]."""
        return self._chunk_documents

    def chunks_of(self, document_row: int) -> range:
        """The chunk ids of one document."""
        return range(*(int(c) for c in self._document_chunks[[document_row, document_row + 1]]))

    def document(self, row: int) -> Document:
        if not 0 <= row < self.num_documents:
            raise IndexError(f"document row {row}, the store has {self.num_documents}")
        return self._cached(row)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Document row by document id."""
        ids = json.loads((self.folder / "document_ids.json").read_text(encoding="utf-8"))
        return {doc_id: row for row, doc_id in enumerate(ids)}

    def _read_document(self, row: int) -> Document:
        start, end = (int(b) for b in self._document_starts[[row, row + 1]])
        return Document(**json.loads(self._lines[start:end].tobytes()))

    def continuation(self, chunk_id: int) -> int:
        """The next chunk of the same document, or ``chunk_id`` itself where it is the last."""
        following = chunk_id + 1
        same = following < len(self) and (
            self._chunk_documents[following] == self._chunk_documents[chunk_id]
        )
        return following if same else chunk_id

    def _window(self, chunk_id: int) -> slice:
        return slice(*self._chunk_starts[[chunk_id, self.continuation(chunk_id) + 1]])

    def _characters(self, window: slice) -> tuple[int, int]:
        return int(self._offsets[window.start, 0]), int(self._offsets[window.stop - 1, 1])


class StoreWriter:
    """Writes a token store document by document; memory grows with chunks, not with text.

    A context: the folder is a store once it is left without an error.
    """

    def __init__(self, folder: Path, vocab_size: int, chunk_size: int = CHUNK_SIZE) -> None:
        self._folder, self._chunk_size = folder, chunk_size
        self._token_type = np.uint16 if vocab_size < 2**16 else np.uint32
        self._lines = (folder / "documents.jsonl").open("wb")
        self._tokens = (folder / "tokens.raw").open("wb")
        self._offsets = (folder / "token_offsets.raw").open("wb")
        self._document_starts, self._document_chunks = [0], [0]
        self._chunk_starts: list[int] = [0]
        self._chunk_documents: list[int] = []
        self._ids: list[str] = []

    @property
    def num_documents(self) -> int:
        return len(self._ids)

    def add(self, document: Document, tokens: TokenizedText) -> None:
        """Appends one document with at least one token."""
        assert len(tokens.ids), "a document without tokens has no chunks"
        line = json.dumps(vars(document), ensure_ascii=False).encode() + b"\n"
        self._lines.write(line)
        self._tokens.write(tokens.ids.astype(self._token_type).tobytes())
        self._offsets.write(tokens.offsets.astype(np.uint32).tobytes())
        lens = chunk_lens(len(tokens.ids), self._chunk_size)
        self._chunk_starts += [int(s) for s in self._chunk_starts[-1] + np.cumsum(lens)]
        self._chunk_documents += [len(self._ids)] * len(lens)
        self._ids.append(document.id)
        self._document_starts.append(self._document_starts[-1] + len(line))
        self._document_chunks.append(len(self._chunk_documents))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        for stream in (self._lines, self._tokens, self._offsets):
            stream.close()
        if error is None:
            self._write_tables()

    def _write_tables(self) -> None:
        num_tokens = self._chunk_starts[-1]
        _raw_to_npy(self._folder / "tokens.raw", self._token_type, (num_tokens,))
        _raw_to_npy(self._folder / "token_offsets.raw", np.uint32, (num_tokens, 2))
        self._save("document_starts", self._document_starts, np.int64)
        self._save("document_chunks", self._document_chunks, np.int64)
        self._save("chunk_starts", self._chunk_starts, np.int64)
        self._save("chunk_documents", self._chunk_documents, np.int32)
        ids = json.dumps(self._ids, ensure_ascii=False)
        (self._folder / "document_ids.json").write_text(ids, encoding="utf-8")

    def _save(self, name: str, values: Iterable[int], dtype: Any) -> None:
        np.save(self._folder / f"{name}.npy", np.asarray(values, dtype=dtype), allow_pickle=False)


def _map(file: Path) -> Array:
    """An array on disk; as a plain view, which is indexed three times faster than a memmap."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _raw_to_npy(raw: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    """Copies a raw file in pieces into an ``.npy`` of the same name, and removes it."""
    out = np.lib.format.open_memmap(raw.with_suffix(".npy"), mode="w+", dtype=dtype, shape=shape)
    source = np.memmap(raw, dtype=dtype, mode="r", shape=shape)
    for start in range(0, shape[0], 1 << 22):
        out[start : start + (1 << 22)] = source[start : start + (1 << 22)]
    out.flush()
    del source
    raw.unlink()
