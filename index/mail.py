"""Text of an e-mail (RFC 5322, MIME): who wrote to whom, when, and what; and of a mailbox of them.

A mailbox is an mbox file (RFC 4155), as Thunderbird, Takeout and list archives have them: before
each message stands a line that begins with "From ".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from functools import partial
from typing import IO, NamedTuple

from index import html
from index.flow import unwrapped
from index.sections import unmarked

MARK = b"From "
QUOTED = re.compile(rb">+From ")
LINE = 1 << 16
"""Bytes of a line that are read at once."""
HEADERS = ("From", "To", "Cc", "Date")
LONGEST = 500
"""Characters kept of a header, and of the name of an attachment."""


class Mail(NamedTuple):
    """``text`` begins with a line for each header; of the ``attachments`` the names alone are told.
    What there is none of is empty."""

    subject: str
    date: str
    text: str
    attachments: list[str]
    id: str


def extract(data: bytes) -> Mail:
    """An e-mail; without one of ``HEADERS`` it is none and has no text."""
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    told = {name: said for name in HEADERS if (said := _header(message, name))}
    if not told:
        return Mail("", "", "", [], "")
    body = message.get_body(("plain", "html"))
    lines = [*(f"{name}: {said}" for name, said in told.items()), "", _text(body) if body else ""]
    names = [_short(part.get_filename() or part.get_content_type()) for part in _attached(message)]
    subject, day = _header(message, "Subject"), _day(told.get("Date", ""))
    return Mail(subject, day, "\n".join(lines), names, _header(message, "Message-ID").strip("<> "))


def messages(stream: IO[bytes], most: int) -> Iterator[bytes]:
    """The messages of a mailbox, of each the first ``most`` bytes, which its attachments end."""
    held: list[bytes] = []
    size, empty = 0, True
    for line in iter(partial(stream.readline, LINE), b""):
        if empty and line.startswith(MARK):
            if size:
                yield b"".join(held)
            held, size = [], 0
        else:
            size += len(line)
            held += [line[1:] if QUOTED.match(line) else line] if size <= most else []
        empty = not line.strip()
    if size:
        yield b"".join(held)


def _header(message: EmailMessage, name: str) -> str:
    return _short(str(message.get(name, "")))


def _short(text: str) -> str:
    return " ".join(text.split())[:LONGEST]


def _text(body: MIMEPart) -> str:
    content = str(body.get_content())
    if body.get_content_subtype() == "html":
        return html.extract(content)[1]
    return unwrapped(unmarked(content))


def _attached(message: EmailMessage) -> list[MIMEPart]:
    return list(message.iter_attachments()) if message.is_multipart() else []


def _day(told: str) -> str:
    try:
        return parsedate_to_datetime(told).date().isoformat()
    except ValueError:
        return ""
