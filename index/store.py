"""The token store: documents, their tokens and chunks, memory-mapped; knows no keys and no search.

documents.jsonl       one document a line: id, title, source, text; what it has of trust, date,
                      sections
document_starts.npy   int64 [documents + 1]   byte where each line begins
document_checks.npy   uint32 [documents]      CRC-32 of each line
document_table.jsonl  the ``Origin`` of each document: id, source, trust, date
document_chunks.npy   int64 [documents + 1]   first chunk of each document
chunk_starts.npy      int64 [chunks + 1]      first token of each chunk
chunk_documents.npy   int32 [chunks]          document row of each chunk
chunk_sections.npy    int32 [chunks]          number of its section in the document
chunk_checks.npy      uint32 [chunks]         CRC-32 of each chunk's tokens, offsets and place
tokens.npy            uint16 or uint32 [tokens]
token_offsets.npy     uint32 [tokens, 2]      characters of each token in its document

What is read is checked against its CRC, so that a damaged file gives an error, never wrong text.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, lru_cache, partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index.arrays import Array, ArrayWriter, give_back, mapped
from index.chunks import CHUNK_SIZE, TokenizedText, cut, whole_words
from index.errors import UserError
from index.sources import Document
from index.where import Origin

ARRAYS = {
    "document_starts": np.int64,
    "document_checks": np.uint32,
    "document_chunks": np.int64,
    "chunk_starts": np.int64,
    "chunk_documents": np.int32,
    "chunk_sections": np.int32,
    "chunk_checks": np.uint32,
}
TABLE = "document_table.jsonl"
SECTIONS = "chunk_sections"
_OPTIONAL = ("trust", "date", "sections", "pages")


class TokenStore:
    """Chunks and documents of an index, read from disk as they are asked for.

    ``chunk_id`` counts chunks over all documents in order, so a chunk's continuation, where there
    is one, is ``chunk_id + 1``. ``len(store)`` is the number of chunks. Documents in ``removed``
    (rows) keep their rows and chunks; ``rows`` and ``present`` leave them out.
    """

    def __init__(self, folder: Path, removed: Sequence[int] = ()) -> None:
        self.folder, self.removed = folder, frozenset(removed)
        self._tokens = mapped(folder / "tokens.npy")
        self._offsets = mapped(folder / "token_offsets.npy")
        tables = {name: mapped(folder / f"{name}.npy") for name in ARRAYS if name != SECTIONS}
        self._mapped = [self._tokens, self._offsets, *tables.values()]
        self._document_starts = tables["document_starts"]
        self._document_chunks = tables["document_chunks"]
        self._chunk_starts, self._chunk_checks = tables["chunk_starts"], tables["chunk_checks"]
        self._chunk_documents = tables["chunk_documents"]
        self._chunk_sections = _sections(folder, len(self._chunk_documents))
        self._lines = _bytes(folder / "documents.jsonl")
        self._table = _bytes(folder / TABLE)
        self._mapped += [self._lines, self._table, self._chunk_sections]
        # Not a method: a store that refers to itself would stay mapped after its last use.
        read = partial(_read_document, self._lines, tables, folder)
        self._cached = lru_cache(maxsize=64)(read)

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
        return np.asarray(self._tokens[self._checked(chunk_id)])

    def value(self, chunk_id: int) -> Array:
        """Token ids of [N, F]: the chunk and its continuation, [<= 2 * chunk_size]."""
        return np.asarray(self._tokens[self._window(chunk_id)])

    def offsets(self, chunk_id: int) -> NDArray[np.int64]:
        """Characters in the document of each token of [N, F], [<= 2 * chunk_size, 2]."""
        return np.asarray(self._offsets[self._window(chunk_id)], dtype=np.int64)

    def span(self, chunk_id: int) -> tuple[int, int, int]:
        """``(document_row, start, end)``: characters of the [N, F] window in the document, words
        at its ends whole."""
        row, window = self.document_row(chunk_id), self._window(chunk_id)
        return (row, *whole_words(self.document(row).text, *self._characters(window)))

    def chunk_span(self, chunk_id: int) -> tuple[int, int, int]:
        """``(document_row, start, end)``: characters of the chunk N alone in the document."""
        return (self.document_row(chunk_id), *self._characters(self._checked(chunk_id)))

    def titled(self, chunk_id: int) -> str:
        """The text of the window [N, F] behind the title that it stands under."""
        row, start, end = self.span(chunk_id)
        return self.document(row).titled(start, end)

    def document_row(self, chunk_id: int) -> int:
        return int(self._chunk_documents[chunk_id])

    def document_rows(self) -> NDArray[np.int32]:
        """Document row of every chunk, int32 [chunks]."""
        return self._chunk_documents

    def first_chunks(self) -> NDArray[np.int64]:
        """First chunk of every document, and the number of chunks, int64 [documents + 1]."""
        return self._document_chunks

    def chunks_of(self, document_row: int) -> range:
        """The chunk ids of one document."""
        return range(*(int(c) for c in self._document_chunks[[document_row, document_row + 1]]))

    def sections_of(self, document_row: int) -> list[range]:
        """The chunk ids of one document, section by section."""
        chunks = self.chunks_of(document_row)
        numbers = self._chunk_sections[chunks.start : chunks.stop]
        cuts = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)).tolist()
        return [chunks[start:end] for start, end in pairwise(cuts)]

    def document(self, row: int) -> Document:
        if not 0 <= row < self.num_documents:
            raise IndexError(f"document row {row}, the store has {self.num_documents}")
        return self._cached(row)

    def give_back(self) -> None:
        """What was read of the files no longer counts as memory (``index.arrays.give_back``)."""
        for array in self._mapped:
            give_back(array)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Document row by document id, without the removed ones."""
        ids = enumerate(doc_id for doc_id, *_ in self._lines_of_table())
        return {doc_id: row for row, doc_id in ids if row not in self.removed}

    def origins(self) -> Iterator[Origin]:
        """What documents are chosen by, of every row in order, the removed ones too."""
        return (Origin(*line) for line in self._lines_of_table())

    def _lines_of_table(self) -> Iterator[list[str]]:
        return map(json.loads, self._table.tobytes().splitlines())

    def present(self) -> Iterator[int]:
        """The rows of all documents that were not removed, in order."""
        return (row for row in range(self.num_documents) if row not in self.removed)

    def tokenized(self, row: int) -> TokenizedText:
        """All tokens of one document."""
        parts = [self._checked(chunk) for chunk in self.chunks_of(row)]
        whole = slice(parts[0].start, parts[-1].stop)
        ids, offsets = self._tokens[whole], self._offsets[whole]
        return TokenizedText(ids.astype(np.int64), offsets.astype(np.int64))

    def continuation(self, chunk_id: int) -> int:
        """The next chunk of the same section, or ``chunk_id`` itself where it is the last."""
        following = chunk_id + 1
        same = following < len(self) and all(
            held[following] == held[chunk_id]
            for held in (self._chunk_documents, self._chunk_sections)
        )
        return following if same else chunk_id

    def _window(self, chunk_id: int) -> slice:
        last = self.continuation(chunk_id)
        return slice(self._checked(chunk_id).start, self._checked(last).stop)

    def _checked(self, chunk_id: int) -> slice:
        """The tokens of one chunk: as they were written, at the place that they were written for.

        Raises:
            UserError: they are not.
        """
        begin, end = (int(t) for t in self._chunk_starts[[chunk_id, chunk_id + 1]])
        last = self.continuation(chunk_id) == chunk_id
        parts = (self._tokens[begin:end], self._offsets[begin:end])
        if _check(self.document_row(chunk_id), last, *parts) != self._chunk_checks[chunk_id]:
            raise _damaged(self.folder, f"chunk {chunk_id}")
        return slice(begin, end)

    def _characters(self, window: slice) -> tuple[int, int]:
        return int(self._offsets[window.start, 0]), int(self._offsets[window.stop - 1, 1])


def _read_document(
    lines: NDArray[np.uint8], tables: Mapping[str, Array], folder: Path, row: int
) -> Document:
    start, end = (int(b) for b in tables["document_starts"][[row, row + 1]])
    line = lines[start:end].tobytes()
    if zlib.crc32(line) != tables["document_checks"][row]:
        raise _damaged(folder, f"document {row}")
    return Document.of(json.loads(line))


class StoreWriter:
    """Writes a token store document by document; memory does not grow with it.

    A context: the folder is a store once it is left without an error.
    """

    def __init__(self, folder: Path, vocab_size: int, chunk_size: int = CHUNK_SIZE) -> None:
        self._chunk_size = chunk_size
        self._token_type = np.uint16 if vocab_size < 2**16 else np.uint32
        self._open = ExitStack()
        enter = self._open.enter_context
        self._lines = enter((folder / "documents.jsonl").open("wb"))
        self._table = enter((folder / TABLE).open("wb"))
        self._tokens = enter(ArrayWriter(folder / "tokens.npy", self._token_type))
        self._offsets = enter(ArrayWriter(folder / "token_offsets.npy", np.uint32, (2,)))
        self._tables = {
            name: enter(ArrayWriter(folder / f"{name}.npy", dtype))
            for name, dtype in ARRAYS.items()
        }
        for name in ("document_starts", "document_chunks", "chunk_starts"):
            self._tables[name].append(0)

    @property
    def num_documents(self) -> int:
        return len(self._tables["document_checks"])

    @property
    def num_chunks(self) -> int:
        return len(self._tables["chunk_checks"])

    @property
    def num_tokens(self) -> int:
        return len(self._tokens)

    def add(self, document: Document, tokens: TokenizedText) -> None:
        """Appends one document with at least one token."""
        assert len(tokens.ids), "a document without tokens has no chunks"
        starts = [section.start for section in document.sections]
        lens, sections = cut(tokens.offsets, starts, self._chunk_size)
        ids, offsets = tokens.ids.astype(self._token_type), tokens.offsets.astype(np.uint32)
        self._add_chunks(ids, offsets, lens, sections)
        line = _line({k: v for k, v in vars(document).items() if v or k not in _OPTIONAL})
        self._lines.write(line)
        self._table.write(_line([getattr(document, name) for name in Origin._fields]))
        self._tables["document_checks"].append(zlib.crc32(line))
        self._tables["document_starts"].append(self._lines.tell())
        self._tables["document_chunks"].append(self.num_chunks)

    def _add_chunks(
        self, ids: Array, offsets: Array, lens: Sequence[int], sections: Sequence[int]
    ) -> None:
        row, before = self.num_documents, self.num_tokens
        ends = list(accumulate(lens))
        last = [here != following for here, following in pairwise([*sections, None])]
        checks = [
            _check(row, is_last, ids[begin:end], offsets[begin:end])
            for begin, end, is_last in zip([0, *ends[:-1]], ends, last, strict=True)
        ]
        self._tokens.extend(ids)
        self._offsets.extend(offsets)
        self._tables["chunk_starts"].extend(np.asarray(ends) + before)
        self._tables["chunk_documents"].extend([row] * len(ends))
        self._tables["chunk_sections"].extend(sections)
        self._tables["chunk_checks"].extend(checks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)


def _check(row: int, last: bool, ids: Array, offsets: Array) -> int:
    """CRC-32 of a chunk, which depends on whose it is and on whether another one follows."""
    place = zlib.crc32(f"{row} {last}".encode())
    return zlib.crc32(offsets.tobytes(), zlib.crc32(ids.tobytes(), place))


def _sections(folder: Path, num_chunks: int) -> Array:
    """The number of each chunk's section; zeros in an index from before there were any."""
    file = folder / f"{SECTIONS}.npy"
    return mapped(file) if file.exists() else np.zeros(num_chunks, ARRAYS[SECTIONS])


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _bytes(file: Path) -> NDArray[np.uint8]:
    return np.asarray(np.memmap(file, dtype=np.uint8, mode="r"))


def _damaged(folder: Path, what: str) -> UserError:
    out = folder.parent
    return UserError(f"{folder}: {what} is damaged; find the file with: retro index verify {out}")
