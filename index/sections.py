"""The sections of a document, which its headings begin and name, and its pages; knows no format.

What a section says of "it" and "the warranty" is about what its headings name, so a chunk lies in
one section and is titled by it. A format's reader marks the line of a heading with ``heading``;
``Outline`` takes the marks out again and notes where each section begins; and so with ``page``
where each page does.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

MARK = "\ufdd0"
"""A noncharacter (Unicode §23.7), which no text that is exchanged holds."""
PAGE = "\ufdd1"
"""Another one: stands where a page begins."""
BETWEEN = " › "
"""Stands between a title and the headings below it."""
LEVELS = 6
DEEPEST = 2
"""Headings, the nearest ones, that name a section."""
LONGEST = 80
"""Characters kept of a heading in that name."""

_WORD = re.compile(r"\w+")
_LINE = re.compile(rf"^{MARK}([1-{LEVELS}])(.*)$", re.MULTILINE)


class Section(NamedTuple):
    """``start``: its first character in the document. ``name``: its headings below the document's
    title; empty where the title says the same."""

    start: int
    name: str


def heading(level: int, words: str) -> str:
    """The line of a heading with its mark; level 1 is the highest. No words are no heading."""
    words = " ".join(words.split())
    return f"{MARK}{max(1, min(level, LEVELS))}{words}" if words else ""


def end_of(level: int) -> str:
    """The line from which on no heading of this level, or below it, names what follows."""
    return f"{MARK}{level}"


def bold_heading(words: str) -> str:
    """The line of a heading that only bold type makes one; empty if it is no such thing."""
    words = words.strip()
    title = len(words) <= LONGEST and any(c.isalpha() for c in words) and words[-1] not in ".!?,;"
    return heading(LEVELS, words.removesuffix(":")) if title else ""


def unmarked(text: str) -> str:
    """A text in which nothing passes for a mark."""
    return text.replace(MARK, "").replace(PAGE, "")


class Outline:
    """The headings of one document so far, whose text may come in parts."""

    def __init__(self, title: str) -> None:
        self._title = _words(title)
        self._open: dict[int, str] = {}
        self._pages = 0

    def paged(self, marked: str) -> tuple[str, tuple[int, ...]]:
        """A part without the marks of its pages, and where the first page and each further one
        begins in what ``read`` makes of it: those of earlier parts at 0. None if there are no
        pages."""
        pieces = marked.split(PAGE)
        starts = [0] * self._pages
        at = 0
        for piece in pieces[:-1]:
            at += len(piece) - 2 * piece.count(MARK)
            starts.append(at)
        self._pages = len(starts)
        return "".join(pieces), tuple(starts)

    def read(self, marked: str) -> tuple[str, tuple[Section, ...]]:
        """The text of a part without marks, and the sections in it. A heading that is followed by
        another one, and no text, has no section of its own."""
        sections = [Section(0, self._name())] if self._open else []
        words: list[str] = []
        end = size = 0
        above = _above_repeated(marked)
        for line in _LINE.finditer(marked):
            before = marked[end : line.start()]
            self._enter(int(line[1]) - (line.start() in above), line[2])
            alone = bool(sections) and not before.strip()
            start = sections.pop().start if alone else size + len(before)
            sections.append(Section(start, self._name()))
            words += [before, line[2]]
            size += len(before) + len(line[2])
            end = line.end()
        return "".join([*words, marked[end:]]), tuple(sections)

    def _enter(self, level: int, words: str) -> None:
        above = {n: held for n, held in self._open.items() if n < level}
        self._open = above | ({level: words} if words else {})

    def _name(self) -> str:
        told = (words for words in self._open.values() if _words(words) not in self._title)
        return BETWEEN.join(words[:LONGEST].strip() for words in [*told][-DEEPEST:])


def _above_repeated(marked: str) -> set[int]:
    """Where, of headings of the lowest level, which no sign has ranked, those begin under which the
    others come again ("Brisa One", "Cleaning", "Warranty", "Brisa Duo", "Cleaning", "Warranty"):
    each stands once, before the first that stands there several times."""
    lowest = (line[2] for line in _LINE.finditer(marked) if line[1] == str(LEVELS))
    counted = Counter(words for words in lowest if words)
    first = next((words for words, times in counted.items() if times > 1), None)
    if first is None:
        return set()
    pairs = pairwise(_LINE.finditer(marked))
    return {line.start() for line, below in pairs if below[2] == first and counted[line[2]] == 1}


def _words(text: str) -> str:
    """Words alone, each between blanks."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
