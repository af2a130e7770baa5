"""Rows of a table as sentences, since a row alone does not say what its cells are.

A chunk of a long table has no head. So each row is told by itself with the names of its columns:
``| Rope | 10 m | 9.50 € |`` below ``| Article | Size | Price |`` becomes "Article Rope: Size 10 m,
Price 9.50 €." (``benchmarks/tables.py``). Knows cells, no format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, zip_longest

COLUMNS = 50
"""Columns that one cell of a table may span, and those from which one may span rows."""
NAME = re.compile(r"[^\W_](?:.{0,38}[^.,;:({])?|[^\W_].{0,3}\.|[#№%]")
"""What may name a column."""
SIGN = "#"
"""What names the first column at most: elsewhere it begins what is said of code."""
REPEATED = 100
"""Characters, at most, of what is told again in each row: a column's name, a cell that spans rows.
A page with a name of a megabyte and a million rows would be as large as a library."""


def sentences(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A line for each row; ``head`` names the columns, as far as they have names. What is too long
    for a name is told once, and all names are where there is no row, so that no word is lost."""
    names = [_bare(name) for name in head]
    if long := [name for name in names if len(name) > REPEATED]:
        yield ", ".join(long)
        names = ["" if name in long else name for name in names]
    told = 0
    for row in rows:
        if line := _sentence(names, [_bare(cell) for cell in row]):
            told += 1
            yield line
    if not told and any(names):
        yield ", ".join(filter(None, names))


def span(told: str) -> int:
    """How many columns or rows a cell fills, as the document tells it: 1 to ``COLUMNS``."""
    return max(1, min(int(told), COLUMNS)) if told.isdecimal() and len(told) < 6 else 1


def headed(rows: Iterator[tuple[Sequence[str], bool]]) -> Iterator[str]:
    """The sentences of a table in a text, whose rows come with whether the document says that they
    name the columns. That is seldom said: several words without a digit are taken for names
    (``are_names``); of two columns the first one may as well name what the second holds."""
    first, said = next(rows, ((), False))
    rest = (cells for cells, _ in rows)
    names = said or are_names(first)
    yield from sentences(first, rest) if names else sentences([], chain([first], rest))


def are_names(cells: Sequence[str]) -> bool:
    """Whether the cells of a first row are likely to name the columns."""
    return len(cells) > 2 and all(cells) and not _digits(cells)


def sheet(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The sentences of a sheet, in which empty rows part tables: single cells above one are lines;
    its first row of several names the columns if no cell in it has a digit."""
    for filled, table in groupby(rows, any):
        yield from _parted(table) if filled else ()


def _parted(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        filled = [cell for cell in row if cell]
        if len(filled) > 1:
            named = not _digits(filled)
            yield from sentences(row if named else [], rows if named else chain([row], rows))
            return
        yield from filled


def may_name(cells: Sequence[str]) -> bool:
    """The same where nothing but place tells that they are cells: they look like names then, and no
    two are alike. Code does not, nor do parts of a sentence."""
    alike = len({*cells}) < len(cells) or SIGN in cells[1:]
    return are_names(cells) and not alike and all(map(NAME.fullmatch, cells))


def _digits(cells: Iterable[str]) -> bool:
    return any(c.isdigit() for cell in cells for c in cell)


def _sentence(names: Sequence[str], cells: Sequence[str]) -> str:
    """The first cell that holds something is what the others are said of; alone it is a heading."""
    named = zip_longest(names[: len(cells)], cells, fillvalue="")
    held = [(name, cell) for name, cell in named if cell]
    if len(held) < 2:
        return "".join(cell for _, cell in held)
    first, *others = (f"{name} {cell}".strip() for name, cell in held)
    return f"{first}: {', '.join(others)}."


def _bare(cell: str) -> str:
    return " ".join(cell.split())
