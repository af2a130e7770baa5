"""Finds passages for questions that come with answers but without any passage.

Distant supervision (Mintz et al. 2009; for questions: Chen et al. 2017, "Reading Wikipedia to
answer open-domain questions", §4.3): the first document found that holds an accepted answer is
taken to answer the question. Some do not; prefer an index of paragraphs to one of long articles,
in which an answer's words stand in many places. Knows an index and question files, no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.disk import claim, write_atomically
from index.errors import UserError
from retro.examples import occurrences, read_jsonl

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever

BATCH = 256

SHORTEST = 3
"""Characters below which an answer stands in too many passages to tell which is meant."""


def find_passages(index: Path, data: Sequence[Path], out: Path, *, depth: int) -> None:
    """Writes ``question``, ``context`` and the ``answers`` that stand in it, one JSON line for each
    question of which one of the ``depth`` best neighbours holds an answer, to ``out``.

    Raises:
        UserError: a question file is not readable, no question's answer was found, or ``out``
            cannot be written.
    """
    from index.retriever import Retriever

    claim(out.parent)
    retriever = Retriever.open(index)
    asked = [row for path in data for row in read_jsonl(path)]
    found = list(answered(retriever, asked, depth))
    if not found:
        raise UserError(
            f"{index}: none of {len(asked):,} questions has an answer in its {depth} best "
            "passages; check that the index is about what the questions ask, or raise --depth"
        )
    write_atomically(out, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in found))
    print(f"{out}: passages for {len(found):,} of {len(asked):,} questions", flush=True)


def answered(
    retriever: Retriever, rows: Sequence[dict[str, Any]], depth: int
) -> Iterator[dict[str, Any]]:
    """The rows with a passage. An answer that the question names, or of fewer than ``SHORTEST``
    characters, is none to look for."""
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        neighbours = retriever.search_batch([row["question"] for row in part], depth)
        for row, found in zip(part, neighbours, strict=True):
            asked = row["question"].lower()
            answers = [a.strip() for a in row.get("answers") or ()]
            sought = [a for a in answers if len(a) >= SHORTEST and a.lower() not in asked]
            if (place := _first_holding(found, sought)) is None:
                continue
            context = retriever.store.document(retriever.store.rows[found.doc_ids[place]]).text
            held = [answer for answer in sought if _holds(context, answer)]
            yield {**row, "context": context, "answers": held}


def _first_holding(found: Neighbours, answers: Sequence[str]) -> int | None:
    for place, text in enumerate(found.texts):
        if any(_holds(text, answer) for answer in answers):
            return place
    return None


def _holds(text: str, answer: str) -> bool:
    return next(occurrences(answer, text), None) is not None
