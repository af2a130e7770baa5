"""Makes questions that their passage does not answer out of questions that it does.

A name or a number of the question is exchanged for another one of the same article that the
passage lacks, a word for its opposite, or the verb is negated: the ways in which SQuAD 2.0's
unanswerable questions most often differ from answerable ones (Rajpurkar et al. 2018, Table 1).
Or the answer, a name, takes the place of a name in the question, so that who did what is turned
round: all of its words stand in the passage. The passage stays, so only reading tells the two
apart. Knows question rows, no model, no index.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.disk import claim, write_atomically
from index.errors import UserError
from retro.examples import read_jsonl

Row = dict[str, Any]

_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w’'-]*[a-z](?: (?:(?:of|the|de) )?[A-Z][\w’'-]*[a-z])*")
_LONG_NAME = r"[A-Z][\w-]+(?: (?:(?:of|the|de|van|von|der) )*[A-Z][\w-]*)*"
_WHOLE_NAME = re.compile(_LONG_NAME)
_ALONE = re.compile(
    rf"\b(?!the |an? )[a-z]+ ({_LONG_NAME})"
    r"(?=['’]s\b|[?,.]*$| (?:in|on|of|as|at|from|to|for|a|by|with|during|located|born|first)\b)"
)
"""A name that no article precedes and no noun follows: itself somebody or some place."""
_MUTUAL = re.compile(
    r"\b(marri|wife|husband|spouse|met\b|meet|fought|fight|play|against|versus|vs\b|opposed|oppon"
    r"|between|and\b|or\b|border|neighbo|friend|rival|brother|sister|sibling|cousin|partner|twin"
    r"|all[iy]|similar|same|equal|connect|adjacent|near|next to|name|call|known|term|abbrev|stand"
    r"|mean|other|else|not\b|\w+n't)",
    re.IGNORECASE,
)
"""What holds both ways: turned round, such a question may have the answer that it lost."""
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


SHARES = {"name": 0.4, "number": 0.15, "opposite": 0.15, "negated": 0.1, "turned": 0.2}
"""Ways to alter a question, and how often each is tried."""


def write_altered(
    data: Sequence[Path],
    out: Path,
    *,
    limit: int | None,
    seed: int,
    ways: Collection[str] = tuple(SHARES),
) -> None:
    """Writes an altered question for each row that allows one (at most ``limit`` of them), with
    its ``context`` and no ``answers``, one JSON line each, to ``out``.

    Raises:
        UserError: a file is not readable, there is no such way, no row can be altered, or ``out``
            cannot be written.
    """
    if unknown := set(ways) - SHARES.keys():
        raise UserError(f"--way {unknown.pop()}: choose from {', '.join(SHARES)}")
    claim(out.parent)
    rows = [r for path in data for r in read_jsonl(path) if r.get("context") and r.get("answers")]
    made = list(altered(rows, limit=limit, seed=seed, ways=ways))
    if not made:
        raise UserError("--data: no answered question with a context holds a word to exchange")
    write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
    print(f"{out}: {len(made):,} altered questions of {len(rows):,}", flush=True)


def altered(
    rows: Sequence[Row],
    *,
    limit: int | None = None,
    seed: int = 0,
    ways: Collection[str] = tuple(SHARES),
) -> Iterator[Row]:
    """Altered rows, drawn evenly; a function of the seed alone. ``ways``: those of ``SHARES`` that
    are taken."""
    makers: dict[str, Callable[[Row, np.random.Generator], str | None]] = {
        "name": Swap(_NAME, rows),
        "number": Swap(_NUMBER, rows),
        "opposite": opposite,
        "negated": negated,
        "turned": turned,
    }
    names = [way for way in makers if way in ways]
    shares = np.array([SHARES[way] for way in names])
    left = len(rows) if limit is None else limit
    rng = np.random.default_rng(seed)
    for number in rng.permutation(len(rows)):
        if not left:
            return
        row, way = rows[number], names[int(rng.choice(len(names), p=shares / shares.sum()))]
        question = makers[way](row, rng)
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


def turned(row: Row, rng: np.random.Generator) -> str | None:
    """The question with a name that its passage holds exchanged for its own answer ("Who succeeded
    Kepler?" -> "Who succeeded Brahe?"), or None where there is none or both ways may hold."""
    question: str = row["question"]
    here = [m for m in _ALONE.finditer(question) if m[1] in row["context"]]
    answers: list[str] = [
        a for a in row["answers"] if _WHOLE_NAME.fullmatch(a) and a not in question
    ]
    if not here or not answers or _MUTUAL.search(question):
        return None
    old = here[int(rng.integers(len(here)))]
    if any(word in old[1] for word in _WORD.findall(answers[0])):
        return None
    return question[: old.start(1)] + answers[0] + question[old.end(1) :]


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
