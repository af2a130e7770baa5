"""Text of a PDF by PDFium; knows nothing of documents, and reads no pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import IO, Any

from index.documents import Unreadable
from index.layout import Layout, Line
from index.sections import unmarked

JOINED = re.compile("[\x02\ufffe]")
"""What PDFium writes where it joined a cut word itself."""
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

    try:
        for number in range(len(pdf)):
            yield _lines(pdf[number])
    except PdfiumError as error:
        failed.append(error)


def _lines(page: Any) -> list[Line]:
    words = page.get_textpage()
    text = words.get_text_bounded()
    places = _places(words, text)
    lines = []
    begin = 0
    for line in text.split("\r\n"):
        letters = [places[begin + i] for i, c in enumerate(line) if c.isalnum()]
        some = {letters[i * (len(letters) - 1) // 2] for i in range(3)} if letters else set()
        types = {_type(words, place) for place in some}
        size = next(iter(types))[0] if len({size for size, _ in types}) == 1 else 0.0
        lines.append(Line(_clean(line), size, bool(types) and all(b for _, b in types)))
        begin += len(line) + 2
    words.close()
    page.close()
    return lines


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
