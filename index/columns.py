"""Tables of a page, told by where its words and rules stand; knows places, no format.

A page has words, and no cells. Rules part cells where they are a grid. Without one, words are a
table where, over some rows, the same upright strips are free of them, and what stands between is
written row by row: the columns of a newspaper are written one after the other.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

ROWS = 3
"""Lines of a table without rules at least."""
WIDE = 0.9
"""Heights of a line that part two columns in one row at least."""
SAME = 1.5
"""Points between places that are one."""
FAR = 3.0
"""Heights of a line between two rows at most."""
NEXT = 3
"""Characters, at most, from the end of a word to the next one that was written after it."""
IN_ORDER = 1 / 3
"""Share of the rows, at least, that are written from left to right."""
THIN = 3.0
"""Points: as thick is a rule at most, and as far from each other are two that are one."""


class Word(NamedTuple):
    """A word at characters ``start`` to ``end`` of a page's text, and where it stands, in points
    from its lower left corner."""

    text: str
    start: int
    end: int
    left: float
    right: float
    bottom: float
    top: float

    @property
    def height(self) -> float:
        return self.top - self.bottom

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2


class Rule(NamedTuple):
    """A thin line ``at`` one place, from ``begin`` to ``end`` of the other axis, in points."""

    at: float
    begin: float
    end: float


class Rules(NamedTuple):
    """``level`` ones are ``at`` a height, ``upright`` ones at a distance from the left."""

    level: Sequence[Rule]
    upright: Sequence[Rule]


Row = list[Word]
Strip = tuple[float, float]


class Table(NamedTuple):
    """The words of each cell of each row, which characters ``start`` to ``end`` of a page's text
    are. ``ruled``: whether rules part them."""

    start: int
    end: int
    rows: Sequence[Sequence[Sequence[Word]]]
    ruled: bool

    @property
    def cells(self) -> list[list[str]]:
        return [[" ".join(word.text for word in cell) for cell in row] for row in self.rows]


def tables(words: Sequence[Word], rules: Rules) -> list[Table]:
    """The tables that these words of a page stand in, in the order in which they are written."""
    grids = [table for grid in _grids(rules) if (table := _filled(words, grid))]
    others = [w for w in words if not any(t.start <= w.start < t.end for t in grids)]
    rows = _rows(others)
    free = (_table(rows[begin:end], rules.level) for begin, end in _runs(rows))
    return sorted(t for t in [*grids, *free] if t and _is_whole(t, words))


def _is_whole(table: Table, words: Sequence[Word]) -> bool:
    """Whether no other words were written among those of a table."""
    among = sum(table.start <= word.start < table.end for word in words)
    return among == sum(len(cell) for row in table.rows for cell in row)


class Grid(NamedTuple):
    """Where its columns and rows end, from the left and from below."""

    across: Sequence[float]
    up: Sequence[float]


def _grids(rules: Rules) -> Iterator[Grid]:
    """Of the rules that cross each other, or nearly so."""
    uprights = sorted(_whole(rules.upright), key=lambda rule: -rule.end)
    reach, number = 0.0, 0
    groups: list[tuple[int, Rule]] = []
    for rule in uprights:
        number += rule.end < reach
        reach = min(reach, rule.begin) if groups and number == groups[-1][0] else rule.begin
        groups.append((number, rule))
    for _, group in groupby(groups, lambda pair: pair[0]):
        some = [rule for _, rule in group]
        below, above = min(r.begin for r in some) - THIN, max(r.end for r in some) + THIN
        level = [rule for rule in _whole(rules.level) if below <= rule.at <= above]
        if level:
            sides = [min(rule.begin for rule in level), max(rule.end for rule in level)]
            across = _apart([*sides, *(rule.at for rule in some)])
            yield Grid(across, _apart([rule.at for rule in level]))


def _whole(rules: Sequence[Rule]) -> list[Rule]:
    """Each as long as its parts are together."""
    told: list[Rule] = []
    for rule in sorted(rules):
        for number, other in enumerate(told[-20:], max(0, len(told) - 20)):
            near = abs(rule.at - other.at) <= THIN
            if near and rule.begin <= other.end + THIN and rule.end >= other.begin - THIN:
                begin, end = min(rule.begin, other.begin), max(rule.end, other.end)
                told[number] = Rule(other.at, begin, end)
                break
        else:
            told.append(rule)
    return told


def _apart(places: Sequence[float]) -> list[float]:
    """In order, without those that are nearly the one before."""
    told: list[float] = []
    for place in sorted(places):
        if not told or place - told[-1] > THIN:
            told.append(place)
    return told


def _filled(words: Sequence[Word], grid: Grid) -> Table | None:
    """The table of a grid, if two of its rows say something in two columns."""
    if len(grid.across) < 3 or len(grid.up) < 3:
        return None
    (left, *across, right), bands = grid.across, [list[Word]() for _ in grid.up[1:]]
    for word in words:
        x, y = word.middle
        if left <= x < right and grid.up[0] <= y < grid.up[-1]:
            bands[-bisect(grid.up, y)].append(word)
    strips = [(at, at) for at in across]
    rows = [row for band in bands if band for row in _parts(band, strips)]
    table = _told(rows, strips, ruled=True) if rows else None
    return table if table and sum(sum(map(bool, row)) > 1 for row in table.rows) > 1 else None


def _parts(band: Row, strips: Sequence[Strip]) -> list[Row]:
    """The rows between two rules: more than one where each was written before the next, in two
    columns."""
    told: list[Row] = []
    for row in _joined(_rows(band), strips, []):
        if told and min(_breadth(told[-1], strips), _breadth(row, strips)) < 2:
            told[-1] += row
        else:
            told.append(row)
    return told


def _rows(words: Sequence[Word]) -> list[Row]:
    """Words on one line, from left to right, the highest line first."""
    rows: list[Row] = []
    for word in sorted(words, key=lambda word: -word.top):
        middle = (word.top + word.bottom) / 2
        if rows and rows[-1][0].bottom < middle:
            rows[-1].append(word)
        else:
            rows.append([word])
    return [sorted(row, key=lambda word: word.left) for row in rows]


def _runs(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Where rows begin and end that may be those of a table: near each other, and of two not both
    without a wide gap."""
    begin = 0
    for place, (row, following) in enumerate(pairwise([*rows, []]), 1):
        if not following or _far(row, following) or not (_parted(row) or _parted(following)):
            if place - begin >= ROWS:
                yield begin, place
            begin = place


def _far(row: Row, following: Row) -> bool:
    return row[0].bottom - following[0].top > FAR * row[0].height


def _parted(row: Row) -> bool:
    return any(b.left - a.right >= WIDE * a.height for a, b in pairwise(row))


def _table(rows: Sequence[Row], levels: Sequence[Rule]) -> Table | None:
    """Those of some rows that are a table, if there is one: without the lines above and below that
    are not written in its columns."""
    strips = _common(rows)
    within = [bool(strips) and not _crosses(row, strips) for row in rows]
    while rows and not (within[0] and _breadth(rows[0], strips) > 1):
        rows, within = rows[1:], within[1:]
    while rows and not within[-1]:
        rows, within = rows[:-1], within[:-1]
    if len(rows) < ROWS or not all(within) or sum(map(_is_in_order, rows)) < IN_ORDER * len(rows):
        return None
    told = _joined(rows, strips, levels)
    return _told(told, strips, ruled=False) if len(told) > 1 else None


def _common(rows: Sequence[Row]) -> list[Strip]:
    """The strips of the rows that have a wide gap, and of those others that begin each column where
    those do: names of columns may be near each other."""
    some = [row for row in rows if _parted(row)]
    strips = _strips(some)
    for row in rows:
        if not _parted(row) and all(_begins(row, strip) for strip in strips):
            more = _strips([*some, row])
            some, strips = ([*some, row], more) if len(more) >= len(strips) else (some, strips)
    return _without_empty(sorted(some, key=lambda row: -row[0].top), strips) if some else []


def _strips(rows: Sequence[Row]) -> list[Strip]:
    """The strips that no row has a word in, and that are wide in some, or right of which each row
    begins in one place."""
    if not rows:
        return []
    spans = sorted((word.left, word.right) for row in rows for word in row)
    reach = spans[0][1]
    free: list[Strip] = []
    for left, right in spans:
        if left > reach:
            free.append((reach, left))
        reach = max(reach, right)
    return [
        strip
        for strip in free
        if any(_gap(row, strip) >= WIDE for row in rows) or all(_begins(row, strip) for row in rows)
    ]


def _begins(row: Row, strip: Strip) -> bool:
    """Whether a word begins where a strip ends."""
    return any(abs(word.left - strip[1]) < SAME for word in row)


def _gap(row: Row, strip: Strip) -> float:
    """How wide it is in a row, in heights of a line; 0 where the row has nothing on one side."""
    left = max((word.right for word in row if word.right <= strip[0]), default=None)
    right = min((word.left for word in row if word.left >= strip[1]), default=None)
    return 0.0 if left is None or right is None else (right - left) / row[0].height


def _without_empty(rows: Sequence[Row], strips: Sequence[Strip]) -> list[Strip]:
    """Without those that part the words of a cell: on their right few rows have a word, and the
    first one has none, or one near the word before it, as in "Atomic number"."""
    filled = [{_column(word, strips) for word in row} for row in rows]
    told = []
    for column, strip in enumerate(strips, 1):
        seldom = 2 * sum(column in some for some in filled) <= len(rows)
        if not seldom or (column in filled[0] and _gap(rows[0], strip) >= WIDE):
            told.append(strip)
    return told


def _crosses(row: Row, strips: Sequence[Strip]) -> bool:
    """Whether a word stands in a strip, unless it only reaches into it from the column before."""
    return any(
        word.left < right and word.right > left and (word.left >= left or word.right > right)
        for word in row
        for left, right in strips
    )


def _breadth(row: Row, strips: Sequence[Strip]) -> int:
    """How many columns say something."""
    return len({_column(word, strips) for word in row})


def _column(word: Word, strips: Sequence[Strip]) -> int:
    return sum(word.middle[0] >= right for _, right in strips)


def _is_in_order(row: Row) -> bool:
    return len(row) > 1 and all(0 <= b.start - a.end <= NEXT for a, b in pairwise(row))


def _joined(rows: Sequence[Row], strips: Sequence[Strip], levels: Sequence[Rule]) -> list[Row]:
    """The words of each row of a table: a line goes on with the one above if no rule parts them,
    where rules part rows; else if that was not written to its end before this one was begun, or
    if it has nothing in the first column."""
    parted = [any(_is_between(rule, *pair) for rule in levels) for pair in pairwise(rows)]
    told = [[*rows[0]]]
    for row, rule in zip(rows[1:], parted, strict=True):
        within = max(w.start for w in told[-1]) > min(w.start for w in row)
        goes_on = within or _column(row[0], strips) > 0
        if not rule if sum(parted) >= ROWS - 1 else goes_on:
            told[-1] += row
        else:
            told.append([*row])
    return told


def _is_between(rule: Rule, row: Row, following: Row) -> bool:
    (left, above), (_, below) = row[0].middle, following[0].middle
    return below < rule.at < above and rule.begin <= left <= rule.end


def _told(rows: Sequence[Row], strips: Sequence[Strip], ruled: bool) -> Table:
    words = [word for row in rows for word in row]
    cells = [
        [
            sorted((w for w in row if _column(w, strips) == column), key=lambda word: word.start)
            for column in range(len(strips) + 1)
        ]
        for row in rows
    ]
    return Table(min(w.start for w in words), max(w.end for w in words), cells, ruled)
