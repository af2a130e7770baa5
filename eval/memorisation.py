"""``retro eval copying``: how much of a generated text stands word for word in the database.

A model that reads its database while it writes can simply repeat it. For every chunk written the
longest run of tokens that some document holds is found, with retrieval on and off, and beside
them for what people wrote there: the documents' own next chunks. The prompt's own document is
absent, both from search and from what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eval.report import Report, Table
from index.errors import UserError

if TYPE_CHECKING:
    from index.store import TokenStore
    from retro.generation import Continuation, Generator

Ints = NDArray[np.int64]

LONG = 16
"""Tokens of a run that nobody takes for chance."""
SHOWN = 10

_READ = (
    f"Longest run: tokens of a chunk that stand in one document, mean and 90th percentile; share: "
    f"of the chunk; long: chunks with a run of {LONG} or more; heard: of those, how many repeat a "
    "document that was retrieved for that text."
)


@dataclass(frozen=True)
class Copy:
    """A chunk's longest run in the database: ``length`` of its ``size`` tokens, as ``text``, in
    document ``doc_id``; ``heard``: whether that document was retrieved for this text."""

    length: int
    size: int
    doc_id: str | None
    text: str
    heard: bool = False


class Database:
    """All tokens of an index, ready for exact matching.

    ``tokens`` [N] as they stand, document after document; ``documents`` [N]: each one's row.
    """

    def __init__(self, store: TokenStore) -> None:
        self.store = store
        rows = list(store.present())
        held = [store.tokenized(row).ids for row in rows]
        self.tokens = np.concatenate(held)
        self.documents = np.repeat(rows, [len(ids) for ids in held])
        self._places = np.argsort(self.tokens, kind="stable")
        self._sorted = self.tokens[self._places]

    def longest_run(self, tokens: Sequence[int], absent: int = -1) -> tuple[int, int, int]:
        """Of all runs of ``tokens`` that stand inside one document the longest: its length, where
        it begins in ``tokens`` and where in the database. Document row ``absent`` counts as none.

        Only the places of each token are looked at, so common words cost most.
        """
        best = (0, 0, 0)
        before, runs = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for i, token in enumerate(tokens):
            ends = slice(*np.searchsorted(self._sorted, [token, token + 1]))
            here = self._places[ends]
            here = here[self.documents[here] != absent]
            now = np.ones(len(here), np.int64)
            if len(before) and len(here):
                at = np.searchsorted(before, here - 1).clip(max=len(before) - 1)
                goes_on = before[at] == here - 1
                goes_on &= self.documents[here] == self.documents[here - 1]
                now[goes_on] += runs[at[goes_on]]
            if len(now) and now.max() > best[0]:
                place = int(now.argmax())
                length = int(now[place])
                best = (length, i + 1 - length, int(here[place]) + 1 - length)
            before, runs = here, now
        return best


def run(
    generator: Generator, *, num_prompts: int, num_chunks: int, k: int, seed: int = 0
) -> Report:
    """Continues the first chunks of documents drawn at random and looks for what was copied.

    Raises:
        UserError: no document is longer than one chunk.
    """
    store, size = generator.retriever.store, generator.model.config.chunk_size
    rows = [row for row in store.present() if len(store.chunks_of(row)) > 1]
    if not rows:
        raise UserError("no document is longer than one chunk: nothing to continue")
    drawn = np.random.default_rng(seed).permutation(rows)[:num_prompts].tolist()
    database, decode = Database(store), generator.windower.decoder.decode
    copies: dict[str, list[Copy]] = {"on": [], "off": [], "people": []}
    for row in drawn:
        prompt = decode(store.tokens(store.chunks_of(row)[0]))
        for how in ("on", "off"):
            written = _written(generator, prompt, store.document(row).id, how, num_chunks * size, k)
            heard = {d for chunk in written.retrieved for d in chunk.neighbours.doc_ids}
            copies[how] += _copies(database, written.tokens, size, row, heard, decode)
        own = np.concatenate([store.tokens(c) for c in store.chunks_of(row)[1 : 1 + num_chunks]])
        copies["people"] += _copies(database, own.tolist(), size, row, set(), decode)
    return _report(copies, len(drawn))


def _written(
    generator: Generator, prompt: str, own: str, how: str, length: int, k: int
) -> Continuation:
    exclude = {own}
    options: dict[str, Any] = {"max_new_tokens": length, "do_sample": False}
    [out] = generator.generate([prompt], k=k if how == "on" else 0, exclude=exclude, **options)
    return out


def _copies(
    database: Database,
    tokens: Sequence[int],
    size: int,
    own: int,
    heard: set[str],
    decode: Any,
) -> list[Copy]:
    """One for each chunk of ``tokens``; a last short one counts by its own length."""
    out = []
    for begin in range(0, len(tokens), size):
        chunk = list(tokens[begin : begin + size])
        length, start, place = database.longest_run(chunk, own)
        row = int(database.documents[place])
        doc_id = database.store.document(row).id if length else None
        text = decode(chunk[start : start + length])
        out.append(Copy(length, len(chunk), doc_id, text, doc_id in heard))
    return out


def _report(copies: dict[str, list[Copy]], num_prompts: int) -> Report:
    figures: dict[str, Any] = {"num_prompts": num_prompts}
    rows = []
    for who, found in copies.items():
        figures[who] = _figures(found)
        names = ("num_chunks", "mean_run", "p90_run", "mean_share", "long", "long_heard")
        rows.append([who, *(figures[who][name] for name in names)])
    longest = sorted(copies["on"], key=lambda copy: -copy.length)[:SHOWN]
    figures["longest"] = [asdict(copy) for copy in longest]
    shown = [[c.length, c.doc_id, "yes" if c.heard else "no", c.text] for c in longest]
    columns = ["written with", "chunks", "mean run", "p90 run", "mean share", "long", "heard"]
    tables = [Table("Copied word for word", columns, rows, _READ)]
    tables.append(Table("The longest, with", ["tokens", "document", "heard", "text"], shown))
    return Report("copying", figures, tables)


def _figures(copies: Sequence[Copy]) -> dict[str, float | int | None]:
    runs = np.array([copy.length for copy in copies], float)
    long = [copy for copy in copies if copy.length >= LONG]
    shares = [copy.length / copy.size for copy in copies]
    return {
        "num_chunks": len(copies),
        "mean_run": float(runs.mean()) if len(runs) else None,
        "p90_run": float(np.quantile(runs, 0.9)) if len(runs) else None,
        "mean_share": float(np.mean(shares)) if shares else None,
        "long": len(long),
        "long_heard": sum(copy.heard for copy in long),
    }
