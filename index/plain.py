"""Plain text, whose headings are told by how they stand there; knows lines, no documents.

Who writes plain text underlines a heading, numbers it, writes it in capitals, or leaves it alone
between empty lines. What might as well be a line of a paragraph or an item of a list is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

from index import aligned
from index.flow import unwrapped
from index.running import unpaged, without_contents
from index.sections import LEVELS, heading, unmarked

LONGEST = 80
"""Characters of the longest heading."""
SHORT = 60
"""Characters of the longest one that nothing marks but empty lines, and of no paragraph."""
FEW = 4
"""Words of the longest one that nothing marks but empty lines and that ends with a colon; letters
of the shortest one in capitals."""
ITEMS = 6
"""Lines in a row, each alone between empty ones, of a list at least, if one begins with a small
letter; the last one may be a heading."""
MARGIN = 4
"""Blanks before one that nothing marks but empty lines, at most."""
HELD = 1 << 16
"""Characters that are held until it is known what follows them."""

_EMPTY = re.compile(r"\n[^\S\n]*\n")
_RULE = re.compile(r"([=\-~^\"*+#_])\1{2,}")
_UNDER = {"=": 1, "#": 1, "*": 1, "-": 2, "_": 2, "~": 3}
"""The levels of headings by what underlines them; all others have the next one."""
_CHAPTER = re.compile(
    r"(?i:(book|part|chapter|appendix|annex|teil|kapitel|anhang)|(article|amendment|artikel|abschnitt)"
    r"|(section|§))\s+(?:\d+|(?i:[ivxlc]+)|[A-Z])\b(?!\s+[a-z])"
)
"""Its groups are the levels: an article has sections."""
_NUMBERED = re.compile(
    r"\s*((?:\d{1,3}\.|[A-Z]\.(?=\d))+\d{0,3}|\d{1,3}\)|[A-Z][.)]|[IVXLC]{1,6}[.)])\s+(?=\w)"
)
_ASIDE = re.compile(r"(?:note|warning|caution|important|tip|example|todo)s?\b", re.IGNORECASE)
_ENDS = frozenset(".!?")
_NUMBERED_ENDS = frozenset(".,;:>")
_ALONE_ENDS = _ENDS | frozenset(",;")
"""Ends of sentences, and of what is no heading though it has a number or stands alone."""
_TITLE = re.compile(r"\w[\w\s,&/()'’:?–.-]*[\w):?]")
_GAP = re.compile(r"\. ?\. ?\.|\S(?:\t| {3})")
"""The dots of a table of contents, or what parts two columns."""


def extract(pieces: Iterable[str]) -> Iterator[str]:
    """The text that comes in pieces, its headings marked (``index.sections``), without what
    underlines them, its paragraphs whole."""
    held, fresh = "", True
    for part in (p[i : i + HELD] for p in unpaged(pieces) for i in range(0, len(p), HELD)):
        held += unmarked(part)
        if len(held) > HELD:
            cut, follows = _cut(held)
            yield unwrapped(_Lines(held, fresh).marked(held.count("\n", 0, cut))) if cut else held
            held, fresh = held[cut:] if cut else "", follows
    yield unwrapped(_Lines(held, fresh).marked())


def _cut(text: str) -> tuple[int, bool]:
    """Behind the last empty line but one, so that it is known what follows, or behind the last
    line, or 0 where there is but one; and whether an empty line is before it."""
    empty = [match.end() for match in _EMPTY.finditer(text, len(text) - HELD)]
    return (empty[-2], True) if len(empty) > 1 else (text.rfind("\n") + 1, False)


class _Lines:
    """Some lines of a text. ``fresh``: an empty one was before them."""

    def __init__(self, text: str, fresh: bool) -> None:
        self.lines = text.split("\n")
        self.words = [line.strip() for line in self.lines]
        self.rules = [bool(_RULE.fullmatch(words)) for words in self.words]
        self.fresh = fresh
        self.items = self._items()
        self.tables = dict(self._tables())

    def marked(self, count: int | None = None) -> str:
        """The first lines, headings with their marks; a line end behind them where there are
        more."""
        told: list[str] = []
        said = without_contents(self.lines[:count])
        lines = iter(range(len(said)))
        for i in lines:
            if not said[i]:
                continue
            if i in self.tables:
                rows, end = self.tables[i]
                told += rows
                next(islice(lines, end - i - 1, end - i - 1), None)
                continue
            level = self._level(i)
            told.append(heading(level, self.words[i].removesuffix(":")) if level else self.lines[i])
            if level and self._under(i):
                next(lines, None)
        return "\n".join(told if count is None else [*told, ""])

    def _level(self, i: int) -> int:
        """That of a heading, 0 of another line."""
        words = self.words[i]
        if not words or len(words) > LONGEST or not self._free(i - 1):
            return 0
        if not any(map(str.isalpha, words)):
            return 0
        if under := self._under(i):
            return under
        if self._next(i) < 0 or _GAP.search(words) or _ASIDE.match(words):
            return 0
        kinds = (self._chapter, self._numbered, self._capitals, self._alone)
        return next(
            (level for kind in kinds[: 1 if i in self.items else 4] if (level := kind(i))), 0
        )

    def _tables(self) -> Iterator[tuple[int, tuple[Sequence[str], int]]]:
        """Where tables begin, with their rows as sentences, and end; a line may stand right above
        one."""
        for words, group in groupby(range(len(self.lines)), lambda i: bool(self.words[i])):
            block = [*group]
            for above in (0, 1) if words else ():
                begin, end = block[0] + above, block[-1] + 1
                if rows := aligned.told(self.lines[begin:end]):
                    yield begin, (rows, end)
                    break

    def _items(self) -> set[int]:
        """The lines of lists whose items are parted by empty lines."""
        items: set[int] = set()
        said = [i for i, words in enumerate(self.words) if words]
        for alone, group in groupby(said, lambda i: self._empty(i - 1) and not self._says(i)):
            run = [*group]
            if alone and len(run) >= ITEMS and any(self.words[i][0].islower() for i in run):
                items.update(run[:-1])
        return items

    def _last(self, i: int) -> str:
        """The last character within quotation marks."""
        return self.words[i].rstrip("\"'”’»“")[-1:]

    def _empty(self, i: int) -> bool:
        if i < 0:
            return self.fresh
        return i >= len(self.lines) or not self.words[i]

    def _free(self, i: int) -> bool:
        """Whether this line is empty, or a rule that underlines nothing."""
        return self._empty(i) or (self.rules[i] and self._empty(i - 1))

    def _next(self, i: int) -> int:
        """The next line with words, -1 if there is none."""
        later = range(i + 1, len(self.lines))
        return next((j for j in later if self.words[j] and not self.rules[j]), -1)

    def _under(self, i: int) -> int:
        """The level of what the next line underlines, 0 if it does not."""
        if i + 1 >= len(self.lines) or not self.rules[i + 1] or self.rules[i]:
            return 0
        rule = self.words[i + 1]
        over = i > 0 and self.words[i - 1] == rule
        fits = over or abs(len(rule) - len(self.words[i])) <= 2
        return _UNDER.get(rule[0], 4) if fits else 0

    def _chapter(self, i: int) -> int:
        named = _CHAPTER.match(self.words[i])
        return (named.lastindex or 0) if named and self._empty(i + 1) else 0

    def _numbered(self, i: int) -> int:
        """A number of a heading stands above text that does not go on under its words, and not
        before the same kind of number, as one of a list does."""
        line = self.lines[i].expandtabs()
        number = _NUMBERED.match(line)
        if not number or self._last(i) in _NUMBERED_ENDS:
            return 0
        depth = _depth(number)
        if self._empty(i + 1):
            below = _NUMBERED.match(self.lines[self._next(i)])
            fits = not below or _depth(below) != depth
        else:
            inner = _indent(self.lines[i + 1])
            fits = _indent(line) < inner != number.end()
        return min(1 + depth, LEVELS - 1) if fits else 0

    def _capitals(self, i: int) -> int:
        words, under = self.words[i], self.words[self._next(i)]
        capitals = words == words.upper() != words.lower()
        title = capitals and sum(map(str.isalpha, words)) >= FEW and _TITLE.fullmatch(words)
        return int(bool(title) and under != under.upper())

    def _says(self, i: int) -> bool:
        """Whether a line is of a paragraph, and no item of a list."""
        long = len(self.words[i]) > SHORT or self._last(i) in _ENDS
        return long or not self._empty(i + 1)

    def _alone(self, i: int) -> int:
        """Between empty lines, and what follows is a paragraph."""
        words, below = self.words[i], self._next(i)
        title = words[0].isupper() and len(words) <= SHORT and self._last(i) not in _ALONE_ENDS
        if not title or not self._empty(i + 1) or _indent(self.lines[i]) > MARGIN:
            return 0
        if words[-1] == ":" and len(words.split()) > FEW:
            return 0
        before = next((self.words[j] for j in range(i - 1, -1, -1) if self.words[j]), "")
        return LEVELS if self._says(below) and not before.endswith(":") else 0


def _depth(number: re.Match[str]) -> int:
    return len([part for part in re.split(r"[.)]", number[1]) if part])


def _indent(line: str) -> int:
    bare = line.expandtabs()
    return len(bare) - len(bare.lstrip())
