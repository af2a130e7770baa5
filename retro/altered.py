"""Makes questions that their passage does not answer out of questions that it does.

A name or a number of the question is exchanged for another one of the same article that the
passage lacks, a word for its opposite, or the verb is negated: the ways in which SQuAD 2.0's
unanswerable questions most often differ from answerable ones (Rajpurkar et al. 2018, Table 1).
The passage stays, so only reading tells the two apart. Knows question rows, no model, no index.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.disk import claim, write_atomically
from index.errors import UserError
from retro.examples import read_jsonl

Row = dict[str, Any]

_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w’'-]*[a-z](?: (?:(?:of|the|de) )?[A-Z][\w’'-]*[a-z])*")
_NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
_VERB = re.compile(r"\b(is|was|are|were|does|do|did|has|had|have|can|could|will|would|should)\b")
_WORD = re.compile(r"\w+")

_PAIRS = (
    "first last|highest lowest|largest smallest|biggest smallest|oldest youngest|most least"
    "|more fewer|before after|began ended|begin end|start stop|started stopped|north south"
    "|northern southern|east west|eastern western|increase decrease|increased decreased|won lost"
    "|win lose|early late|earliest latest|male female|men women|king queen|father mother"
    "|son daughter|brother sister|husband wife|left right|above below|inside outside"
    "|maximum minimum|majority minority|best worst|longest shortest|old new|allowed forbidden"
    "|accepted rejected|supported opposed|support oppose|born buried|public private"
    "|always never|upper lower|success failure|strongest weakest|hot cold|rich poor|high low"
    "|large small|import export|gained lost|founded dissolved|created destroyed|rise fall"
    "|built destroyed|enemy ally|victory defeat|positive negative"
)
_OPPOSITE = {a: b for pair in _PAIRS.split("|") for a, b in [pair.split(), pair.split()[::-1]]}


def write_altered(data: Sequence[Path], out: Path, *, limit: int | None, seed: int) -> None:
    """Writes an altered question for each row that allows one (at most ``limit`` of them), with
    its ``context`` and no ``answers``, one JSON line each, to ``out``.

    Raises:
        UserError: a file is not readable, no row can be altered, or ``out`` cannot be written.
    """
    claim(out.parent)
    rows = [r for path in data for r in read_jsonl(path) if r.get("context") and r.get("answers")]
    made = list(altered(rows, limit=limit, seed=seed))
    if not made:
        raise UserError("--data: no answered question with a context holds a word to exchange")
    write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
    print(f"{out}: {len(made):,} altered questions of {len(rows):,}", flush=True)


def altered(rows: Sequence[Row], *, limit: int | None = None, seed: int = 0) -> Iterator[Row]:
    """Altered rows, drawn evenly; a function of the seed alone."""
    shares, ways = (0.5, 0.2, 0.2, 0.1), (Swap(_NAME, rows), Swap(_NUMBER, rows), opposite, negated)
    left = len(rows) if limit is None else limit
    rng = np.random.default_rng(seed)
    for number in rng.permutation(len(rows)):
        if not left:
            return
        row, way = rows[number], ways[int(rng.choice(len(ways), p=shares))]
        question = way(row, rng)
        if question is not None:
            left -= 1
            yield {
                "id": f"{row.get('id', number)}-altered",
                "title": row.get("title", ""),
                "question": question,
                "context": row["context"],
                "answers": [],
            }


class Swap:
    """Exchanges one match of a pattern for another one of the article that the passage lacks."""

    def __init__(self, pattern: re.Pattern[str], rows: Iterable[Row]) -> None:
        self.pattern = pattern
        found: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            found[row.get("title", "")].update(pattern.findall(row["question"]))
        self.known = {title: sorted(values) for title, values in found.items()}

    def __call__(self, row: Row, rng: np.random.Generator) -> str | None:
        """The altered question, or None where nothing can be exchanged."""
        question: str = row["question"]
        context = row["context"].lower()
        here = [m for m in self.pattern.finditer(question) if m[0].lower() in context]
        if not here:
            return None
        old = here[int(rng.integers(len(here)))]
        number = old[0][0].isdigit()
        others = [
            value
            for value in self.known.get(row.get("title", ""), ())
            if value.lower() not in context
            and value not in question
            and (not number or len(value) == len(old[0]))
            and not any(word in context for word in _WORD.findall(value.lower()))
        ]
        if not others:
            return None
        new = others[int(rng.integers(len(others)))]
        return question[: old.start()] + new + question[old.end() :]


def opposite(row: Row, rng: np.random.Generator) -> str | None:
    """The question with one word exchanged for its opposite, or None without such a word."""
    question: str = row["question"]
    here = [m for m in _WORD.finditer(question) if m[0] in _OPPOSITE]
    if not here:
        return None
    old = here[int(rng.integers(len(here)))]
    new = _OPPOSITE[old[0]]
    return None if new in question else question[: old.start()] + new + question[old.end() :]


def negated(row: Row, rng: np.random.Generator) -> str | None:
    """The question with its verb negated ("was" -> "wasn't"), or None without an auxiliary."""
    question: str = row["question"]
    verb = _VERB.search(question)
    if verb is None or " not " in question or "n't" in question:
        return None
    short = {"can": "can't", "will": "won't"}.get(verb[0], verb[0] + "n't")
    new = short if rng.random() < 0.7 else f"{verb[0]} never"
    return question[: verb.start()] + new + question[verb.end() :]
