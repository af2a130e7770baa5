"""Finds passages for questions that come with answers but without any passage.

Distant supervision (Mintz et al. 2009; for questions: Chen et al. 2017, "Reading Wikipedia to
answer open-domain questions", §4.3): the first document found that holds an accepted answer is
taken to answer the question. Some do not: the more of a question's words its passage must hold, the
fewer. Long articles are left out where asked: an answer's words stand in many places of them. Knows
an index and question files, no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.disk import claim, write_atomically
from index.errors import UserError
from retro.examples import occurrences, read_jsonl
from retro.overlap import Question, stems_of

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever

BATCH = 256

SHORTEST = 3
"""Characters below which an answer stands in too many passages to tell which is meant."""


@dataclass(frozen=True)
class Wanted:
    """Which passages are looked at: the ``depth`` best, in documents of at most ``longest``
    characters (0: of any length), that hold at least the share ``words`` of the question's content
    words, their title included, and if any share is asked for, all of its names and numbers."""

    depth: int = 4
    longest: int = 0
    words: float = 0.0


def find_passages(index: Path, data: Sequence[Path], out: Path, wanted: Wanted) -> None:
    """Writes ``question``, ``context`` and the ``answers`` that stand in it, one JSON line for each
    question of which one of the ``wanted`` neighbours holds an answer, to ``out``.

    Raises:
        UserError: a question file is not readable, no question's answer was found, or ``out``
            cannot be written.
    """
    from index.retriever import Retriever

    claim(out.parent)
    retriever = Retriever.open(index)
    asked = [row for path in data for row in read_jsonl(path)]
    found = list(answered(retriever, asked, wanted))
    if not found:
        raise UserError(
            f"{index}: none of {len(asked):,} questions has an answer in its {wanted.depth} best "
            "passages; check that the index is about what the questions ask, or raise --depth"
        )
    write_atomically(out, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in found))
    print(f"{out}: passages for {len(found):,} of {len(asked):,} questions", flush=True)


def answered(
    retriever: Retriever, rows: Sequence[dict[str, Any]], wanted: Wanted
) -> Iterator[dict[str, Any]]:
    """The rows with a passage. An answer that the question names, or of fewer than ``SHORTEST``
    characters, is none to look for."""
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        neighbours = retriever.search_batch([row["question"] for row in part], wanted.depth)
        for row, found in zip(part, neighbours, strict=True):
            asked = row["question"].lower()
            answers = [a.strip() for a in row.get("answers") or ()]
            sought = [a for a in answers if len(a) >= SHORTEST and a.lower() not in asked]
            context = next(_holding(retriever, row["question"], found, sought, wanted), None)
            if context is not None:
                held = [answer for answer in sought if _holds(context, answer)]
                yield {**row, "context": context, "answers": held}


def _holding(
    retriever: Retriever, question: str, found: Neighbours, answers: Sequence[str], wanted: Wanted
) -> Iterator[str]:
    """The documents of the neighbours that hold an answer and are as they are wanted, best
    first."""
    asked = Question.read(question, lambda _: 1.0)
    for title, text, name in zip(found.titles, found.texts, found.doc_ids, strict=True):
        if not any(_holds(text, answer) for answer in answers):
            continue
        held = {*stems_of(title), *stems_of(text)}
        if wanted.words and (asked.names - held or asked.share(held) < wanted.words):
            continue
        document = retriever.store.document(retriever.store.rows[name]).text
        if not wanted.longest or len(document) <= wanted.longest:
            yield document


def _holds(text: str, answer: str) -> bool:
    return next(occurrences(answer, text), None) is not None
