"""Pages of lines, as a PDF has them, as paragraphs under headings; knows type and place, no PDF.

A page knows no paragraphs: what is a heading is told by its type, and where a paragraph goes on by
how far its lines reach.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, groupby
from typing import NamedTuple

from index.flow import FULL, goes_on, joined
from index.running import bodies, without_contents
from index.sections import PAGE, bold_heading, heading

HYPHEN = re.compile(rf"(?<=[^\W\d_])[-\u00ad\u2010]\r?\n({PAGE}*)(?=[^\W\d_A-Z])")
"""A word cut at the end of a line; before a capital or a figure the hyphen is its own."""
LARGER = (1.9, 1.6, 1.35, 1.2, 1.08)
"""How many times the size of the text a heading is, from the first level down."""
LINES, LONGEST = 3, 150
"""Lines and characters of the longest heading."""
NO_HEADING = re.compile(r"^(?!\d+(?:\.\d+)*\.? ).*[.,;]$|[. ]{5}")
"""The end of a sentence, unless a number begins it, or the dots of a table of contents."""
NUMBER = re.compile(r"\d+")
RUNNING = 4
"""Pages before, left and right ones, whose first lines are known."""


class Line(NamedTuple):
    """``size``: that of its letters in points, 0 where they differ or it is not known;
    ``bold``: whether all are."""

    text: str
    size: float
    bold: bool


class Page(NamedTuple):
    """``lines`` and what they say, a line of ``told`` a paragraph or heading, of which ``levels``
    tells for each line. ``full``: characters of one that reaches the margin."""

    lines: Sequence[Line]
    levels: Sequence[int]
    told: str
    full: float


class Layout:
    """What the pages of a document look like, so far."""

    def __init__(self) -> None:
        self._types: Counter[tuple[float, bool]] = Counter()
        self._first: deque[str] = deque(maxlen=RUNNING)

    def texts(self, pages: Iterable[Sequence[Line]]) -> Iterator[str]:
        """The paragraphs of all pages in pieces, headings and the beginnings of pages marked
        (``index.sections``), without what is the same above and below each, and without tables of
        contents. A sentence may go on over pages; else a page ends like a paragraph."""
        held, marks, last = "", "", None
        for lines in bodies(self._seen(pages), self._words):
            kept = without_contents([line.text for line in lines])
            marks += PAGE
            if page := self._page([*compress(lines, kept)]):
                held += (_between(last, page) if last else "") + marks + page.told
                cut = held.rfind("\n") + 1
                yield HYPHEN.sub(r"\1", held[:cut])
                held, marks, last = held[cut:], "", page
        yield held

    def _seen(self, pages: Iterable[Sequence[Line]]) -> Iterator[Sequence[Line]]:
        for lines in pages:
            for line in lines:
                if line.size:
                    self._types[line.size, line.bold] += len(line.text)
            yield [line for line in lines if line.text]

    def _words(self, line: Line) -> str:
        """What may stand above other pages as well: not what is set as a heading is."""
        return "" if 0 < self._level(line) <= len(LARGER) else line.text

    def _page(self, lines: Sequence[Line]) -> Page | None:
        if not lines:
            return None
        longest = FULL * sorted(len(line.text) for line in lines)[-1 - len(lines) // 10]
        possible = zip(self._may_head(lines), lines, strict=True)
        levels = [self._level(line) if may_head else 0 for may_head, line in possible]
        told = []
        rows = zip(levels, lines, strict=True)
        for (level, _), group in groupby(rows, lambda row: (row[0], row[0] and row[1].size)):
            some = [line for _, line in group]
            told.append(_head(level, some) or joined([line.text for line in some], longest))
        return Page(lines, levels, "\n".join(told), longest)

    def _may_head(self, lines: Sequence[Line]) -> list[bool]:
        """Which lines may be headings: not the last one of a page, nor a first one that stands
        above other pages too, but for its numbers."""
        first = NUMBER.sub("", lines[0].text)
        running = first in self._first
        self._first.append(first)
        return [not running, *[True] * (len(lines) - 2), False][-len(lines) :]

    def _level(self, line: Line) -> int:
        """Of a heading by the type it is set in, or 0: larger than the text is, or as large and
        bold among what is not."""
        if not line.size:
            return 0
        (size, bold), _ = self._types.most_common(1)[0]
        larger = sum(line.size < times * size for times in LARGER)
        if larger < len(LARGER):
            return larger + 1
        return len(LARGER) + 1 if line.bold and not bold and line.size >= size else 0


def _between(page: Page, following: Page) -> str:
    """What parts two pages: nothing but a blank where a sentence goes on."""
    last, first = page.lines[-1], following.lines[0]
    if page.levels[-1] or following.levels[0] or last.size != first.size:
        return "\n\n"
    if HYPHEN.search(f"{last.text}\n{first.text}"):
        return "\n"
    return " " if goes_on(last.text, first.text, page.full) else "\n\n"


def _head(level: int, lines: Sequence[Line]) -> str:
    """The line of a heading, empty if it is none."""
    words = " ".join(line.text for line in lines)
    if not level or len(lines) > LINES or len(words) > LONGEST or NO_HEADING.search(words):
        return ""
    if level > len(LARGER):
        return bold_heading(words)
    return heading(level, words) if any(c.isalpha() for c in words) else ""
