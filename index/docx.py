"""Text of a Word document: paragraphs, headings and table rows, a line each.

Elements as in ECMA-376 part 1, §17.3 and §17.4.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping

from index.archives import member, open_zip
from index.documents import File, Unreadable
from index.sections import bold_heading, heading, unmarked
from index.tables import REPEATED, headed, span
from index.xml import Event, events, said

BODY = "word/document.xml"
PROPERTIES = "docProps/core.xml"
STYLES = "word/styles.xml"
NOTES = {"footnote": "word/footnotes.xml", "endnote": "word/endnotes.xml"}
HEADED = re.compile(r"heading ([1-9])", re.IGNORECASE)
"""The names of the styles of headings, in every language (§17.7.4.9); their ids are translated."""
OFF = ("0", "false", "off")
MARKS = {"tab": " ", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def extract(file: File) -> tuple[str, str, Iterator[str]]:
    """``(title, date, lines)``; title and date (of the last change) are empty where the document's
    properties name none, headings are marked (``index.sections``).

    Raises:
        Unreadable: it is no Word document (an encrypted one is no zip file either).
    """
    archive = open_zip(file)
    names = set(archive.namelist())
    if BODY not in names:
        raise Unreadable("no Word document (word/document.xml is missing)")
    title, date = properties(file, archive)
    levels = _levels(file, archive) if STYLES in names else {}
    notes = {
        (f"{kind}Reference", id): text
        for kind, part in NOTES.items()
        if part in names
        for id, text in _notes(file, archive, kind)
    }
    return title, date, _lines(file, archive, levels, notes)


def properties(file: File, archive: zipfile.ZipFile) -> tuple[str, str]:
    """Title and date of the last change (ECMA-376 part 2, §11); empty where they are not told, or
    broken."""
    if PROPERTIES not in archive.namelist():
        return "", ""
    told = said(member(file, archive, PROPERTIES))
    return told.get("title", ""), told.get("modified", "") or told.get("created", "")


def _levels(file: File, archive: zipfile.ZipFile) -> dict[str, int]:
    """The level of each style of headings, by its id; none where the styles are broken."""
    levels: dict[str, int] = {}
    style = ""
    try:
        for kind, name, attributes in events(member(file, archive, STYLES)):
            if (kind, name) == ("start", "style"):
                style = attributes.get("styleId", "")
            elif (kind, name) == ("start", "name"):
                named = HEADED.fullmatch(attributes.get("val", ""))
                levels |= {style: int(named[1])} if named else {}
    except Unreadable:
        return {}
    return levels


def _notes(file: File, archive: zipfile.ZipFile, kind: str) -> Iterator[tuple[str, str]]:
    """Foot- or endnotes (§17.11), each with its id; where they break, none more."""
    words: list[str] = []
    id = ""
    try:
        for sort, name, attributes in _shown(events(member(file, archive, NOTES[kind]))):
            if sort == "text":
                words.append(name)
            elif (sort, name) == ("start", kind):
                id, words = attributes.get("id", ""), []
            elif (sort, name) == ("end", "p"):
                words.append(" ")
            elif (sort, name) == ("end", kind):
                yield id, "".join(words)
    except Unreadable:
        return


def _lines(
    file: File,
    archive: zipfile.ZipFile,
    levels: Mapping[str, int],
    notes: Mapping[tuple[str, str], str],
) -> Iterator[str]:
    """Paragraphs, and the rows of tables as sentences; behind each its ``notes``."""
    met: list[str] = []
    found = _noted(_shown(events(member(file, archive, BODY))), notes, met)
    paragraph = _Paragraph()
    for event in found:
        kind, name, attributes = event
        if (kind, name) == ("start", "tbl"):
            rows = ((row.cells, row.names) for row in _rows(found))
            yield from map(_line, headed(rows))
            yield from _told(met)
        elif (kind, name) == ("start", "pStyle"):
            paragraph.level = levels.get(attributes.get("val", ""), 0)
        elif (kind, name) == ("end", "p"):
            yield paragraph.line()
            yield from _told(met)
            paragraph = _Paragraph()
        else:
            paragraph.take(event)


def _noted(
    found: Iterable[Event], notes: Mapping[tuple[str, str], str], met: list[str]
) -> Iterator[Event]:
    """The events; the notes that they refer to are added to ``met``."""
    for event in found:
        kind, name, attributes = event
        if kind == "start" and (note := notes.get((name, attributes.get("id", "")))):
            met.append(note)
        yield event


def _told(notes: list[str]) -> Iterator[str]:
    """A line for each of the notes, which are then none."""
    yield from (_line(unmarked(note)) for note in notes)
    notes.clear()


class _Paragraph:
    """A paragraph, filled while it is read. ``level``: that of its heading's style, or 0."""

    def __init__(self) -> None:
        self.level = 0
        self._words: list[str] = []
        self._bold, self._all_bold = False, True

    def take(self, event: Event) -> None:
        kind, name, attributes = event
        if kind == "text":
            self._words.append(name)
            self._all_bold &= self._bold or not name.strip()
        elif (kind, name) == ("start", "r"):
            self._bold = False
        elif (kind, name) == ("start", "b"):
            self._bold = attributes.get("val", "") not in OFF

    def line(self) -> str:
        """As a heading where it is one: by its style, or in bold type alone."""
        text = unmarked("".join(self._words))
        if self.level:
            return f"{heading(self.level, text)}\n"
        line = bold_heading(text) if self._all_bold else ""
        return f"{line}\n" if line else _line(text)


def _shown(found: Iterable[Event]) -> Iterator[Event]:
    """What a reader sees: text that is neither deleted nor an older shape of what was said before
    it, with breaks as text."""
    inside = doubled = 0
    for kind, name, attributes in found:
        if name == "Fallback" and kind != "text":
            doubled += 1 if kind == "start" else -1
        elif doubled:
            continue
        elif kind == "text":
            if inside:
                yield kind, name, attributes
        elif name == "t":
            inside = kind == "start"
        elif kind == "start" and name in MARKS:
            yield "text", MARKS[name], {}
        else:
            yield kind, name, attributes


def _rows(found: Iterator[Event]) -> Iterator[_Row]:
    """The rows of a table to its end; a table in a cell is words of that cell."""
    depth = 1
    row, above = _Row(), ""
    for event in found:
        kind, name, _ = event
        if name == "tbl" and kind != "text":
            depth += 1 if kind == "start" else -1
        if not depth:
            break
        if (kind, name, depth) == ("end", "tr", 1):
            yield row
            row, above = _Row(), row.cells[0] if row.cells else above
        else:
            row.take(event, depth == 1, above)
    if row.cells:
        yield row


class _Row:
    """A row, filled while it is read. ``names``: whether the document says that its ``cells`` name
    the columns (it is shown on every page)."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.names = False
        self._words: list[str] = []
        self._goes_on, self._columns = False, 1

    def take(self, event: Event, own: bool, above: str) -> None:
        """``own``: the event is of the row itself, not of a table in it; ``above``: what the first
        cell of the row above holds."""
        kind, name, attributes = event
        if kind == "text":
            self._words.append(name)
        elif kind == "end" and name in ("p", "tc"):
            self._words.append(" ")
        if not own or kind == "text":
            return
        if kind == "end" and name == "tc":
            self._close(above)
        elif kind == "start":
            self._note(name, attributes.get("val", ""))

    def _note(self, name: str, value: str) -> None:
        if name == "tblHeader":
            self.names = value not in OFF
        elif name == "vMerge":
            self._goes_on = value != "restart"
        elif name == "gridSpan":
            self._columns = span(value)

    def _close(self, above: str) -> None:
        text = "".join(self._words).strip()
        if self._goes_on and not self.cells:
            text = text or (above if len(above) <= REPEATED else "")
        self.cells += [text, *[""] * (self._columns - 1)]
        self._words.clear()
        self._goes_on, self._columns = False, 1


def _line(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.split("\n")) + "\n"
