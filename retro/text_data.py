"""Text to model, as sequences of chunks whose neighbours were found beforehand.

Neighbours of a chunk never come from its own document (RETRO, section 2.2: leakage): search takes
the best of all the others. One compressed ``.npz`` without pickles.

Axes: S sequences, L chunks of a sequence, m tokens of a chunk, k neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.errors import UserError
from retro.prepared import (
    pack,
    pack_windows,
    read_arrays,
    unpack,
    unpack_windows,
    write_arrays,
)
from retro.windows import Bools, Ints, Window, Windower

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever
    from index.store import TokenStore

NOTHING = -1
"""No token, no neighbour."""

HELD_SHARE = 0.02
"""Documents kept out of training, to measure on."""


_PLAIN = ("tokens", "neighbours", "num_bytes", "held")

BLOCK = 128
"""Sequences whose chunks are searched together: the embedder is fast in large batches only."""


@dataclass(frozen=True)
class TextSet:
    """Sequences, and the ``windows`` of the database that were found for their chunks.

    ``tokens`` int32 [S, L * m], padded behind by ``NOTHING``; ``neighbours`` int32 [S, L, k]:
    window numbers, best first, or ``NOTHING``; ``queries``: encoder tokens of every chunk, S * L;
    ``num_bytes`` [S, L]: UTF-8 length of each chunk's text; ``held`` [S]: not to be trained on.
    """

    windows: list[Window]
    tokens: Ints
    neighbours: Ints
    queries: list[Ints]
    num_bytes: Ints
    held: Bools
    base: str
    encoder: str

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def chunk_size(self) -> int:
        """m."""
        return int(self.tokens.shape[1]) // int(self.neighbours.shape[1])

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        arrays = pack_windows(self.windows)
        pack(arrays, "queries", self.queries)
        plain = {n: getattr(self, n) for n in _PLAIN}
        names = {"base": self.base, "encoder": self.encoder}
        write_arrays(path, arrays | {f"text_{n}": v for n, v in plain.items()}, names)

    @classmethod
    def load(cls, path: Path) -> TextSet:
        """Raises UserError when the file is missing or not one of these."""
        return read_arrays(path, cls._read, "retro train prepare-text")

    @classmethod
    def _read(cls, arrays: Any, names: dict[str, Any]) -> TextSet:
        plain = {n: arrays[f"text_{n}"] for n in _PLAIN}
        windows, queries = unpack_windows(arrays), unpack(arrays, "queries")
        return cls(windows=windows, queries=queries, **plain, **names)


@dataclass(frozen=True)
class _Cut:
    """A sequence: its chunks, all of one section of a document."""

    chunks: range
    document: int


def prepare_text(
    retriever: Retriever,
    windower: Windower,
    *,
    num_chunks: int,
    num_neighbours: int,
    limit: int | None,
    seed: int,
    names: tuple[str, str],
) -> TextSet:
    """Sequences of the database's own documents, each chunk with its neighbours.

    ``limit``: sequences to keep, drawn evenly. ``names``: of the base decoder and the encoder.

    Raises:
        UserError: no document is longer than one chunk.
    """
    store = retriever.store
    cuts = _cut(store, num_chunks)
    if not cuts:
        raise UserError("no document is longer than one chunk: there is no text to model")
    rng = np.random.default_rng(seed)
    cuts = [cuts[i] for i in sorted(rng.permutation(len(cuts))[:limit])]
    held = _held(sorted({cut.document for cut in cuts}), rng)
    size = retriever.manifest.chunk_size
    tokens = np.full((len(cuts), num_chunks * size), NOTHING, np.int32)
    neighbours = np.full((len(cuts), num_chunks, num_neighbours), NOTHING, np.int32)
    queries = [np.zeros(0, np.int32)] * (len(cuts) * num_chunks)
    num_bytes = np.zeros((len(cuts), num_chunks), np.int32)
    windows = _Found(windower)
    for row, cut in enumerate(cuts):
        written = np.concatenate([store.tokens(c) for c in cut.chunks])
        tokens[row, : len(written)] = written
    for begin in range(0, len(cuts), BLOCK):
        block = list(enumerate(cuts[begin : begin + BLOCK], begin))
        places = [(row, u) for row, cut in block for u in range(len(cut.chunks))]
        texts = [_text(store, chunk) for _, cut in block for chunk in cut.chunks]
        own = [[store.document(cuts[row].document).id] for row, _ in places]
        found = retriever.search_batch(texts, num_neighbours, own)
        for (row, u), text, one in zip(places, texts, found, strict=True):
            num_bytes[row, u] = len(text.encode())
            neighbours[row, u, : len(one)] = windows.numbers(one)
            queries[row * num_chunks + u] = windower.chunk(text)
        print(f"\rsearched {begin + len(block):,}/{len(cuts):,} sequences", end="", flush=True)
    print()
    return TextSet(
        windows=windows.windows,
        tokens=tokens,
        neighbours=neighbours,
        queries=queries,
        num_bytes=num_bytes,
        held=np.asarray([cut.document in held for cut in cuts]),
        base=names[0],
        encoder=names[1],
    )


class _Found:
    """Windows that were found, each tokenised once: a large database has many more."""

    def __init__(self, windower: Windower) -> None:
        self.windower = windower
        self.windows: list[Window] = []
        self._number: dict[int, int] = {}

    def numbers(self, found: Neighbours) -> list[int]:
        """The numbers of the windows that begin with the chunks found."""
        ids = found.chunk_ids.tolist()
        new = [i for i, chunk in enumerate(ids) if chunk not in self._number]
        self._number |= {ids[i]: len(self.windows) + n for n, i in enumerate(new)}
        self.windows += self.windower.windows(
            *([t[i] for i in new] for t in (found.texts, found.titles))
        )
        return [self._number[chunk] for chunk in ids]


def _cut(store: TokenStore, num_chunks: int) -> list[_Cut]:
    """Every section in sequences of ``num_chunks``, of which all but the last chunk are full; a
    rest of one chunk has nobody to hear."""
    cuts = []
    for document in store.present():
        for chunks in store.sections_of(document):
            for first in range(0, len(chunks), num_chunks):
                part = chunks[first : first + num_chunks]
                if len(part) > 1:
                    cuts.append(_Cut(part, document))
    return cuts


def _held(documents: Sequence[int], rng: np.random.Generator) -> set[int]:
    count = max(1, round(HELD_SHARE * len(documents)))
    return {documents[i] for i in rng.permutation(len(documents))[:count]}


def _text(store: TokenStore, chunk: int) -> str:
    """The chunk in its document's own words."""
    row, start, end = store.chunk_span(chunk)
    return store.document(row).text[start:end]
