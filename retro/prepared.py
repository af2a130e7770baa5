"""A training set in one file: windows, questions and their searched neighbours, all tokenised.

Made where the index is (``prepare``), read where the training runs: it needs no index, no FAISS
and no tokenising there. One compressed ``.npz`` without pickles.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from index.errors import UserError
from retro.examples import Example, WindowTable
from retro.windows import Window

Array = NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    """``retrieved``: window ids per example, best first, or None. ``base``, ``encoder``: the
    names of the weights whose tokenizers were used. ``held``: titles kept out of training."""

    table: WindowTable
    examples: list[Example]
    retrieved: list[list[int]] | None
    held: frozenset[str]
    base: str
    encoder: str

    def title(self, example: Example) -> str:
        """The title of the example's passage."""
        return self.table.titles[self.table.chunks_of[example.document][0]]

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        arrays: dict[str, Array] = {}
        for field in fields(Window):
            _pack(arrays, field.name, [getattr(w, field.name) for w in self.table.windows])
        _pack(arrays, "texts", [_bytes(text) for text in self.table.texts])
        _pack(arrays, "queries", [e.query for e in self.examples])
        if self.retrieved is not None:
            _pack(arrays, "retrieved", [np.asarray(r, np.int32) for r in self.retrieved])
        arrays["document_of"] = self.table.document_of
        arrays["chunk_starts"] = np.asarray([r.start for r in self.table.chunks_of], np.int64)
        arrays["meta"] = _bytes(json.dumps(self._meta()))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        with partial.open("wb") as out:
            np.savez_compressed(out, allow_pickle=False, **arrays)
        partial.replace(path)

    def _meta(self) -> dict[str, Any]:
        rows = [
            [e.id, e.question, e.answers, e.document, list(e.gold.items())] for e in self.examples
        ]
        documents = [self.table.titles[r.start] if len(r) else "" for r in self.table.chunks_of]
        held, names = sorted(self.held), {"base": self.base, "encoder": self.encoder}
        return {"examples": rows, "titles": documents, "held": held, **names}

    @classmethod
    def joined(cls, parts: Sequence[Prepared]) -> Prepared:
        """Several training sets as one; a title held out in one is held out in all.

        Raises:
            UserError: they were made for unlike weights, or only some with searched neighbours.
        """
        first = parts[0]
        alike = {(p.base, p.encoder, p.retrieved is None) for p in parts}
        if len(alike) > 1:
            raise UserError(
                "--prepared: the files do not go together (made for unlike weights, or only some "
                "with --searched); prepare them alike"
            )
        examples, retrieved = [], []
        documents = windows = 0
        for part in parts:
            examples += [_moved(e, documents, windows) for e in part.examples]
            retrieved += [[c + windows for c in row] for row in part.retrieved or ()]
            documents += len(part.table.chunks_of)
            windows += len(part.table.windows)
        table = WindowTable.joined([part.table for part in parts])
        held = frozenset[str]().union(*(part.held for part in parts))
        found = None if first.retrieved is None else retrieved
        return cls(table, examples, found, held, first.base, first.encoder)

    @classmethod
    def load(cls, path: Path) -> Prepared:
        """Raises UserError when the file is missing or not one of these."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return cls._read(arrays)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error}); check --prepared") from error
        except (KeyError, ValueError, EOFError, BadZipFile) as error:
            raise UserError(
                f"{path}: not a prepared training set ({error}); make it with: retro train prepare"
            ) from error

    @classmethod
    def _read(cls, arrays: Any) -> Prepared:
        meta = json.loads(bytes(arrays["meta"]))
        columns = [_unpack(arrays, field.name) for field in fields(Window)]
        texts = [bytes(text).decode() for text in _unpack(arrays, "texts")]
        document_of = arrays["document_of"]
        starts = [*arrays["chunk_starts"].tolist(), len(texts)]
        table = WindowTable(
            windows=[Window(*row) for row in zip(*columns, strict=True)],
            texts=texts,
            document_of=document_of,
            chunks_of=[range(a, b) for a, b in pairwise(starts)],
            titles=[meta["titles"][row] for row in document_of],
        )
        queries = _unpack(arrays, "queries")
        examples = [
            _example(row, query) for row, query in zip(meta["examples"], queries, strict=True)
        ]
        retrieved = None
        if "retrieved_lengths" in arrays:
            retrieved = [row.tolist() for row in _unpack(arrays, "retrieved")]
        held = frozenset(meta["held"])
        return cls(table, examples, retrieved, held, meta["base"], meta["encoder"])


def _example(row: Sequence[Any], query: Array) -> Example:
    id, question, answers, document, gold = row
    spans = {int(chunk): [(a, b) for a, b in found] for chunk, found in gold}
    return Example(id, question, tuple(answers), query, document, spans)


def _moved(example: Example, documents: int, windows: int) -> Example:
    """The example in a table that has so many documents and windows before its own."""
    gold = {chunk + windows: spans for chunk, spans in example.gold.items()}
    return replace(example, document=example.document + documents, gold=gold)


def _pack(arrays: dict[str, Array], name: str, rows: Sequence[Array]) -> None:
    """Arrays of unlike length as one, and their lengths."""
    arrays[name] = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    arrays[f"{name}_lengths"] = np.asarray([len(row) for row in rows], np.int64)


def _unpack(arrays: Any, name: str) -> list[Array]:
    lengths = arrays[f"{name}_lengths"]
    return np.split(arrays[name], np.cumsum(lengths)[:-1]) if len(lengths) else []


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)
