"""Which reader reads which type of file; knows formats and documents, nothing of folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from types import ModuleType

from index import (
    delimited,
    docx,
    encoding,
    epub,
    html,
    ipynb,
    jsonl,
    mail,
    markdown,
    odf,
    parquet,
    pdf,
    plain,
    pptx,
    rst,
    rtf,
    subtitles,
    wiki,
    wikitext,
    xlsx,
)
from index.dates import iso_date
from index.documents import WHOLE_BYTES, File, Item, Skipped, documents, named, row


def _read_txt(file: File) -> Iterator[Item]:
    return _streamed(file, plain.extract)


def _read_csv(file: File) -> Iterator[Item]:
    return _streamed(file, delimited.extract)


def _streamed(file: File, extract: Callable[[Iterator[str]], Iterator[str]]) -> Iterator[Item]:
    stream = file.seekable()
    codec, guessed = encoding.detect(stream)
    yield from documents(file, file.title, extract(encoding.pieces(stream, codec)))
    if guessed:
        yield Skipped(file.source, encoding.remark(codec), kept=True)


def _page(kind: ModuleType, file: File) -> Iterator[Item]:
    page, remark = encoding.decode(BytesIO(file.read()), html=kind is html)
    title, text = kind.extract(page)
    yield from documents(file, title or file.title, [text], iso_date(kind.date(page)))
    if remark:
        yield Skipped(file.source, remark, kept=True)


def _read_pdf(file: File) -> Iterator[Item]:
    title, date, pages = pdf.extract(file.seekable())
    yield from documents(file, title or file.title, pages, iso_date(date))


def _read_eml(file: File) -> Iterator[Item]:
    read = mail.extract(file.read())
    yield from _letter(file, file.name, read)
    if left_out := read.attachments:
        yield Skipped(file.source, f"attachments left out: {', '.join(left_out)}", kept=True)


def _read_mbox(file: File) -> Iterator[Item]:
    """A document a message; how many attachments and what else was left out is told at the end."""
    number = attachments = others = 0
    for number, data in enumerate(mail.messages(file.stream, WHOLE_BYTES), 1):
        read = _mail(data)
        attachments += len(read.attachments)
        others += not read.text
        if read.text:
            yield from _letter(file, f"{file.name}!/{read.id or number}", read)
    counted = {"attachments": attachments, "messages that cannot be read": others}
    if told := " and ".join(f"{count:,} {what}" for what, count in counted.items() if count):
        yield Skipped(file.source, f"{told} left out", kept=others < number)


def _letter(file: File, name: str, read: mail.Mail) -> Iterator[Item]:
    title = read.subject or file.title
    return named(name, title, [read.text], file.source, date=iso_date(read.date))


def _mail(data: bytes) -> mail.Mail:
    try:
        return mail.extract(data)
    except Exception:  # whatever the library says to one hostile message, it ends no mailbox
        return mail.Mail("", "", "", [], "")


def _read_unnamed(file: File) -> Iterator[Item]:
    """A file whose name has no ending, by how it begins; plain text if by nothing else."""
    stream = file.seekable()
    head = stream.read(BEGINNING)
    stream.seek(0)
    kind = next((kind for kind, begins in BEGINS.items() if begins.match(head)), ".txt")
    yield from READERS[kind](replace(file, stream=stream, on_disk=True))


def _office(kind: ModuleType, file: File) -> Iterator[Item]:
    title, date, lines = kind.extract(file)
    yield from documents(file, title or file.title, lines, iso_date(date))


def _read_parquet(file: File) -> Iterator[Item]:
    for number, found in enumerate(parquet.rows(file), 1):
        place = f"{file.source}:{number}"
        yield from row(found, f"{file.name}:{number}", place, file.source)


def _read_wiki(file: File) -> Iterator[Item]:
    """Articles; how many redirects and other pages were left out is one remark at the end."""
    left_out = 0
    for page in wiki.pages(file.stream):
        if page.is_article:
            yield from _article(file, page)
        else:
            left_out += 1
    if left_out:
        reason = f"{left_out:,} redirects and pages outside the articles were left out"
        yield Skipped(file.source, reason, kept=True)


def _article(file: File, page: wiki.Page) -> Iterator[Item]:
    place = f"{file.source}!/{page.title}"
    date = iso_date(page.timestamp)
    text = wikitext.plain(page.text)
    return named(f"{file.name}!/{page.title}", page.title, [text], place, date=date)


BEGINNING = 256
BEGINS = {
    ".mbox": re.compile(rb"From \S+.*\d{4}\r?\n[\w-]+:"),
    ".pdf": re.compile(rb"%PDF-"),
    ".html": re.compile(rb"\s*(?:<!doctype html|<html)", re.IGNORECASE),
}
"""The first bytes of files whose names tell no type, as those of Thunderbird's mailboxes."""

READERS: dict[str, Callable[[File], Iterator[Item]]] = {
    ".txt": _read_txt,
    ".md": partial(_page, markdown),
    ".rst": partial(_page, rst),
    ".ipynb": partial(_page, ipynb),
    ".rtf": partial(_page, rtf),
    ".vtt": partial(_page, subtitles),
    ".srt": partial(_page, subtitles),
    ".html": partial(_page, html),
    ".htm": partial(_page, html),
    ".epub": partial(_office, epub),
    ".eml": _read_eml,
    ".mbox": _read_mbox,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": jsonl.read,
    ".pdf": _read_pdf,
    ".docx": partial(_office, docx),
    ".pptx": partial(_office, pptx),
    ".xlsx": partial(_office, xlsx),
    ".odt": partial(_office, odf),
    ".ods": partial(_office, odf),
    ".odp": partial(_office, odf),
    ".parquet": _read_parquet,
    ".xml": _read_wiki,
    "": _read_unnamed,
}
"""By the end of the name; a reader may raise whatever its library does."""
