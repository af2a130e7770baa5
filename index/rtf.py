"""Text of a Rich Text file by striprtf; knows nothing of documents."""

from __future__ import annotations

from index import plain
from index.documents import Unreadable

BEGINS = "{\\rtf"


def extract(page: str) -> tuple[str, str]:
    """``(title, text)``, headings told as those of plain text are; the title is empty.

    Raises:
        Unreadable: it is no Rich Text.
    """
    from striprtf.striprtf import rtf_to_text

    if not page.lstrip().startswith(BEGINS):
        raise Unreadable("no Rich Text")
    text = rtf_to_text(page, errors="replace")
    return "", "".join(plain.extract([text.replace("\r\n", "\n")]))


def date(page: str) -> str:
    """None is told."""
    return ""
