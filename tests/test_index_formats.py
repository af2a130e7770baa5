"""Files of every format as people have them; the broken ones are in test_index_fuzz.py."""

from __future__ import annotations

import datetime
import io
import json
import time
import zipfile
from pathlib import Path

import ingest_fakes as fakes
import pyarrow
import pytest
from pyarrow import parquet

from index import mail, xlsx
from index.documents import Document, Skipped
from index.sources import read_documents


def read(file: Path, content: bytes | None = None) -> tuple[list[Document], list[Skipped]]:
    if content is not None:
        file.write_bytes(content)
    items = list(read_documents([file]))
    documents = [item for item in items if isinstance(item, Document)]
    return documents, [item for item in items if isinstance(item, Skipped)]


def test_pages_of_a_pdf_are_paragraphs_and_cut_words_whole(tmp_path: Path) -> None:
    pages = [
        ["The camel is an even-toed exam-", "ple of 1990-", "2000 and Anglo-", "Saxon."],
        ["Two."],
    ]
    [document], skipped = read(tmp_path / "a_b.pdf", fakes.pdf(pages, title="Camels of Asia"))
    assert skipped == []
    assert (document.id, document.title) == ("a_b.pdf", "Camels of Asia")
    first, second = document.text.split("\n\n")
    assert "even-toed example of" in first
    assert "Saxon." in first
    assert second == "Two."


VTT = """WEBVTT - Staff meeting

NOTE it was recorded

STYLE
::cue { color: red }

1
00:00:01.000 --> 00:00:04.000 align:start
<v Ann Lee>We <i>move</i> to Leipzig &amp; Halle</v>
in May.

00:04.000 --> 00:06.000
<v Ann Lee>in May.</v>

00:06.000 --> 00:08.000
<v Ben>Why?</v>

00:09.000 --> 00:10.000
- The lease ends.
"""
SRT = """1\r
00:00:01,000 --> 00:00:04,000\r
Ann Lee: We move.\r
\r
2\r
00:00:05,000 --> 00:00:06,000\r
Ann Lee: and to Leipzig: in May.\r
\r
3\r
00:00:07,000 --> 00:00:08,000\r
Ben: Why?\r
"""


def test_what_is_said_in_subtitles(tmp_path: Path) -> None:
    [told], _ = read(tmp_path / "a.vtt", VTT.encode())
    said = ["Ann Lee: We move to Leipzig & Halle in May.", "Ben: Why? The lease ends."]
    assert told.text.split("\n") == said
    [told], _ = read(tmp_path / "b.srt", SRT.encode())
    assert told.text.split("\n") == ["Ann Lee: We move. and to Leipzig: in May.", "Ben: Why?"]
    [told], _ = read(tmp_path / "c.srt", SRT.replace("Ann Lee: ", "").replace("Ben: ", "").encode())
    assert told.text == "We move. and to Leipzig: in May. Why?"
    assert "no subtitles" in read(tmp_path / "d.vtt", b"Words.\n\nMore.")[1][0].reason


def test_long_speeches_have_paragraphs(tmp_path: Path) -> None:
    cue = "00:00:0{}.000 --> 00:00:09.000\n<v Ann>" + "word " * 30 + "end{}.\n\n"
    page = "WEBVTT\n\n" + "".join(cue.format(n, n) for n in range(9))
    [told], _ = read(tmp_path / "a.vtt", page.encode())
    assert [line[:4] for line in told.text.split("\n")] == ["Ann:"] * 3
    assert told.text.count("end") == 9


def test_rich_text(tmp_path: Path) -> None:
    body = rb"{\fonttbl\f0 Arial;}\pard WARRANTY\par\par Zo\'eb grants \b two\b0  years, for "
    body += rb"\u8364? 5.\par"
    [told], _ = read(tmp_path / "a_b.rtf", rb"{\rtf1\ansi\ansicpg1252" + body + b"}")
    assert told.title == "a b"
    assert told.text.split() == "WARRANTY Zoë grants two years, for € 5.".split()
    assert [section.name for section in told.sections] == ["WARRANTY"]
    assert read(tmp_path / "b.rtf", b"Words")[1][0].reason == "no Rich Text"


def test_a_pdf_without_a_title_is_called_like_its_file(tmp_path: Path) -> None:
    assert read(tmp_path / "a_b.pdf", fakes.pdf([["Words."]]))[0][0].title == "a b"


def test_pdfs_that_hold_no_text_that_can_be_read(tmp_path: Path) -> None:
    assert read(tmp_path / "a.pdf", fakes.pdf([[], []]))[1][0].reason == "no text in it (scanned?)"
    assert "encrypted" in read(tmp_path / "b.pdf", fakes.encrypted_pdf())[1][0].reason
    assert "no PDF" in read(tmp_path / "c.pdf", b"garbage")[1][0].reason


def test_paragraphs_headings_and_tables_of_a_word_document(tmp_path: Path) -> None:
    body = (
        fakes.paragraph("The camel")
        + "<w:p><w:r><w:t>A </w:t></w:r><w:r><w:t>hump.</w:t><w:tab/><w:t>Fat</w:t><w:br/>"
        "<w:t>inside</w:t><w:delText>gone</w:delText></w:r></w:p>"
        + f"<w:tbl><w:tr><w:tc>{fakes.paragraph('Legs')}</w:tc><w:tc>{fakes.paragraph('four')}"
        f"{fakes.paragraph('long')}</w:tc></w:tr></w:tbl>"
        + f"<mc:AlternateContent><mc:Choice>{fakes.paragraph('Box')}</mc:Choice><mc:Fallback>"
        f"{fakes.paragraph('Box')}</mc:Fallback></mc:AlternateContent>"
    )
    [document], skipped = read(tmp_path / "a.docx", fakes.docx(body, title="Animals &amp; more"))
    assert skipped == []
    assert document.title == "Animals & more"
    assert document.text.split("\n") == [
        "The camel",
        "A hump. Fat",
        "inside",
        "Legs: four long.",
        "Box",
    ]


def test_footnotes_of_a_word_document_follow_what_they_are_of(tmp_path: Path) -> None:
    note = '<w:r><w:footnoteReference w:id="{}"/></w:r>'
    body = (
        f"<w:p><w:r><w:t>The tank{note.format(2)} holds 0.9 litres.</w:t></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc>{fakes.paragraph('Legs')}</w:tc>"
        f"<w:tc><w:p><w:r><w:t>four</w:t></w:r>{note.format(3)}</w:p></w:tc></w:tr></w:tbl>"
        f"<w:p><w:r><w:t>End.</w:t></w:r>{note.format(9)}</w:p>"
    )
    told = (fakes.paragraph("The new") + fakes.paragraph("one."), fakes.paragraph("Most often."))
    notes = "".join(f'<w:footnote w:id="{i}">{t}</w:footnote>' for i, t in enumerate(told, 2))
    footnotes = f"<w:footnotes {fakes.W}>{notes}</w:footnotes>"
    whole = fakes.docx(body, footnotes=footnotes)
    [document], _ = read(tmp_path / "a.docx", whole)
    assert document.text.split("\n") == [
        "The tank holds 0.9 litres.",
        "The new one.",
        "Legs: four.",
        "Most often.",
        "End.",
    ]
    torn = fakes.docx(body, footnotes=footnotes[: footnotes.index("Most")])
    [document], skipped = read(tmp_path / "b.docx", torn)
    assert "The new one." in document.text
    assert skipped == []


def test_slides_of_a_presentation_in_their_order(tmp_path: Path) -> None:
    table = "".join(
        f"<a:tr>{''.join(f'<a:tc>{fakes.shape(cell)}</a:tc>' for cell in row)}</a:tr>"
        for row in (["Boat", "Length"], ["Tern", "4 m"])
    )
    slides = [
        fakes.shape("Spring", "plan", kind="ctrTitle") + fakes.shape("For all of us."),
        fakes.shape("Boats", kind="title")
        + fakes.shape("7", kind="sldNum")
        + f"<p:graphicFrame><a:tbl>{table}</a:tbl></p:graphicFrame>"
        + f"<p:grpSp>{fakes.shape('In a group.')}</p:grpSp>",
    ]
    notes = fakes.shape("Sell 400.") + fakes.shape("1", kind="sldNum")
    [document], skipped = read(tmp_path / "a.pptx", fakes.pptx(slides, notes, "Plans"))
    assert skipped == []
    assert document.title == "Plans"
    assert [section.name for section in document.sections] == ["Spring plan", "Boats"]
    assert document.text.split("\n") == [
        "Spring plan",
        "For all of us.",
        "Sell 400.",
        "Boats",
        "Boat Tern: Length 4 m.",
        "In a group.",
    ]
    assert "no PowerPoint" in read(tmp_path / "b.pptx", fakes.zipped({"a": b""}))[1][0].reason


def test_chapters_of_a_book(tmp_path: Path) -> None:
    pages = [
        "<body><h1>Legs</h1><p>Four.<a id='x'/></p><script/><p>Long.</p></body>",
        "<body><h1>Humps</h1><p>One<br/>or two.</p></body>",
    ]
    font = "OPS/font.otf"
    [document], skipped = read(tmp_path / "a.epub", fakes.epub(pages, "Camels", font))
    assert skipped == []
    assert (document.title, document.date) == ("Camels", "2021-05-01")
    assert [section.name for section in document.sections] == ["Legs", "Humps"]
    assert document.text == "Legs\nFour.\nLong.\n\nHumps\nOne\nor two."
    sealed = fakes.epub(pages, "Camels", "OPS/text/page%200.xhtml")
    assert "encrypted" in read(tmp_path / "b.epub", sealed)[1][0].reason
    assert "no electronic book" in read(tmp_path / "c.epub", fakes.zipped({"a": b""}))[1][0].reason


@pytest.mark.parametrize(
    ("kind", "body"),
    [("plain", "We move to Z=C3=BCrich."), ("html", "<p>We <b>move</b> to Z=C3=BCrich.</p>")],
)
def test_an_email_tells_who_wrote_it_and_when(tmp_path: Path, kind: str, body: str) -> None:
    [document], [note] = read(tmp_path / "a.eml", fakes.MAIL.format(kind=kind, body=body).encode())
    assert (document.title, document.date) == ("The move", "2026-03-03")
    assert document.text.split("\n") == [
        "From: Ann Zoë <ann@a.example>",
        "To: ben@b.example",
        "Date: Tue, 03 Mar 2026 09:30:00 +0100",
        "",
        "We move to Zürich.",
    ]
    assert (note.reason, note.kept) == ("attachments left out: plan.pdf", True)


def test_a_notebook_tells_its_words_its_code_and_what_was_printed(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Camels\n", "\n", "How *far* they walk."]},
        {
            "cell_type": "code",
            "source": "x = a * b * c",
            "outputs": [
                {"output_type": "stream", "text": ["42 km\n"]},
                {"data": {"text/plain": ["'far'"], "image/png": "iVBOR"}},
                {"ename": "ValueError"},
            ],
        },
        {"cell_type": "markdown", "source": "## End\nThey rest."},
    ]
    [document], _ = read(tmp_path / "a.ipynb", json.dumps({"cells": cells}).encode())
    assert document.title == "Camels"
    assert document.text.split() == (
        "How far they walk. x = a * b * c 42 km 'far' End They rest.".split()
    )
    assert document.title_at(len(document.text) - 1) == "Camels › End"
    for content in (b"{}", b"[1", b'{"cells": [{"cell_type": "code"}]}', b'{"cells": 5}'):
        [skipped] = read(tmp_path / "b.ipynb", content)[1]
        assert "no notebook" in skipped.reason


def mailbox(*mails: bytes) -> bytes:
    return b"".join(b"From ann@a.example Tue Mar  3 09:30:00 2026\n" + m + b"\n\n" for m in mails)


def test_a_mailbox_holds_a_document_a_message(tmp_path: Path) -> None:
    first = fakes.MAIL.format(kind="plain", body="We move.")
    first = first.replace("MIME", "Message-ID: <m1@a>\r\nMIME")
    second = b"From: Ben <ben@b.example>\n\nOn Monday we met.\nFrom then on\n\n>From here too.\n"
    box = mailbox(first.encode(), second, b"no message")
    for name in ("a.mbox", "Inbox"):
        documents, [note] = read(tmp_path / name, box)
        assert [d.id for d in documents[:2]] == [f"{name}!/m1@a", f"{name}!/2"]
        assert [d.title for d in documents[:2]] == ["The move", name.removesuffix(".mbox")]
        assert documents[0].date == "2026-03-03"
        assert documents[1].text.endswith("On Monday we met.\nFrom then on\n\nFrom here too.")
        assert note.kept
        assert note.reason == "1 attachments and 1 messages that cannot be read left out"
    assert read(tmp_path / "b.mbox", b"")[1][0].reason == "empty"
    assert not read(tmp_path / "c.mbox", b"Just words.\n")[1][0].kept


def test_long_messages_of_a_mailbox_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.mail.LINE", 8)
    box = io.BytesIO(b"From a\nFrom: b\n\n" + b"words " * 20 + b"\n\nFrom c\nFrom: d\n\nend\n")
    first, second = mail.messages(box, 40)
    assert first == (b"From: b\n\n" + b"words " * 20)[: len(first)]
    assert 30 < len(first) <= 40
    assert second == b"From: d\n\nend\n"


def test_files_without_an_ending_are_what_they_begin_with(tmp_path: Path) -> None:
    page = b"\n<!DOCTYPE html><title>The camel</title><p>has a hump"
    assert read(tmp_path / "page", page)[0][0].title == "The camel"
    assert read(tmp_path / "paper", fakes.pdf([["a hump"]], title="Camels"))[0][0].title == "Camels"
    box = mailbox(fakes.MAIL.format(kind="plain", body="We move.").encode())
    for name, content in (("page", page), ("note", b"a hump"), ("Inbox", box)):
        for packed in (f"{name}.gz", f"{name}.zip"):
            zipped = packed.endswith("zip")
            held = fakes.zipped({name: content}) if zipped else fakes.gzipped(content)
            [document], _ = read(tmp_path / packed, held)
            assert "hump" in document.text or "We move." in document.text
    assert read(tmp_path / "note", b"From 2020 on, camels drink.")[0][0].title == "note"


def test_what_has_no_header_is_no_email(tmp_path: Path) -> None:
    assert read(tmp_path / "a.eml", b"Just words.\n")[1][0].reason == "empty"


def test_sheets_of_a_workbook(tmp_path: Path) -> None:
    prices = [
        ["Price list"],
        [],
        ["Article", "Size", "Price", "Since", "Rebate"],
        ["Rope", "10 m", (9.5, '0.00 "€"'), datetime.date(2024, 3, 1), (0.05, "0%")],
        ["Bag", None, (18, "$0"), datetime.datetime(2023, 3, 1, 8, 30), True],
        [],
        ["Boat", 2026],
        ["Canoe", 0.1 + 0.2],
    ]
    content = fakes.xlsx(Prices=prices, Empty=[], Staff=[["Anna", "B 204"]])
    [document], skipped = read(tmp_path / "our-list.xlsx", content)
    assert skipped == []
    assert document.title == "our list"
    assert [section.name for section in document.sections] == ["Prices", "Staff"]
    assert document.text.split("\n") == [
        "Prices",
        "Price list",
        "Article Rope: Size 10 m, Price 9.50 €, Since 2024-03-01, Rebate 5%.",
        "Article Bag: Price 18 $, Since 2023-03-01 08:30, Rebate true.",
        "Boat: 2026.",
        "Canoe: 0.3.",
        "Empty",
        "Staff",
        "Anna: B 204.",
    ]


def test_workbooks_that_are_none_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no Excel" in read(tmp_path / "a.xlsx", fakes.zipped({"a": b""}))[1][0].reason
    assert "no zip file" in read(tmp_path / "b.xlsx", b"PK garbage")[1][0].reason
    monkeypatch.setattr(xlsx, "LARGEST", 10)
    content = fakes.zipped({xlsx.BOOK: b"", xlsx.STRINGS: b"eleven bytes"})
    assert "split it" in read(tmp_path / "c.xlsx", content)[1][0].reason


def test_a_cell_far_away_costs_nothing(tmp_path: Path) -> None:
    """The last cell that a sheet can have stands in row 1,048,576, column 16,384."""
    far = '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>far</t></is></c></row>'
    content = io.BytesIO(fakes.xlsx(A=[["near"]]))
    with zipfile.ZipFile(content) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    members[name] = members[name].replace(b"</sheetData>", f"{far}</sheetData>".encode())
    start = time.process_time()
    [document], _ = read(tmp_path / "a.xlsx", fakes.zipped(members))
    assert document.text.split("\n") == ["A", "near", "far"]
    assert time.process_time() - start < 5


def test_rows_of_a_parquet_file(tmp_path: Path) -> None:
    columns = {
        "text": ["One", None, "Three"],
        "id": [7, 8, 9],
        "title": ["T", "U", None],
        "trust": ["forum", "forum", None],
        "x": [1] * 3,
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", row_group_size=2)
    documents, skipped = read(tmp_path / "a.parquet")
    assert [d.trust for d in documents] == ["forum", ""]
    assert [(d.id, d.title, d.text) for d in documents] == [("7", "T", "One"), ("9", "", "Three")]
    assert [s.source.rpartition("/")[2] for s in skipped] == ["a.parquet:2"]
    parquet.write_table(pyarrow.table({"words": ["a"]}), tmp_path / "b.parquet")
    assert "no column 'text'" in read(tmp_path / "b.parquet")[1][0].reason
    parquet.write_table(pyarrow.table({"text": [1]}), tmp_path / "c.parquet")
    assert "no 'text'" in read(tmp_path / "c.parquet")[1][0].reason


def test_members_of_a_zip_are_documents_by_name(tmp_path: Path) -> None:
    inner = fakes.zipped({"deep.txt": b"Deep"})
    members = {
        "b/note.md": b"# Note\n\nText",
        "a.pdf": fakes.pdf([["Paper."]]),
        "d.docx": fakes.docx(fakes.paragraph("Word.")),
        "c.jsonl.gz": fakes.gzipped(b'{"id": "row", "text": "Row"}'),
        "../up.txt": b"Up",
        "inner.zip": inner,
        "inner.zip.gz": fakes.gzipped(inner),
        "photo.png": b"x",
        "__MACOSX/._a.txt": b"x",
        ".hidden.txt": b"x",
    }
    documents, skipped = read(tmp_path / "z.zip", fakes.zipped(members))
    assert [d.id for d in documents] == ["z.zip!/a.pdf", "z.zip!/b/note.md", "row", "z.zip!/d.docx"]
    assert documents[1].source == f"{tmp_path}/z.zip!/b/note.md"
    reasons = {s.source.partition("!/")[2]: s.reason for s in skipped}
    assert reasons["inner.zip"] == reasons["inner.zip.gz"]
    assert "archive inside an archive" in reasons["inner.zip"]
    assert "type '.png' is unknown" in reasons["photo.png"]


def test_a_damaged_or_encrypted_member_leaves_the_others(tmp_path: Path) -> None:
    content = bytearray(
        fakes.zipped({"a.txt": b"first text", "b.txt": b"second text"}, stored=True)
    )
    content[content.index(b"first")] ^= 1
    documents, skipped = read(tmp_path / "a.zip", bytes(content))
    assert [d.text for d in documents] == ["second text"]
    assert "CRC" in skipped[0].reason
    content = bytearray(fakes.zipped({"a.txt": b"first text", "b.txt": b"second text"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    documents, skipped = read(tmp_path / "b.zip", bytes(content))
    assert [d.text for d in documents] == ["second text"]
    assert "encrypted" in skipped[0].reason
    assert zipfile.is_zipfile(tmp_path / "b.zip")


@pytest.mark.parametrize("suffix", ["xml", "xml.bz2"])
def test_articles_of_a_wikipedia_dump(tmp_path: Path, suffix: str) -> None:
    pages = [
        fakes.page("Mars", "'''Mars''' is a [[planet]] &amp; red.&lt;ref>x&lt;/ref>"),
        fakes.page("Talk:Mars", "chat", ns=1),
        fakes.page("Red planet", "#REDIRECT [[Mars]]", redirect="Mars"),
        fakes.page("Nothing", "{{stub}}"),
    ]
    file = tmp_path / f"dump.{suffix}"
    documents, skipped = read(file, fakes.dump(pages, compressed=suffix.endswith("bz2")))
    assert [(d.id, d.title, d.text) for d in documents] == [
        (f"{file.name}!/Mars", "Mars", "Mars is a planet & red.")
    ]
    assert [(s.reason, s.kept) for s in skipped] == [
        ("empty", False),
        ("2 redirects and pages outside the articles were left out", True),
    ]


def test_other_xml_is_no_dump(tmp_path: Path) -> None:
    assert "no Wikipedia dump (<rss>" in read(tmp_path / "a.xml", b"<rss><a/></rss>")[1][0].reason


def test_a_torn_file_gives_what_came_before(tmp_path: Path) -> None:
    content = fakes.dump([fakes.page("Mars", "Red."), fakes.page("Venus", "Hot.")])
    documents, skipped = read(tmp_path / "a.xml", content[:-5])
    assert [d.title for d in documents] == ["Mars", "Venus"]
    assert "broken XML" in skipped[0].reason


def test_rows_in_utf16_and_in_latin_1(tmp_path: Path) -> None:
    rows = '{"text": "naïve café"}\n{"text": "Señor, mañana"}\n'
    assert [d.text for d in read(tmp_path / "a.jsonl", rows.encode("utf-16"))[0]] == [
        "naïve café",
        "Señor, mañana",
    ]
    documents, skipped = read(tmp_path / "b.jsonl", rows.encode("latin-1"))
    assert [d.text for d in documents] == ["naïve café", "Señor, mañana"]
    assert [(s.kept, s.source[-2:]) for s in skipped] == [(True, ":1")]
