"""Text of a PowerPoint presentation: slides as sections, with their tables and notes.

Elements as in ECMA-376 part 1, §19.3 (slides), §21.1.2 (text) and §21.1.3 (tables).
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator

from index.archives import member, open_zip
from index.documents import File, Unreadable
from index.docx import properties
from index.sections import heading, unmarked
from index.tables import sentences
from index.xml import Event, events

SHOW = "ppt/presentation.xml"
TITLES = ("title", "ctrTitle")
SMALL = ("sldNum", "dt", "ftr", "hdr", "sldImg")
"""Placeholders of what stands on every slide, and of the slide's picture above its notes."""


def extract(file: File) -> tuple[str, str, Iterator[str]]:
    """``(title, date, lines)``; title and date (of the last change) are empty where the
    presentation's properties name none, slides are sections (``index.sections``).

    Raises:
        Unreadable: it is no presentation (an encrypted one is no zip file either).
    """
    archive = open_zip(file)
    if SHOW not in archive.namelist():
        raise Unreadable(f"no PowerPoint presentation ({SHOW} is missing)")
    title, date = properties(file, archive)
    return title, date, _lines(file, archive)


def _lines(file: File, archive: zipfile.ZipFile) -> Iterator[str]:
    for slide in _slides(file, archive):
        shapes = list(_shapes(events(member(file, archive, slide))))
        title = next((" ".join(lines) for kind, lines in shapes if kind in TITLES), "")
        yield f"{heading(1, title)}\n"
        yield from (
            line for kind, lines in shapes if kind not in (*TITLES, *SMALL) for line in lines
        )
        for notes in _targets(file, archive, slide, "notesSlide"):
            told = _shapes(events(member(file, archive, notes)))
            yield from (line for kind, lines in told if kind not in SMALL for line in lines)


def _slides(file: File, archive: zipfile.ZipFile) -> list[str]:
    """The slides in the order in which they are shown."""
    targets = _related(file, archive, SHOW)
    shown = [
        attributes.get("id", "")
        for kind, name, attributes in events(member(file, archive, SHOW))
        if (kind, name) == ("start", "sldId")
    ]
    return [targets[id][1] for id in shown if id in targets]


def _targets(file: File, archive: zipfile.ZipFile, part: str, kind: str) -> list[str]:
    return [target for name, target in _related(file, archive, part).values() if name == kind]


def _related(file: File, archive: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """Kind and name of the parts that a part refers to, those that are there, by the reference."""
    folder, name = posixpath.split(part)
    listed, present = f"{folder}/_rels/{name}.rels", set(archive.namelist())
    found = events(member(file, archive, listed)) if listed in present else iter(())
    related = {
        told["Id"]: (
            posixpath.basename(told.get("Type", "")),
            posixpath.normpath(posixpath.join(folder, told.get("Target", ""))).lstrip("/"),
        )
        for kind, tag, told in found
        if (kind, tag) == ("start", "Relationship") and "Id" in told
    }
    return {id: pair for id, pair in related.items() if pair[1] in present}


def _shapes(found: Iterator[Event]) -> Iterator[tuple[str, list[str]]]:
    """Each shape that holds text: the kind of its placeholder, and its lines."""
    kind, lines = "", []
    for event in found:
        sort, name, attributes = event
        if sort == "text":
            continue
        if (sort, name) == ("start", "ph"):
            kind = attributes.get("type", "")
        elif (sort, name) == ("start", "p"):
            lines += _line(_words(found, "p"))
        elif (sort, name) == ("start", "tbl"):
            rows = _rows(found)
            lines += [f"{line}\n" for line in sentences(next(rows, []), rows)]
        elif sort == "end" and name in ("sp", "graphicFrame"):
            yield kind, lines
            kind, lines = "", []


def _words(found: Iterator[Event], end: str) -> str:
    """What is said up to the end of an element; where paragraphs and lines end is a blank."""
    words: list[str] = []
    inside = False
    for kind, name, _ in found:
        if kind == "text":
            words.append(name if inside else "")
        elif name == "t":
            inside = kind == "start"
        elif kind == "end" and name == end:
            break
        elif name in ("br", "p", "tab"):
            words.append(" ")
    return "".join(words)


def _rows(found: Iterator[Event]) -> Iterator[list[str]]:
    """The rows of a table to its end."""
    cells: list[str] = []
    for kind, name, _ in found:
        if (kind, name) == ("start", "tc"):
            cells.append(_words(found, "tc"))
        elif (kind, name) == ("end", "tr"):
            yield cells
            cells = []
        elif (kind, name) == ("end", "tbl"):
            return


def _line(words: str) -> list[str]:
    line = " ".join(unmarked(words).split())
    return [f"{line}\n"] if line else []
