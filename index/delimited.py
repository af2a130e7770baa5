"""Text of a CSV or TSV file (RFC 4180): its rows as sentences; knows cells, no documents."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import chain

from index.documents import Unreadable
from index.tables import sentences

DELIMITERS = ",;\t|"
LONGEST = 1_000_000
"""Characters of a cell, or of a line."""


def extract(pieces: Iterable[str]) -> Iterator[str]:
    """A line for each row of a text that comes in pieces; the first row names the columns.

    Raises:
        Unreadable: a cell (a quotation mark that is not closed?) or a line is longer than
            ``LONGEST``.
    """
    lines = _lines(pieces)
    first = next(lines, "")
    csv.field_size_limit(LONGEST)
    rows = csv.reader(chain([first], lines), delimiter=max(DELIMITERS, key=first.count))
    try:
        yield from (f"{line}\n" for line in sentences(next(rows, []), rows))
    except csv.Error as error:
        raise Unreadable(f"no CSV: {error}") from error


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Whole lines with their ends."""
    held = ""
    for piece in pieces:
        *whole, held = (held + piece).split("\n")
        yield from (f"{line}\n" for line in whole)
        if len(held) > LONGEST:
            raise Unreadable(f"no CSV: a line of more than {LONGEST:,} characters")
    if held:
        yield held
