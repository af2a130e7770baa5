"""Lines into which a paragraph was broken, joined where its sentence goes on; knows no formats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise

from index.lexical import STOPWORDS
from index.sections import MARK

FULL = 0.7
"""How much of the longest lines a line fills that goes on in the next one."""
WHOLE = 0.85
"""How much of them one fills that goes on in a next one that begins with a figure or quotation."""
LEAST = 40
"""Characters of the longest line at least in a paragraph that was broken for its width."""

_ITEM = re.compile(r"\s*(?:[•◦▪‣·–—*+-]\s|\(?\w{1,3}[.)]\s)")
"""Begins an item of a list."""
_CLOSED = frozenset(".!?:;{}\\-\u00ad\u2010")
"""Ends of lines that end a sentence, a line of code, or half of a word."""
_QUOTES = "\"'‘’“”„«»([<"
_ROW = re.compile(r"\||\S(?:\t+| {3,})\S")
"""Parts columns."""
_CODE = ("    ", "\t")


def joined(lines: Sequence[str], full: float) -> str:
    """Lines of at least ``full`` characters joined with the next one, if the sentence goes on: rows
    of a table may be as long, but a next one begins with a capital or a figure."""
    return _told(lines, [goes_on(*pair, full) for pair in pairwise(lines)])


def unwrapped(text: str, *, code: bool = False) -> str:
    """A text in which the paragraphs that were broken for their width are whole; headings
    (``index.sections``), tables and, with ``code``, what is indented as that stay as they are."""
    groups = groupby(text.split("\n"), lambda line: bool(line.strip()) and line[0] != MARK)
    return "\n".join(
        _paragraph([*group], code) if words else "\n".join(group) for words, group in groups
    )


def _paragraph(lines: Sequence[str], code: bool) -> str:
    """Where most lines go on in a next one that begins with a small letter, those do too that had
    no room for its first word."""
    longest = max(len(line.strip()) for line in lines)
    kept = code and lines[0].startswith(_CODE) and not _ITEM.match(lines[0])
    if longest < LEAST or kept or any(map(_ROW.search, lines)):
        return "\n".join(lines)
    joins = [goes_on(*pair, FULL * longest) for pair in pairwise(lines)]
    if 2 * sum(joins) >= len(joins):
        width = max(len(line.rstrip()) for line in lines)
        more = (_is_full(*pair, width) for pair in pairwise(lines))
        joins = [one or other for one, other in zip(joins, more, strict=True)]
    return _told(lines, joins)


def _told(lines: Sequence[str], joins: Sequence[bool]) -> str:
    told = [*lines[:1]]
    for line, joined_on in zip(lines[1:], joins, strict=True):
        told += (" ", line.lstrip()) if joined_on else ("\n", line)
    return "".join(told)


def goes_on(line: str, following: str, full: float) -> bool:
    """Whether a sentence goes on in the next line, for its line is of ``full`` characters."""
    first, length = following.lstrip()[0], len(line.strip())
    within = first.islower() or line.split()[-1].lower() in STOPWORDS
    figure = length >= WHOLE / FULL * full and (first.isdecimal() or first in _QUOTES)
    return length >= full and (within or figure) and _may_go_on(line, following)


def _is_full(line: str, following: str, width: int) -> bool:
    first = following.split(None, 1)[0]
    return len(line.rstrip()) + 1 + len(first) > width and _may_go_on(line, following)


def _may_go_on(line: str, following: str) -> bool:
    return line.rstrip()[-1] not in _CLOSED and not _ITEM.match(following)
