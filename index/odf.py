"""Text of OpenDocument files: texts by their headings, sheets and slides as sections.

Elements as in OpenDocument 1.3 part 3: text (§5), tables (§9), drawings (§10).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from index.archives import member, open_zip
from index.documents import File, Unreadable
from index.sections import heading, unmarked
from index.tables import REPEATED, headed, sheet, span
from index.xml import Event, events, said

BODY, PROPERTIES, LISTED = "content.xml", "meta.xml", "META-INF/manifest.xml"
LEFT_OUT = frozenset(
    "tracked-changes annotation note-citation table-of-content title desc forms".split()
)
"""What a reader does not see, sees in the margin, or sees again where it belongs."""
SMALL = frozenset("page-number date-time footer header".split())
"""What stands on every slide."""
BLANKS = frozenset("s tab line-break p h".split())


def extract(file: File) -> tuple[str, str, Iterator[str]]:
    """``(title, date, lines)``; title and date (of the last change) are empty where the file's
    properties name none; headings are marked (``index.sections``).

    Raises:
        Unreadable: it is no OpenDocument file, or an encrypted one.
    """
    archive = open_zip(file)
    names = set(archive.namelist())
    if BODY not in names:
        raise Unreadable(f"no OpenDocument file ({BODY} is missing)")
    if LISTED in names and any(e[1] == "encryption-data" for e in _events(file, archive, LISTED)):
        raise Unreadable("encrypted; save it without a password")
    title, date = _properties(file, archive) if PROPERTIES in names else ("", "")
    return title, date, _lines(_seen(_events(file, archive, BODY)))


def _events(file: File, archive: zipfile.ZipFile, part: str) -> Iterator[Event]:
    return events(member(file, archive, part))


def _properties(file: File, archive: zipfile.ZipFile) -> tuple[str, str]:
    """Title and date; empty where they are not told, or broken."""
    told = said(member(file, archive, PROPERTIES))
    return told.get("title", ""), told.get("date", "") or told.get("creation-date", "")


def _seen(found: Iterator[Event]) -> Iterator[Event]:
    for event in found:
        kind, name, attributes = event
        if kind == "start" and (name in LEFT_OUT or attributes.get("class") in SMALL):
            _skip(found, name)
        else:
            yield event


def _skip(found: Iterator[Event], name: str) -> None:
    """To the end of an element that has begun."""
    depth = 1
    for kind, other, _ in found:
        if kind != "text" and other == name:
            depth += 1 if kind == "start" else -1
        if not depth:
            return


def _lines(found: Iterator[Event]) -> Iterator[str]:
    sheets = titled = False
    for kind, name, attributes in found:
        if kind != "start":
            titled &= (kind, name) != ("end", "frame")
        elif name == "spreadsheet":
            sheets = True
        elif name == "table" and sheets:
            yield f"{heading(1, unmarked(attributes.get('name', '')))}\n"
            yield from (f"{line}\n" for line in sheet(cells for cells, _ in _rows(found)))
        elif name == "table":
            yield from (f"{line}\n" for line in headed(_rows(found)))
        elif name == "frame":
            titled = attributes.get("class") == "title"
        elif name in ("p", "h"):
            level = attributes.get("outline-level", "1") if name == "h" else "1" * titled
            yield from _paragraph(_words(found, name), level)


def _paragraph(parts: list[str], level: str) -> Iterator[str]:
    """A line, and one for each note in it; ``level``: of the heading that it is, empty if none."""
    first, *notes = parts
    if level:
        yield f"{heading(int(level) if level.isdecimal() else 1, first)}\n"
    else:
        yield f"{first}\n"
    yield from (f"{note}\n" for note in notes)


def _words(found: Iterator[Event], end: str) -> list[str]:
    """What is said up to the end of an element, and then in each note in it."""
    parts: list[list[str]] = [[]]
    depth, at = 1, 0
    for kind, name, _ in found:
        if kind == "text":
            parts[at].append(name)
            continue
        if name == end:
            depth += 1 if kind == "start" else -1
        if not depth:
            break
        if name == "note-body":
            at = len(parts) if kind == "start" else 0
            parts += [[]] if kind == "start" else []
        elif name in BLANKS:
            parts[at].append(" ")
    return [" ".join(unmarked("".join(part)).split()) for part in parts]


def _rows(found: Iterator[Event]) -> Iterator[tuple[list[str], bool]]:
    """The rows of a table to its end, and whether the document says that they name the columns.
    What a first cell says of several rows is told in each of them."""
    cells, above, names = list[str](), "", False
    for kind, name, attributes in found:
        if (kind, name) == ("end", "table"):
            return
        if name == "table-header-rows":
            names = kind == "start"
        elif (kind, name) == ("end", "table-row"):
            yield cells, names
            above, cells = cells[0] if cells else "", []
        elif kind == "start" and name in ("table-cell", "covered-table-cell"):
            text = " ".join(_words(found, name)).strip()
            goes_on = name.startswith("covered") and not cells and len(above) <= REPEATED
            cells += [text or above * goes_on] * span(attributes.get("number-columns-repeated", ""))
