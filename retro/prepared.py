"""A training set in one file: windows, questions and their searched neighbours, all tokenised.

Made where the index is (``prepare``), read where the training runs: it needs no index, no FAISS
and no tokenising there. One compressed ``.npz`` without pickles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from index.errors import UserError
from retro.examples import Example, WindowTable
from retro.windows import Window

Array = NDArray[Any]
T = TypeVar("T")


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
        arrays = pack_table(self.table)
        pack(arrays, "queries", [e.query for e in self.examples])
        if self.retrieved is not None:
            pack(arrays, "retrieved", [np.asarray(r, np.int32) for r in self.retrieved])
        rows = [
            [e.id, e.question, e.answers, e.document, list(e.gold.items())] for e in self.examples
        ]
        held, names = sorted(self.held), {"base": self.base, "encoder": self.encoder}
        write_arrays(path, arrays, {"examples": rows, "held": held, **names})

    def repeated(self, times: int) -> Prepared:
        """The same, its examples to learn from counted so many times; held-out ones stay single."""
        once = range(len(self.examples))
        again = [i for i in once if self.title(self.examples[i]) not in self.held] * (times - 1)
        rows = [*once, *again]
        retrieved = None if self.retrieved is None else [self.retrieved[i] for i in rows]
        return replace(self, examples=[self.examples[i] for i in rows], retrieved=retrieved)

    @classmethod
    def mixture(cls, given: Sequence[str]) -> Prepared:
        """The files joined; ``FILE:N`` counts the examples of one N times.

        Raises:
            UserError: one is missing or not a prepared set, or they do not go together.
        """
        parts = []
        for text in given:
            name, *times = re.split(r":(?=[1-9]\d*$)", text)
            parts.append(cls.load(Path(name)).repeated(int(*times or [1])))
        return cls.joined(parts)

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
        return read_arrays(path, cls._read, "retro train prepare")

    @classmethod
    def _read(cls, arrays: Any, meta: dict[str, Any]) -> Prepared:
        queries = unpack(arrays, "queries")
        examples = [
            _example(row, query) for row, query in zip(meta["examples"], queries, strict=True)
        ]
        retrieved = None
        if "retrieved_lengths" in arrays:
            retrieved = [row.tolist() for row in unpack(arrays, "retrieved")]
        held = frozenset(meta["held"])
        table, names = unpack_table(arrays), (meta["base"], meta["encoder"])
        return cls(table, examples, retrieved, held, *names)


def _example(row: Sequence[Any], query: Array) -> Example:
    id, question, answers, document, gold = row
    spans = {int(chunk): [(a, b) for a, b in found] for chunk, found in gold}
    return Example(id, question, tuple(answers), query, document, spans)


def _moved(example: Example, documents: int, windows: int) -> Example:
    """The example in a table that has so many documents and windows before its own."""
    gold = {chunk + windows: spans for chunk, spans in example.gold.items()}
    return replace(example, document=example.document + documents, gold=gold)


def pack_windows(windows: Sequence[Window]) -> dict[str, Array]:
    """Windows as arrays."""
    arrays: dict[str, Array] = {}
    for field in fields(Window):
        pack(arrays, field.name, [getattr(window, field.name) for window in windows])
    return arrays


def unpack_windows(arrays: Any) -> list[Window]:
    """The windows that ``pack_windows`` packed."""
    columns = [unpack(arrays, field.name) for field in fields(Window)]
    return [Window(*row) for row in zip(*columns, strict=True)]


def pack_table(table: WindowTable) -> dict[str, Array]:
    """A table of windows as arrays."""
    arrays = pack_windows(table.windows)
    pack(arrays, "texts", [_bytes(text) for text in table.texts])
    arrays["document_of"] = table.document_of
    arrays["chunk_starts"] = np.asarray([r.start for r in table.chunks_of], np.int64)
    titles = [table.titles[r.start] if len(r) else "" for r in table.chunks_of]
    arrays["titles"] = _bytes(json.dumps(titles))
    return arrays


def unpack_table(arrays: Any) -> WindowTable:
    """The table that ``pack_table`` packed."""
    texts = [bytes(text).decode() for text in unpack(arrays, "texts")]
    titles, document_of = json.loads(bytes(arrays["titles"])), arrays["document_of"]
    starts = [*arrays["chunk_starts"].tolist(), len(texts)]
    return WindowTable(
        windows=unpack_windows(arrays),
        texts=texts,
        document_of=document_of,
        chunks_of=[range(a, b) for a, b in pairwise(starts)],
        titles=[titles[row] for row in document_of],
    )


def write_arrays(path: Path, arrays: dict[str, Array], meta: dict[str, Any]) -> None:
    """One compressed ``.npz`` of arrays and plain data, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as out:
        np.savez_compressed(out, allow_pickle=False, **arrays, meta=_bytes(json.dumps(meta)))
    partial.replace(path)


def read_arrays(path: Path, read: Callable[[Any, dict[str, Any]], T], command: str) -> T:
    """What ``read`` makes of such a file. Raises UserError when it is missing or another one."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return read(arrays, json.loads(bytes(arrays["meta"])))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); check --prepared") from error
    except (KeyError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(
            f"{path}: not a prepared training set ({error}); make it with: {command}"
        ) from error


def pack(arrays: dict[str, Array], name: str, rows: Sequence[Array]) -> None:
    """Arrays of unlike length as one, and their lengths."""
    arrays[name] = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    arrays[f"{name}_lengths"] = np.asarray([len(row) for row in rows], np.int64)


def unpack(arrays: Any, name: str) -> list[Array]:
    """The rows that ``pack`` packed."""
    lengths = arrays[f"{name}_lengths"]
    return np.split(arrays[name], np.cumsum(lengths)[:-1]) if len(lengths) else []


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)
