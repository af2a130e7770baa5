"""Dates of documents, written as much as is known: ``2024``, ``2024-05`` or ``2024-05-31``."""

from __future__ import annotations

import re
from datetime import date

_WRITTEN = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:[T ].*)?", re.DOTALL)
_PACKED = re.compile(r"(?:D:)?(\d{4})(\d\d)(\d\d)(?:\d.*|[T ].*)?", re.DOTALL)
"""As PDF files have it (PDF 32000-1:2008, 7.9.4), and ISO 8601's basic format."""


def iso_date(text: str) -> str:
    """The date that a text begins with, in ISO 8601: a year, a month or a day; empty if it begins
    with none."""
    text = text.strip()
    match = _WRITTEN.fullmatch(text) or _PACKED.fullmatch(text)
    if match is None:
        return ""
    year, month, day = (int(part) if part else 1 for part in match.groups())
    try:
        date(year, month, day)
    except ValueError:
        return ""
    return "-".join(part for part in match.groups() if part)


def first_day(known: str) -> str:
    """The first day that a year, month or day may mean."""
    return known + "-01-01"[len(known) - 4 :]


def last_day(known: str) -> str:
    """The last day that it may mean, or one after that; good for comparing."""
    return known + "-12-31"[len(known) - 4 :]
