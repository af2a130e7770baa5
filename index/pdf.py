"""Text of a PDF by PDFium; knows nothing of documents, and reads no pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import IO, Any

from index.columns import THIN, Rule, Rules, Table, Word, tables
from index.documents import Unreadable
from index.layout import Layout, Line
from index.sections import unmarked
from index.tables import may_name, sentences

JOINED = re.compile("[\x02\ufffe]")
"""What PDFium writes where it joined a cut word itself."""
RUNNING = 3
"""Line ends, at most, between a table that goes on in the next page and what stands around it."""
LONGEST = 200
"""Characters of a cell of a table without names: longer ones are text that rules part."""
CHARACTERS, WORDS = 50_000, 5_000
"""Of a page that is looked through for tables, at most."""
DRAWINGS, SEGMENTS = 20_000, 10_000
"""What may be rules, at most: drawings of a page, and lines of one."""
BOLD = re.compile(r"bold|black|heavy|demi|cmbx", re.IGNORECASE)
"""Names of bold fonts, and TeX's."""


def extract(stream: IO[bytes]) -> tuple[str, str, Iterator[str]]:
    """``(title, date, text)``, the text in pieces. Title and date (of the last change) are those
    of the metadata, if any.

    Raises:
        Unreadable: it is encrypted or no PDF; on the way, a PDF whose pages hold no text.
    """
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(stream)
        title, changed, made = map(pdf.get_metadata_value, ("Title", "ModDate", "CreationDate"))
        return " ".join(title.split()), changed or made, _text(pdf)
    except pypdfium2.PdfiumError as error:
        raise Unreadable(_reason(str(error))) from error


def _text(pdf: Any) -> Iterator[str]:
    empty = True
    failed: list[Exception] = []
    try:
        for piece in Layout().texts(_pages(pdf, failed)):
            empty = empty and not piece.strip()
            yield piece
    finally:
        pdf.close()
    if failed:
        raise Unreadable(f"broken PDF: {failed[0]}") from failed[0]
    if empty:
        raise Unreadable("no text in it (scanned?)")


def _pages(pdf: Any, failed: list[Exception]) -> Iterator[list[Line]]:
    """The lines of each page up to one that cannot be read, whose error is noted."""
    from pypdfium2 import PdfiumError

    names: Sequence[str] = []
    try:
        for number in range(len(pdf)):
            lines, names = _lines(pdf[number], names)
            yield lines
    except PdfiumError as error:
        failed.append(error)


def _lines(page: Any, above: Sequence[str]) -> tuple[list[Line], Sequence[str]]:
    """Those of a page, rows of its tables as sentences (``index.tables``) where it is known what
    their columns are; and the names of the columns of a table that may go on in the next page.
    ``above``: those of the page before."""
    words = page.get_textpage()
    text = words.get_text_bounded()
    places = _places(words, text)
    told = {}
    for table in _tables(page, words, text, places):
        may_go_on = text.count("\n", 0, table.start) <= RUNNING
        rows, names = _told(table, above if may_go_on else [], _is_bold(words, table, places))
        if rows and not text[table.end :].partition("\r\n")[0].strip():
            told[table.start] = (table.end, rows)
        above = names if text.count("\n", table.end) <= RUNNING else []
    lines = []
    begin = until = 0
    for line in text.split("\r\n"):
        end, rows = told.get(begin + len(line) - len(line.lstrip()), (0, []))
        if end:
            until = end
            lines += [Line(_clean(row), 0.0, False) for row in rows]
        elif begin >= until:
            lines.append(_line(words, line, places[begin : begin + len(line)]))
        begin += len(line) + 2
    words.close()
    page.close()
    return lines, above


def _tables(page: Any, words: Any, text: str, places: Sequence[int]) -> list[Table]:
    if len(text) > CHARACTERS:
        return []
    found = _words(words, text, places)
    return tables(found, _rules(page)) if len(found) <= WORDS else []


def _told(table: Table, above: Sequence[str], bold: bool) -> tuple[Sequence[str], Sequence[str]]:
    """A table's rows as sentences, and the names of its columns; none where that would be a guess.
    ``bold``: whether its first row alone is."""
    rows = table.cells
    captions = [*takewhile(lambda row: sum(map(bool, row)) < 2, rows)]
    first, rest = rows[len(captions)], rows[len(captions) + 1 :]
    names: Sequence[str] = []
    if bold or first == above or may_name(first):
        names = first
    if len(above) == len(first) and not bold and not captions:
        names, rest = above, rest if first == above else [first, *rest]
    elif not names:
        rest = [first, *rest]
    known = names or (table.ruled and all(len(cell) <= LONGEST for row in rows for cell in row))
    return [*map("".join, captions), *sentences(names, rest)] if known else [], names


def _is_bold(words: Any, table: Table, places: Sequence[int]) -> bool:
    """Whether the first row of several cells is, of which most say something, and the next one is
    not."""
    rows = [row for row in table.rows if sum(map(bool, row)) > 1][:2]
    bold = [
        all(_type(words, places[word.start])[1] for cell in row for word in cell) for row in rows
    ]
    most = 2 * sum(map(bool, rows[0])) > len(rows[0]) if rows else False
    return most and bold == [True, False]


def _line(words: Any, line: str, places: Sequence[int]) -> Line:
    letters = [place for place, c in zip(places, line, strict=True) if c.isalnum()]
    some = {letters[i * (len(letters) - 1) // 2] for i in range(3)} if letters else set()
    types = {_type(words, place) for place in some}
    size = next(iter(types))[0] if len({size for size, _ in types}) == 1 else 0.0
    return Line(_clean(line), size, bool(types) and all(bold for _, bold in types))


def _rules(page: Any) -> Rules:
    """The thin lines that are drawn on a page, and the sides of boxes."""
    from pypdfium2 import raw

    level, upright = [], []
    for place in range(min(raw.FPDFPage_CountObjects(page.raw), DRAWINGS)):
        drawn = raw.FPDFPage_GetObject(page.raw, place)
        if raw.FPDFPageObj_GetType(drawn) == raw.FPDF_PAGEOBJ_PATH:
            for left, bottom, right, top in _sides(drawn):
                if top - bottom <= THIN < right - left:
                    level.append(Rule((bottom + top) / 2, left, right))
                elif right - left <= THIN < top - bottom:
                    upright.append(Rule((left + right) / 2, bottom, top))
    return Rules(level, upright)


def _sides(drawn: Any) -> Iterator[tuple[float, float, float, float]]:
    """What is drawn, if it is thin, else each line of it: left, bottom, right and top."""
    from ctypes import c_float

    from pypdfium2 import raw

    bounds = [c_float() for _ in range(4)]
    if not raw.FPDFPageObj_GetBounds(drawn, *bounds):
        return
    left, bottom, right, top = (bound.value for bound in bounds)
    if min(right - left, top - bottom) <= THIN:
        yield left, bottom, right, top
        return
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(drawn, matrix)
    x, y = c_float(), c_float()
    points: list[tuple[float, float]] = []
    for number in range(min(raw.FPDFPath_CountSegments(drawn), SEGMENTS)):
        segment = raw.FPDFPath_GetPathSegment(drawn, number)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        points.append(
            (
                matrix.a * x.value + matrix.c * y.value + matrix.e,
                matrix.b * x.value + matrix.d * y.value + matrix.f,
            )
        )
        if raw.FPDFPathSegment_GetType(segment) == raw.FPDF_SEGMENT_MOVETO:
            points = points[-1:]
        elif len(points) > 1:
            yield _around(*points[-2:])
        if raw.FPDFPathSegment_GetClose(segment) and len(points) > 1:
            yield _around(points[0], points[-1])


def _around(
    one: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of two points."""
    (left, right), (bottom, top) = (sorted(pair) for pair in zip(one, other, strict=True))
    return left, bottom, right, top


def _words(words: Any, text: str, places: Sequence[int]) -> list[Word]:
    """Those of a page but for lone dots, which lead to the numbers of a table of contents."""
    found = []
    for word in re.finditer(r"[^\s.]\S*|\.\S+", text):
        boxes = [_box(words, places[i]) for i in range(*word.span())]
        lefts, bottoms, rights, tops = zip(*boxes, strict=True)
        found.append(Word(word[0], *word.span(), min(lefts), max(rights), min(bottoms), max(tops)))
    return found


def _box(words: Any, place: int) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a letter, as high as all of its type."""
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(words.raw, place, box)
    return box.left, box.bottom, box.right, box.top


def _places(words: Any, text: str) -> list[int]:
    """Where each character of the text stands among those of the page, some of which it lacks:
    line ends before what is raised, and what lies outside."""
    from pypdfium2 import raw

    count = words.count_chars()
    if count == len(text):
        return [*range(count)]
    places = []
    place = -1
    for character in text:
        place += 1
        while place < count and raw.FPDFText_GetUnicode(words.raw, place) != ord(character):
            place += 1
        places.append(min(place, count - 1))
    return places


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


def _clean(line: str) -> str:
    """A line's words without what was not written."""
    return unmarked(JOINED.sub("", line).replace("\0", "").strip())


def _reason(message: str) -> str:
    if "password" in message.lower():
        return "encrypted; save it without a password"
    return f"no PDF that can be read: {message}"
