"""Text of a Word document: paragraphs, headings and table rows, a line each; knows no styles."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from index.archives import member, open_zip
from index.documents import File, Unreadable
from index.xml import events

BODY = "word/document.xml"
PROPERTIES = "docProps/core.xml"
MARKS = {"tab": " ", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def extract(file: File) -> tuple[str, str, Iterator[str]]:
    """``(title, date, lines)``; title and date (of the last change) are empty where the document's
    properties name none.

    Raises:
        Unreadable: it is no Word document (an encrypted one is no zip file either).
    """
    archive = open_zip(file)
    names = set(archive.namelist())
    if BODY not in names:
        raise Unreadable("no Word document (word/document.xml is missing)")
    told = _properties(file, archive) if PROPERTIES in names else {}
    date = told.get("modified") or told.get("created", "")
    return told.get("title", ""), date, _lines(file, archive)


def _properties(file: File, archive: zipfile.ZipFile) -> dict[str, str]:
    """What each property says (ECMA-376 part 2, §11); none of them if they are broken."""
    words: dict[str, str] = {}
    inside = ""
    try:
        for kind, name, _ in events(member(file, archive, PROPERTIES)):
            if kind == "text":
                words[inside] = words.get(inside, "") + name
            else:
                inside = name if kind == "start" else ""
    except Unreadable:  # the text may be whole all the same
        return {}
    return {name: " ".join(said.split()) for name, said in words.items()}


def _lines(file: File, archive: zipfile.ZipFile) -> Iterator[str]:
    """Paragraphs; the cells of a table's row stand in one line, between bars."""
    words: list[str] = []
    inside = cells = doubled = 0
    for kind, name, _ in events(member(file, archive, BODY)):
        if name == "Fallback" and kind != "text":  # older shape of what was said before it
            doubled += 1 if kind == "start" else -1
        elif doubled:
            continue
        elif kind == "text":
            words += [name] if inside else []
        elif name == "t":
            inside = kind == "start"
        elif name == "tc":
            cells += 1 if kind == "start" else -1
            words += [" | "] if kind == "end" else []
        elif kind == "start":
            words += [MARKS[name]] if name in MARKS else []
        elif name == "p" and cells:
            words.append(" ")
        elif name in {"p", "tr"}:
            yield _line("".join(words))
            words.clear()


def _line(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line.removesuffix("|").rstrip() for line in lines) + "\n"
