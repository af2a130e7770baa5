"""About 2,000 malformed files: each ends as documents or ``Skipped``, soon and in little memory.

Warnings are errors in every test, so a file left open or a library's complaint fails as well.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import ingest_fakes as fakes
import pyarrow
import pytest
from pyarrow import parquet

from index.documents import Document, Item, Skipped
from index.sources import read_documents

EACH = 120
"""Malformed inputs of each format."""
PEAK = 80_000_000
"""Bytes of Python's memory that a hostile file may take."""
ROWS = [
    {"id": n % 3, "title": f"Row {n}", "text": f"Camels of herd {n} — naïve."} for n in range(9)
]
JSONL = "\n".join(map(json.dumps, ROWS)).encode()
MARKDOWN = (
    b"---\ntitle: T\n---\n# The *camel*\n\nA `hump` of [fat](x) and ``more``.\n"
    b"\nLegs\n---\n\n**Feet**\n\n"
    b"| a | b |\n|---|---|\n| 1 | 2 |\n"
)
HTML = (
    b"<title>T</title><nav>x</nav><h2>B<br>c</h2><p><b>D</b></p>"
    b"<p>A <b>hump</b> &amp; <table><tr><td>fat</table><!-- c -->"
    b"<table><tr><th rowspan=2>a<th colspan=3>b<tr><th>c<tr><td>1<td>2</table>"
)
RST = (
    b"Camel\n=====\n\nA *hump* of :ref:`fat <x>`.\n\n.. function:: eat(x)\n   :y:\n\n   Eats.\n"
    b"\n====  ===\na     b\n====  ===\n1     2\n====  ===\n\n.. include:: /etc/hostname\n"
)
CSV = b'animal,humps\n"camel",1\n"Bactrian ""camel""",2\n'
WORD_ROW = (
    f"<w:tr><w:tc>{fakes.paragraph('camel')}</w:tc><w:tc>{fakes.paragraph('1')}</w:tc></w:tr>"
)
ODF_TEXT = (
    '<office:text><text:h text:outline-level="2">Humps</text:h><text:p>The <text:s/>camel'
    "<text:note><text:note-body><text:p>a note</text:p></text:note-body></text:note></text:p>"
    "</office:text>"
)
ODF_SHEET = (
    '<office:spreadsheet><table:table table:name="Herds"><table:table-row>'
    '<table:table-cell table:number-columns-repeated="3"><text:p>1</text:p></table:table-cell>'
    "</table:table-row></table:table></office:spreadsheet>"
)
RTF = rb"{\rtf1\ansi\ansicpg1252 \b Camels\b0\par Zo\'eb has \u8364? 5 {\field{\*\fldrslt x}}\par}"
VTT = b"WEBVTT\n\n1\n00:01.000 --> 00:02.000\n<v Ann>A camel</v>\n\n0:3.0 --> 0:04.0\nhas &lt;a\n"
WIKI = "'''Mars''' is {{red|a}} [[planet|a planet]] &lt;ref>x&lt;/ref> {| |} [http://a b]"


def table() -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), buffer)
    return buffer.getvalue()


SOUND: dict[str, Callable[[], bytes]] = {
    "txt": lambda: "Zoë’s camel\r\nhas a hump.\n".encode(),
    "md": lambda: MARKDOWN,
    "rst": lambda: RST,
    "rtf": lambda: RTF,
    "vtt": lambda: VTT,
    "html": lambda: HTML,
    "csv": lambda: CSV,
    "ipynb": lambda: b'{"cells": [{"cell_type": "code", "source": ["a", "b"], "outputs": []}]}',
    "jsonl": lambda: JSONL,
    "pdf": lambda: fakes.pdf([[fakes.Line("The camel", 20)], ["has a hump."]], title="T"),
    "docx": lambda: fakes.docx(
        f"{fakes.paragraph('The camel') * 3}<w:tbl>{WORD_ROW * 2}</w:tbl>", title="T"
    ),
    "parquet": table,
    "pptx": lambda: fakes.pptx([fakes.shape("The camel", kind="title"), fakes.shape("a", "b")]),
    "epub": lambda: fakes.epub(["<h1>The camel</h1><p>a hump</p>", "<p>b</p>"], "T"),
    "eml": lambda: fakes.MAIL.format(kind="html", body="<p>The camel</p>").encode(),
    "mbox": lambda: b"From a\n" + fakes.MAIL.format(kind="plain", body="a hump").encode() * 2,
    "xlsx": lambda: fakes.xlsx(Camels=[["Name", "Humps"], ["camel", 1], ["Bactrian", 2.5]]),
    "odt": lambda: fakes.odf(ODF_TEXT, "<dc:title>T</dc:title>", "<manifest/>"),
    "ods": lambda: fakes.odf(ODF_SHEET),
    "xml": lambda: fakes.dump([fakes.page("Mars", WIKI), fakes.page("Red", "x", redirect="Mars")]),
    "zip": lambda: fakes.zipped({"a.txt": b"camel", "b.jsonl": JSONL, "c.md": MARKDOWN}),
    "jsonl.gz": lambda: fakes.gzipped(JSONL),
    "txt.xz": lambda: lzma.compress(MARKDOWN),
    "html.bz2": lambda: bz2.compress(HTML),
    "xml.bz2": lambda: fakes.dump([fakes.page("Mars", WIKI)], compressed=True),
    "pdf.gz": lambda: fakes.gzipped(fakes.pdf([["camel"]])),
    "docx.xz": lambda: lzma.compress(fakes.docx(fakes.paragraph("camel"))),
    "parquet.gz": lambda: fakes.gzipped(table()),
}


def damaged(sound: bytes, rng: random.Random) -> bytes:
    """One way of going wrong, drawn at random."""
    data = bytearray(sound)
    place, other = sorted(rng.choices(range(len(data) + 1), k=2))
    kind = rng.randrange(8)
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        return bytes(data[place:])
    if kind == 2:
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)
    if kind == 3:
        return bytes(data[:place] + data[other:])
    if kind == 4:
        return bytes(data[:place] + rng.randbytes(rng.randint(1, 99)) + data[place:])
    if kind == 5:
        return bytes(data[:place] + b"\0" * rng.randint(1, 99) + data[other:])
    if kind == 6:
        return bytes(data[:other] + data[place:])
    return sound.decode("latin-1").encode(rng.choice(["utf-16", "utf-8", "utf-32-be", "utf-8-sig"]))


def checked(sources: list[Path]) -> Iterator[Item]:
    ids = set()
    for item in read_documents(sources):
        if isinstance(item, Document):
            assert item.text.strip()
            assert item.id not in ids
            ids.add(item.id)
            json.dumps(vars(item), ensure_ascii=False).encode()
        else:
            assert item.reason
            assert "\n" not in item.source
        yield item


@pytest.mark.parametrize("suffix", SOUND)
def test_damaged_files_stop_nothing(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(suffix)
    sound = SOUND[suffix]()
    for number in range(EACH):
        (tmp_path / f"{number:03}.{suffix}").write_bytes(damaged(sound, rng))
    (tmp_path / f"{EACH}.{suffix}").write_bytes(sound)
    first = list(checked([tmp_path]))
    named = {Path(item.source.partition("!/")[0]).name.partition(":")[0] for item in first}
    assert named == {f"{number:03}.{suffix}" for number in range(EACH + 1)}
    assert list(read_documents([tmp_path])) == first


@pytest.mark.parametrize("suffix", SOUND)
def test_what_is_no_such_file_at_all(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(suffix)
    for number, content in enumerate([b"", b"\0", b"\0" * 5000, b"\n" * 5000, rng.randbytes(9000)]):
        (tmp_path / f"{number}.{suffix}").write_bytes(content)
    items = list(checked([tmp_path]))
    assert {Path(item.source).name.partition(".")[0] for item in items} == set("01234")
    assert all(isinstance(item, Skipped) for item in items)


ROWS_OF_TROUBLE = [
    "[" * 100_000,
    '{"text": ' * 50_000,
    '{"text": "one", "id": ' + "9" * 5_000 + "}",
    '{"text": "two", "id": 1e999, "title": NaN}',
    '{"text": "three \\ud800 \\udfff", "id": "\\udc00", "title": "\\ud83d"}',
    '{"text": "four", "id": {"a": 1}, "title": ["x"], "source": 5}',
    '{"text": "five", "id": ""}',
    '{"text": "six", "id": "same"}',
    '{"text": "seven", "id": "same"}',
    '{"text": "six", "id": "other"}',
    '{"text": null}',
    '{"text": "nul \\u0000 inside"}',
    '"text"',
    "nan",
]


def test_rows_of_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(ROWS_OF_TROUBLE))
    items = list(checked([tmp_path / "a.jsonl"]))
    assert len(items) == len(ROWS_OF_TROUBLE)
    assert [i.id for i in items if isinstance(i, Document)] == [
        "inf",
        "?",
        "a.jsonl:6",
        "a.jsonl:7",
        "same",
        "same#2",
        "a.jsonl:12",
    ]


def zeros(num_bytes: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", compresslevel=1) as stream:
        for _ in range(num_bytes // 1_000_000):
            stream.write(b"a" * 1_000_000)
    return buffer.getvalue()


def entities(kind: str) -> bytes:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    external = (
        '<!ENTITY l0 "x">' if kind == "laughs" else '<!ENTITY l9 SYSTEM "file:///etc/passwd">'
    )
    declared = f"<!DOCTYPE mediawiki [{external}{laughs if kind == 'laughs' else ''}]>"
    return f"{declared}<mediawiki>{fakes.page('A', '&l9;')}</mediawiki>".encode()


def overlapping() -> bytes:
    """A zip whose 400 names all point at one member of a megabyte."""
    content = fakes.zipped({"a.txt": b"a" * 1_000_000})
    begin = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    tail = bytearray(content[end:])
    tail[8:12] = (400).to_bytes(2, "little") * 2
    tail[12:16] = ((end - begin) * 400).to_bytes(4, "little")
    return content[:begin] + content[begin:end] * 400 + bytes(tail)


def repeated_rows() -> bytes:
    buffer = io.BytesIO()
    text = pyarrow.DictionaryArray.from_arrays([0] * 2_000, ["a" * 50_000])
    parquet.write_table(pyarrow.table({"text": text}), buffer)
    return buffer.getvalue()


REPEATED = 'table:number-columns-repeated="99999"'
CELL = f"<table:table-cell {REPEATED}><text:p>camel</text:p></table:table-cell>"
WIDE = (
    f"<office:spreadsheet><table:table>{f'<table:table-row>{CELL}</table:table-row>' * 2_000}"
    "</table:table></office:spreadsheet>"
)
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("txt.gz", lambda: zeros(20_000_000)),
    "gzipped row": ("jsonl.gz", lambda: zeros(20_000_000)),
    "page": ("html.xz", lambda: lzma.compress(b"<p>" * 6_000_000)),
    "zip": ("zip", lambda: fakes.zipped({"a.txt": b"a" * 20_000_000})),
    "overlap": ("zip", overlapping),
    "word": ("docx", lambda: fakes.docx(fakes.paragraph("a" * 20_000_000))),
    "repeated rows": ("parquet", repeated_rows),
    "laughs": ("xml", lambda: entities("laughs")),
    "entity": ("xml", lambda: entities("external")),
    "word entity": ("docx", lambda: fakes.zipped({"word/document.xml": entities("laughs")})),
    "wide rows": ("ods", lambda: fakes.odf(WIDE)),
    "depth": ("xml", lambda: b"<mediawiki>" + b"<a>" * 20_000),
    "divs": ("html", lambda: b"<div>" * 200_000),
    "open roles": ("rst", lambda: b":a:`<" * 20_000),
    "rst bullets": ("rst", lambda: b"* " * 900),
    "rst marks": ("rst", lambda: b"*a `b |c [d] " * 3_000),
    "lists in lists": ("html", lambda: b"<dl><dt>a<dd><p>b" * 900 + b"camel " * 90_000),
    "many lists": ("html", lambda: b"<dl><dt>a<dd><p>b</dl>" * 25_000),
    "open tags": ("html", lambda: b"<a " * 200_000),
    "open comments": ("html", lambda: b"<!--" * 200_000),
    "markup": ("xml", lambda: fakes.dump([fakes.page("A", "[[a|{{b &lt;ref> {| " * 3_000)])),
    "many mails": ("mbox", lambda: b"From a\nFrom: b\n\nc\n\n" * 20_000),
    "lines alone": ("txt", lambda: b"A\n\nb.\n\n" * 200_000),
    "long line": ("txt", lambda: b"camel " * 1_000_000),
    "long row": ("jsonl", lambda: b'{"text": "' + b"camel " * 500_000 + b'"}'),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_stay_small(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an eighth of what a compressed file may give in any case, to be done soon."""
    monkeypatch.setattr("index.documents.FREE", 8_000_000)
    suffix, make = BOMBS[name]
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(make())
    tracemalloc.start()
    try:
        num_items = sum(1 for _ in checked([file]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert num_items
    assert peak < PEAK
