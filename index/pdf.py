"""Text of a PDF by PDFium, a page at a time; knows nothing of documents, and reads no pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

from index.documents import Unreadable

HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\r?\n(?=[^\W\d_A-Z])")
"""A word cut at the end of a line; before a capital or a figure the hyphen is its own."""
JOINED = re.compile("[\x02\ufffe]")
"""What PDFium writes where it joined a cut word itself."""


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
    try:
        for number in range(len(pdf)):
            if text := _text(pdf, number):
                empty = False
                yield text + "\n\n"
    except PdfiumError as error:
        raise Unreadable(f"broken PDF: {error}") from error
    finally:
        pdf.close()
    if empty:
        raise Unreadable("no text in it (scanned?)")


def _text(pdf: Any, number: int) -> str:
    page = pdf[number]
    words = page.get_textpage()
    text = words.get_text_bounded()
    words.close()
    page.close()
    return clean(text)


def clean(text: str) -> str:
    """A page with its cut words joined and plain line ends."""
    return HYPHEN.sub("", JOINED.sub("", text)).replace("\r\n", "\n").replace("\0", "").strip()


def _reason(message: str) -> str:
    if "password" in message.lower():
        return "encrypted; save it without a password"
    return f"no PDF that can be read: {message}"
