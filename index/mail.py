"""Text of an e-mail (RFC 5322, MIME): who wrote to whom, when, and what; knows no mailboxes."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime

from index import html
from index.flow import unwrapped
from index.sections import unmarked

HEADERS = ("From", "To", "Cc", "Date")
LONGEST = 500
"""Characters kept of a header, and of the name of an attachment."""


def extract(data: bytes) -> tuple[str, str, str, list[str]]:
    """``(subject, date, text, attachments)``: the text begins with a line for each header; of the
    attachments the names alone are told. Subject and date are empty where there is none."""
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    told = {name: said for name in HEADERS if (said := _header(message, name))}
    if not told:
        return "", "", "", []
    body = message.get_body(("plain", "html"))
    lines = [*(f"{name}: {said}" for name, said in told.items()), "", _text(body) if body else ""]
    names = [_short(part.get_filename() or part.get_content_type()) for part in _attached(message)]
    return _header(message, "Subject"), _day(told.get("Date", "")), "\n".join(lines), names


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
