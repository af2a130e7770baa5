"""What reading gives: documents, and what was left out and why; knows no format.

``File`` is what a format's reader is handed: bytes with a name, on disk or inside an archive.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import PurePosixPath
from shutil import copyfileobj
from typing import IO, Any, Self

from index.dates import iso_date
from index.sections import BETWEEN, Outline, Section

DOCUMENT_CHARACTERS = 2_000_000
"""A longer text becomes several documents, so that memory stays bounded."""
WHOLE_BYTES = 16_000_000
"""Formats that are read as a whole (a page, a row) are not read beyond this."""
EXPANSION, FREE = 200, 64_000_000
"""How many times its size a compressed file may give, and how many bytes in any case; text seldom
gives 10 times, a bomb 1,000.
"""


@dataclass(frozen=True)
class Document:
    """One text with a name. ``id`` is unique in an index; ``source`` is the file it came from.

    ``trust``: how far its origin is trusted, in the words of whoever indexed it, or nothing.
    ``date``: the year, month or day that it is of, as ``index.dates`` writes them, or nothing.
    ``sections``: in their order; what stands before the first one has no heading. ``pages``: the
    first character of each page, the first one's too; none where there are none.
    """

    id: str
    title: str
    text: str
    source: str
    trust: str = ""
    date: str = ""
    sections: tuple[Section, ...] = ()
    pages: tuple[int, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """A document from the JSON that ``vars`` of one gives."""
        sections = tuple(Section(*section) for section in row.get("sections", ()))
        return cls(**{**row, "sections": sections, "pages": tuple(row.get("pages", ()))})

    def page_at(self, start: int) -> int:
        """The number of the page that a character is on, from 1; 0 if there are none."""
        return bisect_right(self.pages, start)

    def title_at(self, start: int) -> str:
        """The title, and the headings of the section that this character of the text is in."""
        place = bisect_right(self.sections, start, key=lambda section: section.start)
        name = self.sections[place - 1].name if place else ""
        return BETWEEN.join(filter(None, (self.title, name)))

    def titled(self, start: int, end: int, mark: str = " ") -> str:
        """These characters of the text behind the title that they stand under."""
        return mark.join(filter(None, (self.title_at(start), self.text[start:end])))

    def parts(self) -> list[str]:
        """The text before the first section, which may be empty, and that of each section."""
        cuts = [0, *(section.start for section in self.sections), len(self.text)]
        return [self.text[start:end] for start, end in pairwise(cuts)]


@dataclass(frozen=True)
class Skipped:
    """A file, or a part of one (``file:line``, ``archive!/member``), left out, and why.

    ``kept`` marks a remark on what was read all the same: an encoding that had to be guessed.
    ``by``: the rule that left out what could have been read.
    """

    source: str
    reason: str
    kept: bool = False
    by: str = ""


Item = Document | Skipped


class Unreadable(Exception):
    """Nothing (more) can be read from this file; ``str(error)`` is the reason that is reported."""


@dataclass
class Allowance:
    """How many bytes may still come out of one compressed file, archives inside it included."""

    left: int

    def spend(self, num_bytes: int) -> None:
        self.left -= num_bytes
        if self.left < 0:
            raise Unreadable(f"expands to more than {EXPANSION} times its size (a zip bomb?)")


@dataclass(frozen=True)
class File:
    """Bytes to read. ``source`` is what the user is told, ``name`` begins the documents' ids."""

    source: str
    name: str
    stream: IO[bytes]
    allowance: Allowance
    copies: ExitStack
    """Copies on the disk that were made of it, to be closed when it was read."""
    on_disk: bool = False
    inner: str = ""
    """The name without the ending of its compression, where it has one."""

    @classmethod
    def of(cls, source: str, name: str, stream: IO[bytes]) -> File:
        """An open file of the disk."""
        size = os.fstat(stream.fileno()).st_size
        allowance = Allowance(max(EXPANSION * size, FREE))
        return cls(whole(source), whole(name), stream, allowance, ExitStack(), on_disk=True)

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.inner or self.name).suffix.lower()

    @property
    def title(self) -> str:
        """What the name says where the text has no title of its own."""
        return (
            PurePosixPath(self.inner or self.name).stem.replace("_", " ").replace("-", " ").strip()
        )

    def read(self) -> bytes:
        """All bytes.

        Raises:
            Unreadable: there are more than ``WHOLE_BYTES``.
        """
        data = self.stream.read(WHOLE_BYTES + 1)
        if len(data) > WHOLE_BYTES:
            raise Unreadable(f"larger than {WHOLE_BYTES // 1_000_000} MB; split it")
        return data

    def seekable(self) -> IO[bytes]:
        """The bytes as a file that can be read anywhere: what is compressed goes to the disk."""
        if self.on_disk:
            return self.stream
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the file
        self.copies.enter_context(copy)
        copyfileobj(self.stream, copy)
        copy.seek(0)
        return copy


def documents(file: File, title: str, pieces: Iterable[str], date: str = "") -> Iterator[Item]:
    """The document of a file whose text comes in ``pieces``; several where it is very long."""
    return named(file.name, title, pieces, file.source, date=date)


def named(
    doc_id: str, title: str, pieces: Iterable[str], source: str, trust: str = "", date: str = ""
) -> Iterator[Item]:
    """The text of ``pieces`` as document ``doc_id``; a very long one goes on as ``doc_id#part2``.

    A text that is empty is skipped.
    """
    number = 0
    outline = Outline(title)
    for number, part in enumerate(_parts(pieces), 1):
        name = doc_id if number == 1 else f"{doc_id}#part{number}"
        marked, pages = outline.paged(whole(part))
        text, sections = outline.read(marked)
        told = (source, trust, date, sections, pages)
        yield Document(whole(name), whole(title.strip()), text, *told)
    if not number:
        yield Skipped(source, "empty")


def row(found: Any, default_id: str, place: str, source: str) -> Iterator[Item]:
    """The document of a row: a string ``text``, and maybe ``id``, ``title``, ``source``, ``trust``
    and ``date``; a date that is none is told."""
    if not isinstance(found, Mapping) or not isinstance(found.get("text"), str):
        reason = "no 'text' (a row needs a string 'text', may have 'id' and 'title')"
        yield Skipped(place, reason)
    elif not found["text"].strip():
        yield Skipped(place, "empty")
    else:
        doc_id, title = _name(found.get("id")), _name(found.get("title"))
        origin = whole(_name(found.get("source")) or source)
        trust = whole(" ".join(_name(found.get("trust")).split()))
        told = _name(found.get("date"))
        day = iso_date(told)
        yield from named(doc_id or default_id, title, [found["text"]], origin, trust, day)
        if told.strip() and not day:
            reason = f"date '{told[:40]}' was left out: not like 2024, 2024-05 or 2024-05-31"
            yield Skipped(place, reason, kept=True)


def _name(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float | date) else ""


def _parts(pieces: Iterable[str]) -> Iterator[str]:
    """The text cut where it grows too long; what came before an error is given, then the error."""
    held, size = [""], 0
    failure: Unreadable | None = None
    try:
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size > DOCUMENT_CHARACTERS:
                *full, rest = _cut("".join(held))
                yield from full
                held, size = [rest], len(rest)
    except Unreadable as error:
        failure = error
    if last := "".join(held).strip():
        yield last
    if failure:
        raise failure


def _cut(text: str) -> list[str]:
    """Parts that are long enough, and the rest; one ends with a paragraph, else a line or word."""
    parts: list[str] = []
    start = 0
    while len(text) - start > DOCUMENT_CHARACTERS:
        end = start + DOCUMENT_CHARACTERS
        ends = (
            text.rfind(mark, end - DOCUMENT_CHARACTERS // 2, end) for mark in ("\n\n", "\n", " ")
        )
        end = next((found for found in ends if found >= 0), end)
        parts.append(text[start:end].strip())
        start = end
    return [*(part for part in parts if part), text[start:]]


def whole(text: str) -> str:
    """Text without half characters (lone surrogates), which no UTF-8 file can hold."""
    return text.encode("utf-8", "replace").decode()
