"""Text of a PDF by PDFium, a page at a time; knows nothing of documents, and reads no pictures.

A PDF knows letters and places, no paragraphs: what is a heading is told by its type, and where a
paragraph goes on by how far its lines reach.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import IO, Any, NamedTuple

from index.documents import Unreadable
from index.flow import FULL, joined
from index.sections import bold_heading, heading, unmarked

HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\r?\n(?=[^\W\d_A-Z])")
"""A word cut at the end of a line; before a capital or a figure the hyphen is its own."""
JOINED = re.compile("[\x02\ufffe]")
"""What PDFium writes where it joined a cut word itself."""
LARGER = (1.9, 1.6, 1.35, 1.2, 1.08)
"""How many times the size of the text a heading is, from the first level down."""
LINES, LONGEST = 3, 150
"""Lines and characters of the longest heading."""
BOLD = re.compile(r"bold|black|heavy|demi|cmbx", re.IGNORECASE)
"""Names of bold fonts, and TeX's."""
NO_HEADING = re.compile(r"[.,;]$|[. ]{5}")
"""The end of a sentence, or the dots of a table of contents."""
NUMBER = re.compile(r"\d+")
RUNNING = 4
"""Pages before, left and right ones, whose first lines are known."""


def extract(stream: IO[bytes]) -> tuple[str, str, Iterator[str]]:
    """``(title, date, pages)``; a page ends like a paragraph. Title and date (of the last change)
    are those of the metadata, if any.

    Raises:
        Unreadable: it is encrypted or no PDF; on the way, a PDF whose pages hold no text.
    """
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(stream)
        title, changed, made = map(pdf.get_metadata_value, ("Title", "ModDate", "CreationDate"))
        return " ".join(title.split()), changed or made, _pages(pdf)
    except pypdfium2.PdfiumError as error:
        raise Unreadable(_reason(str(error))) from error


def _pages(pdf: Any) -> Iterator[str]:
    from pypdfium2 import PdfiumError

    empty = True
    layout = Layout()
    try:
        for number in range(len(pdf)):
            if text := clean(layout.text(_lines(pdf, number))):
                empty = False
                yield text + "\n\n"
    except PdfiumError as error:
        raise Unreadable(f"broken PDF: {error}") from error
    finally:
        pdf.close()
    if empty:
        raise Unreadable("no text in it (scanned?)")


class Line(NamedTuple):
    """``size``: that of its letters in points, 0 where they differ or it is not known;
    ``bold``: whether all are."""

    text: str
    size: float
    bold: bool


def _lines(pdf: Any, number: int) -> list[Line]:
    """The lines of a page."""
    page = pdf[number]
    words = page.get_textpage()
    text = words.get_text_bounded()
    known = words.count_chars() == len(text)
    lines = []
    begin = 0
    for line in text.split("\r\n"):
        letters = [begin + i for i, c in enumerate(line) if c.isalnum()] if known else []
        some = {letters[i * (len(letters) - 1) // 2] for i in range(3)} if letters else set()
        types = {_type(words, place) for place in some}
        size = next(iter(types))[0] if len({size for size, _ in types}) == 1 else 0.0
        lines.append(Line(unmarked(line.strip()), size, bool(types) and all(b for _, b in types)))
        begin += len(line) + 2
    words.close()
    page.close()
    return lines


def _type(words: Any, place: int) -> tuple[float, bool]:
    """Size, in half points, and boldness of one letter."""
    import ctypes

    from pypdfium2 import raw

    matrix = raw.FS_MATRIX()
    scaled = raw.FPDFText_GetMatrix(words.raw, place, matrix)
    times = math.hypot(matrix.c, matrix.d) if scaled else 0.0
    size = raw.FPDFText_GetFontSize(words.raw, place) * times
    name = ctypes.create_string_buffer(128)
    length = raw.FPDFText_GetFontInfo(words.raw, place, name, len(name), None)
    font = name.raw[: min(length, len(name))].decode("utf-8", "replace")
    return round(2 * size) / 2, bool(BOLD.search(font))


class Layout:
    """What the pages of a PDF look like, so far."""

    def __init__(self) -> None:
        self._types: Counter[tuple[float, bool]] = Counter()
        self._first: deque[str] = deque(maxlen=RUNNING)

    def text(self, lines: Sequence[Line]) -> str:
        """A page's paragraphs, with its headings marked (``index.sections``)."""
        lines = [line for line in lines if line.text]
        if not lines:
            return ""
        for line in lines:
            self._types[line.size, line.bold] += len(line.text)
        longest = sorted(len(line.text) for line in lines)[-1 - len(lines) // 10]
        possible = zip(self._may_head(lines), lines, strict=True)
        levels = [self._level(line) if may_head else 0 for may_head, line in possible]
        told = []
        rows = zip(levels, lines, strict=True)
        for (level, _), group in groupby(rows, lambda row: (row[0], row[0] and row[1].size)):
            some = [line for _, line in group]
            told.append(_head(level, some) or joined([line.text for line in some], FULL * longest))
        return "\n".join(told)

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
        (size, bold), _ = self._types.most_common(1)[0]
        if not size or not line.size:
            return 0
        larger = sum(line.size < times * size for times in LARGER)
        if larger < len(LARGER):
            return larger + 1
        return len(LARGER) + 1 if line.bold and not bold and line.size >= size else 0


def _head(level: int, lines: Sequence[Line]) -> str:
    """The line of a heading, empty if it is none."""
    words = " ".join(line.text for line in lines)
    if not level or len(lines) > LINES or len(words) > LONGEST or NO_HEADING.search(words):
        return ""
    if level > len(LARGER):
        return bold_heading(words)
    return heading(level, words) if any(c.isalpha() for c in words) else ""


def clean(text: str) -> str:
    """A page with its cut words joined and plain line ends."""
    return HYPHEN.sub("", JOINED.sub("", text)).replace("\r\n", "\n").replace("\0", "").strip()


def _reason(message: str) -> str:
    if "password" in message.lower():
        return "encrypted; save it without a password"
    return f"no PDF that can be read: {message}"
