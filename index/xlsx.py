"""Text of an Excel workbook by openpyxl: sheets as sections, rows as sentences."""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Iterator
from typing import Any

from index import tables
from index.archives import open_zip
from index.documents import WHOLE_BYTES, File, Unreadable
from index.sections import heading, unmarked

BOOK, STRINGS = "xl/workbook.xml", "xl/sharedStrings.xml"
LARGEST = 8 * WHOLE_BYTES
"""Bytes of the part that openpyxl holds as a whole: the words of all cells."""
CURRENCY = re.compile(r"[€$£¥₹]|\b(?:EUR|USD|GBP|CHF)\b")
MIDNIGHT = datetime.time()


def extract(file: File) -> tuple[str, str, Iterator[str]]:
    """``(title, date, lines)``; title and date (of the last change) are empty where the workbook's
    properties name none, sheets are sections (``index.sections``).

    Raises:
        Unreadable: it is no workbook (an encrypted one is no zip file either), or its words are
            more than ``LARGEST`` bytes.
    """
    import openpyxl

    with open_zip(file) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    if BOOK not in sizes:
        raise Unreadable(f"no Excel workbook ({BOOK} is missing)")
    if sizes.get(STRINGS, 0) > LARGEST:
        raise Unreadable(f"words of more than {LARGEST // 1_000_000} MB; split it")
    file.allowance.spend(sum(sizes.values()))
    stream = file.seekable()
    stream.seek(0)
    with warnings.catch_warnings(action="ignore"):  # of styles that are not needed here
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
    told = book.properties
    date = told.modified or told.created
    return (told.title or "").strip(), date.date().isoformat() if date else "", _lines(book)


def _lines(book: Any) -> Iterator[str]:
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what the file says of them may be wrong
        rows = ([_told(cell) for cell in row] for row in sheet.iter_rows())
        yield f"{heading(1, unmarked(sheet.title))}\n"
        yield from (f"{line}\n" for line in tables.sheet(rows))


def _told(cell: Any) -> str:
    """What a cell shows, as far as its format is a date, a share or a currency."""
    value, form = cell.value, str(getattr(cell, "number_format", ""))
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d}" if value.time() == MIDNIGHT else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, int | float):
        return _number(value, form)
    return unmarked(" ".join(str(value).split()))


def _number(value: float, form: str) -> str:
    if "%" in form:
        return f"{round(100 * value, 6):g}%"
    if currency := CURRENCY.search(form):
        return f"{value:.{2 if value % 1 else 0}f} {currency[0]}"
    return f"{value:.10g}"
