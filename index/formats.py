"""Which reader reads which type of file; knows formats and documents, nothing of folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from types import ModuleType

from index import (
    delimited,
    docx,
    encoding,
    epub,
    html,
    jsonl,
    mail,
    markdown,
    odf,
    parquet,
    pdf,
    plain,
    pptx,
    rst,
    wiki,
    wikitext,
    xlsx,
)
from index.dates import iso_date
from index.documents import File, Item, Skipped, documents, named, row


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
    title, date, text, left_out = mail.extract(file.read())
    yield from documents(file, title or file.title, [text], iso_date(date))
    if left_out:
        yield Skipped(file.source, f"attachments left out: {', '.join(left_out)}", kept=True)


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


READERS: dict[str, Callable[[File], Iterator[Item]]] = {
    ".txt": _read_txt,
    ".md": partial(_page, markdown),
    ".rst": partial(_page, rst),
    ".html": partial(_page, html),
    ".htm": partial(_page, html),
    ".epub": partial(_office, epub),
    ".eml": _read_eml,
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
    "": _read_txt,
}
"""By the end of the name; a reader may raise whatever its library does."""
