"""What stands above or below every page, and tables of contents: no part of what a text says. Knows
lines and pages, no formats.

Either would stand in the middle of a sentence, or take the place of a passage that answers.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from operator import mul
from typing import TypeVar

from index.flow import FULL, goes_on

Line = TypeVar("Line")

EDGE = 2
"""Lines above and below a page's text, at most."""
NEAR = 4
"""Pages before and behind one that are compared with it, left ones and right ones."""
OFTEN = 2
"""Of these, how many must have such a line in the same place."""
FEED = "\f"
SHOWN = 120
"""Characters of the longest line above or below a page; and of the end of a line that show whether
it is an entry of a table of contents."""
LONGEST = 1 << 16
"""Characters of a page of plain text."""
ENTRIES = 8
"""Lines in a row, with dots that lead to a number, of a table of contents at least; fewer may be a
list of prices."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_FIRST = re.compile(r"\W*(\d+)(?=\s)")
_LAST = re.compile(r"(?:^|\s)\W*(\d+)\W*$")
_ROMAN = re.compile(r"[ivxlc]+")
_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_ONLY_PAGE = re.compile(r"\W*(?:page|seite|p)?\W*#\W*(?:(?:of|von)?\W*#)?\W*", re.IGNORECASE)
_ENTRY = re.compile(r".*[\s.](?:\d+|[ivxlc]+)\s*$")
_LED = re.compile(r"(?:\. ?){4,}\s*\w+\s*$")
_CONTENTS = re.compile(r"\W*(?:table of )?contents|inhalt(?:sverzeichnis)?\W*", re.IGNORECASE)


def bodies(
    pages: Iterable[Sequence[Line]], words: Callable[[Line], str] = str
) -> Iterator[Sequence[Line]]:
    """The lines of each page without those that stand above and below other pages too, but for the
    number of the page. A line that has none stays where it comes first: it may be a title.
    ``words``: those of a line, none if it is surely of the text."""
    before: deque[Sequence[str]] = deque(maxlen=NEAR)
    ahead: deque[tuple[Sequence[Line], Sequence[str]]] = deque()
    source = iter(pages)
    while True:
        for page in source:
            ahead.append((page, _edges(page, words)))
            if len(ahead) > NEAR:
                break
        if not ahead:
            return
        page, edges = ahead.popleft()
        near = [(-n, other) for n, other in enumerate(reversed(before), 1)]
        near += [(n, other) for n, (_, other) in enumerate(ahead, 1)]
        top, bottom = (_running(edges, places, near) for places in (_TOP, _BOTTOM))
        before.append(edges)
        yield page[top : max(top, len(page) - bottom)]


_TOP, _BOTTOM = range(EDGE), range(2 * EDGE - 1, EDGE - 1, -1)


def unpaged(pieces: Iterable[str]) -> Iterator[str]:
    """A text that form feeds part into pages as if it had none; others as they are."""
    source = iter(pieces)
    first = next(source, "")
    if FEED not in first:
        yield first
        yield from source
        return
    last, full = "", 0.0
    for page in bodies(_pages(chain([first], source)), str.strip):
        if lines := _trimmed(page):
            within = bool(last) and goes_on(last, lines[0], full)
            yield ("\n" if within else "\n\n" if last else "") + "\n".join(lines)
            last, full = lines[-1], FULL * max(len(line.strip()) for line in lines)


def _pages(pieces: Iterable[str]) -> Iterator[Sequence[str]]:
    """The lines of each page; of one that is longer than ``LONGEST`` those of its parts."""
    held = ""
    for piece in pieces:
        *pages, held = (held + piece).split(FEED)
        while len(held) > LONGEST:
            cut = held.rfind("\n", 0, LONGEST) + 1 or LONGEST
            pages.append(held[:cut])
            held = held[cut:]
        yield from (_trimmed(page.split("\n")) for page in pages)
    yield _trimmed(held.split("\n"))


def _trimmed(lines: Sequence[str]) -> Sequence[str]:
    """Without the empty ones before and behind the others."""
    said = [n for n, line in enumerate(lines) if line.strip()]
    return lines[said[0] : said[-1] + 1] if said else []


def _edges(page: Sequence[Line], words: Callable[[Line], str]) -> Sequence[str]:
    """The lines at its top and at its bottom, empty where they are too long to be running ones; of
    a short page some are both."""
    said = [line if len(line) <= SHOWN else "" for line in map(words, page[:EDGE])]
    last = [line if len(line) <= SHOWN else "" for line in map(words, page[-EDGE:])]
    none = [""] * max(0, EDGE - len(page))
    return [*said, *none, *none, *last]


def _running(edges: Sequence[str], places: range, near: list[tuple[int, Sequence[str]]]) -> int:
    """How many lines of one edge, from without, are running ones."""
    for count, place in enumerate(places):
        others = [(distance, other[place]) for distance, other in near]
        if not _is_running(edges[place], others):
            return count
    return len(places)


def _is_running(line: str, others: list[tuple[int, str]]) -> bool:
    if not line:
        return False
    counted = sum(_counts_on(line, other, distance) for distance, other in others)
    if counted >= (1 if _ONLY_PAGE.fullmatch(_NUMBER.sub("#", line)) else OFTEN):
        return True
    same = [distance for distance, other in others if other == line]
    return len(same) >= OFTEN and min(same) < 0 and any(map(str.isalnum, line))


def _counts_on(line: str, other: str, distance: int) -> bool:
    """Whether another line has the number of its page where this one has that of its own: at
    either end, or among the same words."""
    if {page + distance for page in _outer(line)} & _outer(other):
        return True
    if _NUMBER.sub("#", line) != _NUMBER.sub("#", other):
        return False
    both = zip(_NUMBER.findall(line), _NUMBER.findall(other), strict=True)
    return {_page(b) - _page(a) for a, b in both if a != b} == {distance}


def _outer(line: str) -> set[int]:
    """The number that a line begins with, and the one that it ends with, or a Roman one alone."""
    if _ROMAN.fullmatch(line):
        values = [_VALUES[letter] for letter in line]
        signs = [-1 if a < b else 1 for a, b in pairwise([*values, 0])]
        return {sum(map(mul, values, signs))}
    return {_page(found[1]) for found in (_FIRST.match(line), _LAST.search(line)) if found}


def _page(number: str) -> int:
    """0 for what numbers no page."""
    return int(number) if number.isdecimal() and len(number) < 6 else 0


def without_contents(lines: Sequence[str]) -> list[bool]:
    """Which lines are no entries of a table of contents."""
    kept = [True] * len(lines)
    said = [n for n, line in enumerate(lines) if line.strip()]
    before: list[str] = []
    for is_entry, group in groupby(said, lambda n: bool(_ENTRY.match(lines[n][-SHOWN:]))):
        places = [*group]
        if is_entry:
            headed = any(map(_CONTENTS.fullmatch, before))
            for n in _contents([(n, lines[n][-SHOWN:]) for n in places], headed):
                kept[n] = False
        before = [lines[n].strip() for n in places[-3:]]
    return kept


def _contents(lines: Sequence[tuple[int, str]], headed: bool) -> Sequence[int]:
    """The places of those lines, of some that end with a number, which are a table of contents, if
    any: up to the last one with dots, enough of them have dots, and their pages follow each other
    (Roman numbers, which come before, are not compared)."""
    led = [n for n, (_, line) in enumerate(lines) if _LED.search(line)]
    if len(led) < (2 if headed else ENTRIES):
        return []
    entries = lines[0 if headed else led[0] : led[-1] + 1]
    pages = [_page(line.split()[-1].lstrip(".")) for _, line in entries]
    ascend = all(a <= b for a, b in pairwise(filter(None, pages)))
    return [place for place, _ in entries] if ascend and 2 * len(led) >= len(entries) else []
