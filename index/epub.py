"""Text of an electronic book (EPUB 3.3): its pages of XHTML in their order."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from urllib.parse import unquote

from index import encoding, html
from index.archives import member, open_zip
from index.documents import WHOLE_BYTES, File, Unreadable
from index.xml import events

CONTAINER = "META-INF/container.xml"
ENCRYPTED = "META-INF/encryption.xml"
PAGES = ("application/xhtml+xml", "text/html")
EMPTY = re.compile(r"<([a-zA-Z][\w:-]*)(\s[^<>]*)?/>")
"""An element without content, as XML may write every one; HTML takes all but some for opened."""


def extract(file: File) -> tuple[str, str, Iterator[str]]:
    """``(title, date, pages)``; title and date are empty where the book names none, headings are
    marked (``index.sections``).

    Raises:
        Unreadable: it is no book, or its text is encrypted.
    """
    archive = open_zip(file)
    names = set(archive.namelist())
    if CONTAINER not in names:
        raise Unreadable(f"no electronic book ({CONTAINER} is missing)")
    package = _package(file, archive)
    if package not in names:
        raise Unreadable("no electronic book (its list of pages is missing)")
    told, pages = _listed(file, archive, package)
    if not names.isdisjoint(pages) and ENCRYPTED in names and _encrypted(file, archive, pages):
        raise Unreadable("encrypted; save it without protection")
    found = _texts(file, archive, [page for page in pages if page in names])
    return told.get("title", ""), told.get("date", ""), found


def _package(file: File, archive: zipfile.ZipFile) -> str:
    for kind, name, attributes in events(member(file, archive, CONTAINER)):
        if (kind, name) == ("start", "rootfile"):
            return attributes.get("full-path", "")
    return ""


def _listed(file: File, archive: zipfile.ZipFile, package: str) -> tuple[dict[str, str], list[str]]:
    """What the book says of itself, the first of each kind, and its pages (§5)."""
    told: dict[str, str] = {}
    pages: dict[str, str] = {}
    order: list[str] = []
    inside = ""
    for kind, name, attributes in events(member(file, archive, package)):
        if kind == "text":
            if inside in ("title", "date") and name.strip():
                told.setdefault(inside, " ".join(name.split()))
            continue
        inside = name if kind == "start" else ""
        if kind == "start" and name == "item" and attributes.get("media-type") in PAGES:
            path = posixpath.join(posixpath.dirname(package), unquote(attributes.get("href", "")))
            pages[attributes.get("id", "")] = posixpath.normpath(path)
        elif kind == "start" and name == "itemref":
            order.append(attributes.get("idref", ""))
    return told, [pages[id] for id in dict.fromkeys(order) if id in pages]


def _encrypted(file: File, archive: zipfile.ZipFile, pages: list[str]) -> bool:
    """Whether a page is: fonts may be, and the book can be read all the same."""
    uris = (
        unquote(attributes.get("URI", ""))
        for kind, name, attributes in events(member(file, archive, ENCRYPTED))
        if (kind, name) == ("start", "CipherReference")
    )
    return not set(pages).isdisjoint(uris)


def _texts(file: File, archive: zipfile.ZipFile, pages: list[str]) -> Iterator[str]:
    for page in pages:
        data = member(file, archive, page).read(WHOLE_BYTES + 1)
        if len(data) > WHOLE_BYTES:
            raise Unreadable(f"a page larger than {WHOLE_BYTES // 1_000_000} MB; split it")
        text, _ = encoding.decode(BytesIO(data), html=True)
        yield f"{html.extract(EMPTY.sub(_closed, text))[1]}\n\n"


def _closed(element: re.Match[str]) -> str:
    name, rest = element[1], element[2] or ""
    return element[0] if name.lower() in html.UNCLOSED else f"<{name}{rest}></{name}>"
