"""Documents of JSON lines, one row at a time; a bad row is reported and the next one read."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any

from index import encoding
from index.documents import WHOLE_BYTES, File, Item, Skipped, Unreadable, row


def read(file: File) -> Iterator[Item]:
    """A document for each row with a ``text``; one without ``id`` is ``<name>:<line>``."""
    fallback = ""
    for number, line in enumerate(_lines(_text_or_bytes(file)), 1):
        place = f"{file.source}:{number}"
        try:
            if isinstance(line, bytes) and not fallback and (codec := _foreign(line)):
                fallback = codec
                yield Skipped(place, encoding.remark(codec), kept=True)
            if line is None or line.strip():
                found = _parsed(line, fallback)
                yield from row(found, f"{file.name}:{number}", place, file.source)
        except Unreadable as error:
            yield Skipped(place, str(error))


def _text_or_bytes(file: File) -> IO[Any]:
    """UTF-16, where a line's end is more than a byte, as text; all else as the bytes it is."""
    assert isinstance(file.stream, io.BufferedReader)
    codec = encoding.marked(file.stream.peek(4)[:4])
    if codec in {"", "utf-8-sig"}:
        return file.stream
    text = io.TextIOWrapper(file.seekable(), codec, errors="replace")
    return file.copies.enter_context(text)


def _lines(stream: IO[Any]) -> Iterator[str | bytes | None]:
    """Lines; ``None`` stands for one that is too long to be held."""
    while line := stream.readline(WHOLE_BYTES + 1):
        if len(line) <= WHOLE_BYTES:
            yield line
            continue
        end = "\n" if isinstance(line, str) else b"\n"
        while line and not line.endswith(end):
            line = stream.readline(WHOLE_BYTES)
        yield None


def _foreign(line: bytes) -> str:
    """The likeliest codec of a line that is not UTF-8, else nothing."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return encoding.guess(line[: encoding.SAMPLE])
    return ""


def _parsed(line: str | bytes | None, fallback: str) -> Any:
    if line is None:
        raise Unreadable(f"a row of more than {WHOLE_BYTES // 1_000_000} MB; split it")
    try:
        return json.loads(line if isinstance(line, str) else _decoded(line, fallback))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from error


def _decoded(line: bytes, fallback: str) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return line.decode(fallback or "utf-8", "replace")
