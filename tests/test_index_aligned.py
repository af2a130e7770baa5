"""Tables of plain text are told by bars, or by columns that blanks part."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index import plain
from index.aligned import told
from index.sources import Document, read_documents

CELL = st.text("abc de", min_size=1, max_size=9).map(lambda cell: " ".join(cell.split()) or "x")
TABLE = st.lists(st.tuples(CELL, CELL, CELL), min_size=2, max_size=6)
NAMES = ("Name", "Room", "Use of it")


def columns(rows: list[tuple[str, ...]], gap: int = 2) -> list[str]:
    widths = [max(map(len, cells)) + gap for cells in zip(*rows, strict=True)]
    return ["".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def sentences(rows: list[tuple[str, ...]]) -> list[str]:
    return [f"Name {a}: Room {b}, Use of it {c}." for a, b, c in rows]


@given(TABLE)
def test_cells_are_what_was_written(rows: list[tuple[str, ...]]) -> None:
    lines = columns([NAMES, *rows])
    assert told(lines) == sentences(rows)
    assert told([lines[0], "-" * len(lines[0]), *lines[1:]]) == sentences(rows)
    bars = [f"| {' | '.join(row)} |" for row in (NAMES, *rows)]
    for rule in ("|---|---|---|", "+---+---+---+", "+===+===+===+"):
        assert told([bars[0], rule, *bars[1:]]) == sentences(rows)
        assert told([rule, bars[0], rule, *bars[1:], rule]) == sentences(rows)
        assert told([line for bar in bars for line in (rule, bar)]) == sentences(rows)


BOX = """
   ┌──────┬──────────────────────┐
   │ NRL  │ Naval Research       │
   │      │ Laboratories         │
   ├──────┼──────────────────────┤
   │      │ From Système         │
   │ SI   │ International        │
   ├──────┼──────────────────────┤
   │ UK   │ United Kingdom       │
   └──────┴──────────────────────┘"""
PSQL = """
 id |  name  | city
----+--------+-------
  1 | Ann    | Ulm
  2 | Ben Lo | Bonn
    |        | and Köln"""
RST = """
+-----+-----+
| No. | Use |
+=====+=====+
| 1   | tin |
+-----+-----+
| 2   | oil |
+-----+-----+"""
UNDERLINED = """
Name    Size    Use
----    ----    ---
Rope    10 m    for tents
                and boats
Pole    3 m     fishing"""


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (
            BOX,
            [
                "NRL: Naval Research Laboratories.",
                "SI: From Système International.",
                "UK: United Kingdom.",
            ],
        ),
        (PSQL, ["id 1: name Ann, city Ulm.", "id 2: name Ben Lo, city Bonn and Köln."]),
        (RST, ["No. 1: Use tin.", "No. 2: Use oil."]),
        (RST.replace("=", "-"), ["No.: Use.", "1: tin.", "2: oil."]),
        (
            UNDERLINED,
            ["Name Rope: Size 10 m, Use for tents and boats.", "Name Pole: Size 3 m, Use fishing."],
        ),
    ],
)
def test_tables_as_programs_draw_them(table: str, rows: list[str]) -> None:
    assert told(table.strip("\n").split("\n")) == rows


@pytest.mark.parametrize(
    "text",
    [
        "a = 1    # one\nb = 2    # two\nc = 3    # three",
        "The cat  sat on\nthe mat  and ate\nits rat  or two",
        "ls | wc\na | b\nc | d",
        "|\n---\n|",
        "Heading\n-------\ntext of it",
        "Name  Size  Use",
        "-----\n-----\n-----",
        "Width  3 cm\nHeight  4 cm\nDepth  5 cm",
        "Oats\nMilk\nHoney",
    ],
)
def test_no_table(text: str) -> None:
    assert told(text.split("\n")) is None
    assert "".join(plain.extract([text])).replace("\ufdd02", "").split() == [
        word for word in text.split() if text[:7] != "Heading" or word != "-------"
    ]


def test_tables_in_a_text(tmp_path: Path) -> None:
    """A line may stand right above one; the names of columns are no heading."""
    text = f"Sizes\n=====\n\nThere are these:{UNDERLINED}\n\nThe end of it.{RST}\n"
    (tmp_path / "a.txt").write_text(text)
    [document] = read_documents([tmp_path / "a.txt"])
    assert isinstance(document, Document)
    assert document.text.split("\n") == [
        "Sizes",
        "",
        "There are these:",
        "Name Rope: Size 10 m, Use for tents and boats.",
        "Name Pole: Size 3 m, Use fishing.",
        "",
        "The end of it.",
        "No. 1: Use tin.",
        "No. 2: Use oil.",
    ]
    assert [section.name for section in document.sections] == ["Sizes"]


def test_hostile_lines_are_done_soon() -> None:
    start = time.perf_counter()
    for line in ("x  " * 100, "|" * 300, "| " * 20_000, "-" * 300, " " * 299 + "x", "+-" * 20_000):
        told([line] * 200)
        told([line, "---", *[line] * 200])
    assert time.perf_counter() - start < 30
