"""The files that the default checkpoint is made from, out of public question sets.

    python training/inputs.py DATA OUT

DATA holds the sets as JSON lines (``question``, ``context``, ``answers``, SQuAD's with ``title``):
``squad/train-v1.1``, ``squad/dev-v1.1-open`` and ``squad/dev-v2.0-open``,
``unanswerable/squad2-train-part``, ``nq`` and ``musique``, ``halueval/qa``, and, without passages,
``webquestions/webquestions``, ``entityquestions/train`` and ``dev`` and ``nq_open/NQ-open.dev``,
each with ``.jsonl`` or ``.jsonl.gz`` behind it; and ``corpus/wiki.jsonl.xz``. OUT gets passages to
index and questions to train with and to measure on; what is measured on is never trained with. The
same sets give the same files.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from index.errors import UserError
from retro.examples import read_jsonl
from retro.hops import two_passages
from retro.train_setup import held_out_titles

Row = dict[str, Any]

HELD_TITLES, DEV_TITLES = 40, 12
"""SQuAD training titles that no reader learns from, and development titles of which the
confidence head does: both for the head."""

SMALL = (5, 8, 13)
"""Titles of the small databases that the head is fitted on too."""

HELD_HOTPOT, HOTPOT_INDEX = 400, 1200
"""HotpotQA questions that no reader learns from, the first half for the head; and of how many
questions, from the end, the passages make the database of both."""

OPEN_REST, OPEN_FIT = 250, 400
"""Questions without passages, of each set, that are reported on, and that the head is fitted on."""
ASKED = ("webquestions/webquestions", "nq_open/NQ-open.dev")
MADE = ("entityquestions/train",)
"""Sets without passages to learn from: asked by people, and made by templates."""


def main(data: Path, out: Path) -> None:
    """Writes all files."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in files(data):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with (out / name).open("w", encoding="utf-8") as file:
            file.writelines(lines)
        print(name)


def files(data: Path) -> Iterator[tuple[str, Iterable[Row]]]:
    """Every file's name and rows."""
    train = read(data / "squad/train-v1.1")
    dev = {name: read(data / f"squad/dev-v{name}-open") for name in ("1.1", "2.0")}
    yield "train-v1.1.jsonl", train
    held = held_out_titles([row["title"] for row in train], HELD_TITLES)
    yield "train-learned.jsonl", [row for row in train if row["title"] not in held]
    everything = passages("squad", [*train, *dev["1.1"], *dev["2.0"]])
    yield "squad-passages.jsonl", everything
    fitted = held_out_titles([row["title"] for row in dev["1.1"]], DEV_TITLES)
    for name, rows in dev.items():
        yield f"dev-v{name}-fit.jsonl", [row for row in rows if row["title"] in fitted]
        yield f"dev-v{name}-rest.jsonl", [row for row in rows if row["title"] not in fitted]
    yield (
        "dev-v2.0-none.jsonl",
        [row for row in dev["2.0"] if row["title"] in fitted and not row["answers"]],
    )
    for number, titles in enumerate(small_titles(held)):
        rows = [passage for passage in everything if passage["title"] in titles]
        yield f"small{number}-passages.jsonl", rows

    squad2 = read(data / "unanswerable/squad2-train-part")
    yield "squad2-train-part.jsonl", squad2
    yield "squad2-unanswerable.jsonl", [row for row in squad2 if not row["answers"]]
    nq = read(data / "unanswerable/nq")
    yield "nq.jsonl", nq
    yield "nq-passages.jsonl", passages("nq", nq)

    hotpot = [row for row in map(of_halueval, read(data / "halueval/qa")) if row]
    yield "hotpot.jsonl", hotpot[:-HELD_HOTPOT]
    yield "hotpot-fit.jsonl", hotpot[-HELD_HOTPOT : -HELD_HOTPOT // 2]
    yield "hotpot-held.jsonl", hotpot[-HELD_HOTPOT // 2 :]
    yield "hotpot-passages.jsonl", passages("hotpot", hotpot)
    yield "hotpot-held-passages.jsonl", passages("hotpot", hotpot[-HOTPOT_INDEX:])

    musique = [row for row in read(data / "unanswerable/musique") if two_passages(row)]
    yield "musique.jsonl", musique[::2]
    yield "musique-held.jsonl", musique[1::2]
    both = [part for row in musique for part in two_passages(row) or ()]
    yield "hop-passages.jsonl", passages("hop", [*both, *train])
    yield "hop-held-passages.jsonl", passages("hop", both)

    for name, rows in open_questions(data):
        yield f"{name}-rest.jsonl", rows[:OPEN_REST]
        yield f"{name}-fit.jsonl", rows[OPEN_REST : OPEN_REST + OPEN_FIT]
    yield "short-questions.jsonl", short_questions(data, ASKED + MADE)
    yield "asked-questions.jsonl", short_questions(data, ASKED)
    yield "wiki-passages.jsonl", documents(data / "corpus/wiki.jsonl.xz")


def read(stem: Path) -> list[Row]:
    """The rows of ``stem`` + ``.jsonl`` or ``.jsonl.gz``."""
    plain, packed = (stem.with_name(stem.name + end) for end in (".jsonl", ".jsonl.gz"))
    return list(read_jsonl(plain if plain.is_file() else packed))


def passages(name: str, rows: Iterable[Row]) -> list[Row]:
    """The distinct contexts as documents."""
    found: dict[str, Row] = {}
    for row in rows:
        text = row["context"].strip()
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        new = {"id": f"{name}-{digest}", "title": row.get("title", ""), "text": text}
        found.setdefault(text, new)
    return list(found.values())


def small_titles(titles: set[str]) -> Iterator[set[str]]:
    """Disjoint sets of those that no reader learns from."""
    order = [sorted(titles)[i] for i in np.random.default_rng(3).permutation(len(titles))]
    for size in SMALL:
        yield set(order[:size])
        order = order[size:]


def of_halueval(row: Row) -> Row | None:
    """A question of HotpotQA in HaluEval's edition, if its answer stands in its passage."""
    context, answer = row["knowledge"].strip(), row["right_answer"].strip()
    if not answer or answer not in context:
        return None
    return {"question": row["question"], "context": context, "answers": [answer]}


def open_questions(data: Path) -> Iterator[tuple[str, list[Row]]]:
    """Questions that come with answers only, by set, in an order drawn once."""
    for name, stem in (
        ("nq-open", "nq_open/NQ-open.dev"),
        ("webquestions", "webquestions/webquestions"),
        ("entityquestions", "entityquestions/dev"),
    ):
        rows = [row for row in read(data / stem) if row.get("split", "test") == "test"]
        random.Random(5).shuffle(rows)
        yield name, [of_open(row) for row in rows]


def of_open(row: Row) -> Row:
    """A question with its answers and nothing else."""
    return {"question": row["question"], "answers": row.get("answers") or row["answer"]}


def short_questions(data: Path, stems: Iterable[str]) -> Iterator[Row]:
    """Questions like these, for ``retro train distant`` and ``ranker``: none of which is kept for
    the head."""
    kept = {
        row["question"] for _, rows in open_questions(data) for row in rows[: OPEN_REST + OPEN_FIT]
    }
    for name in stems:
        rows = map(of_open, read(data / name))
        yield from (row for row in rows if row["question"] not in kept)


def documents(file: Path) -> Iterator[Row]:
    """A corpus's documents."""
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python training/inputs.py DATA OUT")
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        print(f"inputs: {error}", file=sys.stderr)
        sys.exit(2)
