"""XML as a stream of events, by expat; refuses document types, and with them every entity bomb."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import IO
from xml.parsers import expat

from index.documents import Unreadable

BLOCK = 1 << 16

Event = tuple[str, str, dict[str, str]]
"""``("start", tag, attributes)``, ``("end", tag, {})`` or ``("text", words, {})``."""


def events(stream: IO[bytes]) -> Iterator[Event]:
    """Events in their order. Tags come without their namespace, attributes without its prefix.

    Raises:
        Unreadable: it is not well-formed, or it declares a document type.
    """
    found: list[Event] = []
    parser = _parser(found)
    try:
        for block in iter(partial(stream.read, BLOCK), b""):
            parser.Parse(block, False)
            yield from found
            found.clear()
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        yield from found
        raise Unreadable(f"broken XML: {error}") from error
    yield from found


def said(stream: IO[bytes]) -> dict[str, str]:
    """What each element says, by its name; nothing where it cannot be read: a file whose properties
    are broken may be whole all the same."""
    words: dict[str, str] = {}
    inside = ""
    try:
        for kind, name, _ in events(stream):
            if kind == "text":
                words[inside] = words.get(inside, "") + name
            else:
                inside = name if kind == "start" else ""
    except Unreadable:
        return {}
    return {name: " ".join(text.split()) for name, text in words.items()}


def _parser(found: list[Event]) -> expat.XMLParserType:
    def start(tag: str, attributes: dict[str, str]) -> None:
        found.append(("start", _local(tag), {_local(k): v for k, v in attributes.items()}))

    def refuse(*_: object) -> None:
        raise Unreadable("XML with a document type is not read (it may hold entity bombs)")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: found.append(("end", _local(tag), {}))
    parser.CharacterDataHandler = lambda words: found.append(("text", words, {}))
    parser.StartDoctypeDeclHandler = refuse
    return parser


def _local(name: str) -> str:
    return name.rpartition(":")[2]
