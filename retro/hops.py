"""Teaches a reader to go from one fact to the next: rows for questions that need two passages.

"Who is the sibling of the director of Faun?" needs what one passage says of Faun and what another
one says of its director. The name that leads from the first to the second, the *bridge*, stands in
both and not in the question. A row each:

- the question's first hop, on the first passage: the bridge is the answer;
- its second hop, the bridge named, on the second passage: its own answer;
- the question itself, on the first passage: no answer, so that a bridge is never taken for one;
- first hops of questions that one passage answers, on that passage: no answer, there is no bridge.

Knows question rows, no model, no index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.disk import claim, write_atomically
from index.errors import UserError
from retro.chaining import first_hop, second_hop
from retro.examples import holds_answer, occurrences, read_jsonl

Row = dict[str, Any]

_PARAGRAPH = re.compile(r"(?:^|\n\s*)Paragraph \d+: ")
"""What stands before each passage of a ``context`` in MuSiQue's rows (Trivedi et al. 2022)."""

_WORD = r"(?:[A-Z]\.(?= [A-Z])|[A-Z0-9][\w’'-]*)"
_NAME = re.compile(rf"(?![0-9]){_WORD}(?: (?:(?:of|the|de|van|von) )*{_WORD})*")
_NO_NAMES = frozenset(
    "A After An And As At Before But By During First For From He Her His If In It Its Of On One Or "
    "She That The These They This Three To Two When With".split()
)
"""Words that begin a sentence and no name."""


def write_hops(
    data: Sequence[Path], single: Sequence[Path], out: Path, *, limit: int | None, seed: int
) -> None:
    """Writes training rows (``question``, ``context``, ``answers``) to ``out``, one JSON line each.

    ``data``: questions whose ``context`` holds two passages or more, marked "Paragraph 1:" and so
    on. ``single``: questions that their ``context`` answers by itself, as many as bridges are
    found. ``limit``: questions of ``data``.

    Raises:
        UserError: a file is not readable, no question of ``data`` needs two passages, or ``out``
            cannot be written.
    """
    claim(out.parent)
    rng = np.random.default_rng(seed)
    asked = [pair for path in data for r in read_jsonl(path) if (pair := two_passages(r))]
    if not asked:
        raise UserError(
            "--data: no question with answers whose context holds two passages, marked "
            '"Paragraph 1: " and "Paragraph 2: ", of which one holds an answer'
        )
    drawn = [asked[i] for i in rng.permutation(len(asked))[:limit]]
    made = [row for first, second in drawn for row in hop_rows(first, second)]
    wanted = sum(row["kind"] == "bridge" for row in made)
    others = [r for path in single for r in read_jsonl(path) if r.get("context")]
    for i in rng.permutation(len(others))[:wanted]:
        made.append(_row(others[i], "single", first_hop(others[i]["question"]), others[i], []))
    write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
    print(f"{out}: {len(made):,} rows of {len(drawn):,} questions, {wanted:,} bridges", flush=True)


def two_passages(row: Row) -> tuple[Row, Row] | None:
    """The row with its first and with its second passage as ``context``; the second one alone holds
    an answer. None where there are not two, or both or none do."""
    passages = [p.strip() for p in _PARAGRAPH.split(row.get("context", "")) if p.strip()]
    answers = row.get("answers") or []
    holding = [holds_answer(p, answers) for p in passages]
    if len(passages) != 2 or sum(holding) != 1:
        return None
    second = holding.index(True)
    return row | {"context": passages[1 - second]}, row | {"context": passages[second]}


def hop_rows(first: Row, second: Row) -> Iterator[Row]:
    """The training rows of one question, given with each of its passages."""
    question, answers = first["question"], first["answers"]
    yield _row(first, "not yet", question, first, [])
    bridge = find_bridge(question, first["context"], second["context"])
    if bridge is not None and not holds_answer(bridge, answers):
        yield _row(first, "bridge", first_hop(question), first, [bridge])
        yield _row(first, "second", second_hop(question, bridge), second, answers)


def find_bridge(question: str, first: str, second: str) -> str | None:
    """The longest name that both passages hold and the question does not, or None."""
    shared = [
        name
        for name in names_in(first)
        if name.lower() not in question.lower() and any(occurrences(name, second))
    ]
    return max(shared, key=len, default=None)


def names_in(text: str) -> list[str]:
    """Names as they stand: words with a capital, and numbers and small words between them."""
    found = []
    for match in _NAME.finditer(text):
        words = match[0].strip(" '’-.").split()
        while words and (words[0] in _NO_NAMES or not words[0][0].isupper()):
            words = words[1:]
        name = " ".join(words)
        if len(name) > 2:
            found.append(name)
    return found


def _row(origin: Row, kind: str, question: str, passage: Row, answers: Sequence[str]) -> Row:
    return {
        "id": f"{origin.get('id', origin['question'])}-{kind}",
        "kind": kind,
        "question": question,
        "context": passage["context"],
        "answers": list(answers),
    }
