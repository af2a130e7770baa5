"""Tables of plain text, told by bars between cells or by aligned columns; knows lines alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from index.tables import may_name, sentences

LINES, WIDEST = 2_000, 300
"""Lines, and characters of one, of a table at most."""
ROWS = 3
"""Lines of columns at least, and of the names of some between bars at most."""
_BARS = "|│┃║"
_RULE = re.compile(r"[\s|+:=\-─━═│┃║┼┬┴├┤┌┐└┘╪╞╡╤╧╔╗╚╝╠╣╬╦╩┏┓┗┛┣┫╋┳┻]*")
_DASHES = re.compile(r"[-=─━═]{2}")
_BAR = re.compile(rf"[{_BARS}]")
_COLUMN = re.compile(r"x(?:x| (?! ))*")
"""Where lines say something; two blanks part columns."""


def told(lines: Sequence[str]) -> Sequence[str] | None:
    """The rows of a table as sentences (``index.tables``), if some lines without an empty one among
    them are one whose columns have names."""
    if not ROWS <= len(lines) <= LINES or max(map(len, lines)) > WIDEST:
        return None
    return _between_bars(lines) or _in_columns([line.expandtabs() for line in lines])


def _is_rule(line: str) -> bool:
    return bool(_RULE.fullmatch(line) and _DASHES.search(line))


def _between_bars(lines: Sequence[str]) -> Sequence[str] | None:
    """Of lines between rules, as databases and typewriters draw them. A line is a row, unless each
    row has rules around it: then the first one has names if they look so, or a rule of another
    kind is below it."""
    groups = [[*some] for rule, some in groupby(lines, _is_rule) if not rule]
    said = [line.strip() for some in groups for line in some]
    counts = {len(_BAR.findall(line)) for line in said}
    if len(groups) < 2 or len(counts) != 1 or len(groups[0]) > ROWS:
        return None
    left, right = (all(line[end] in _BARS for line in said) for end in (0, -1))
    if counts.pop() - left - right < 1:
        return None
    head, *rows = ([_cells(line, left, right) for line in some] for some in groups)
    names, told = _joined(head), [*map(_joined, rows)]
    if len(rows) == 1:
        return [*sentences(names, _rows(rows[0]))]
    rules = [line.strip()[1] for line in lines[lines.index(groups[0][0]) :] if _is_rule(line)]
    if may_name(names) or rules.count(rules[0]) == 1 < len(rules):
        return [*sentences(names, told)]
    return [*sentences([], [names, *told])]


def _cells(line: str, left: bool, right: bool) -> list[str]:
    """``left``, ``right``: whether a bar is before the first cell, and behind the last one."""
    cells = [cell.strip() for cell in _BAR.split(line.strip())]
    return cells[left : len(cells) - right]


def _joined(lines: Sequence[Sequence[str]]) -> list[str]:
    return [" ".join(filter(None, cells)) for cells in zip(*lines, strict=True)]


def _rows(lines: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """A line whose first cell is empty goes on with the row above."""
    row: list[Sequence[str]] = []
    for cells in lines:
        if cells[0] and row:
            yield _joined(row)
            row = []
        row.append(cells)
    yield _joined(row)


def _in_columns(lines: Sequence[str]) -> Sequence[str] | None:
    """Of lines whose columns nothing but blanks part, with or without a rule below the names."""
    said = [line for line in lines if not _is_rule(line)]
    width = max(map(len, lines))
    if len(said) < ROWS or width > WIDEST:
        return None
    padded = [line.ljust(width) for line in said]
    free = "".join(
        " " if column.isspace() else "x" for column in map("".join, zip(*padded, strict=True))
    )
    spans = [match.span() for match in _COLUMN.finditer(free)]
    rows = [[line[slice(*span)].strip() for span in spans] for line in padded]
    if len(spans) < 2 or not rows[0][0]:
        return None
    head, *told = _rows(rows)
    named = all(head) and _is_rule(lines[1]) if len(said) < len(lines) else may_name(head)
    return [*sentences(head, told)] if named and len(told) > 1 else None
