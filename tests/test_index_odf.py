"""What is read of OpenDocument files (OpenDocument 1.3 part 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ingest_fakes as fakes
import pytest

from index.documents import Skipped
from index.sources import Document, read_documents


def read(file: Path, content: bytes) -> Document:
    file.write_bytes(content)
    [document] = read_documents([file])
    assert isinstance(document, Document)
    return document


def skipped(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    [item] = read_documents([file])
    assert isinstance(item, Skipped)
    return item.reason


def cell(text: str, **attributes: str) -> str:
    told = "".join(f' table:{name.replace("_", "-")}="{v}"' for name, v in attributes.items())
    return f"<table:table-cell{told}><text:p>{text}</text:p></table:table-cell>"


def row(*cells: str) -> str:
    inside = "".join(c if c.startswith("<") else cell(c) for c in cells)
    return f"<table:table-row>{inside}</table:table-row>"


def table(rows: Sequence[str], name: str = "") -> str:
    return f'<table:table table:name="{name}">{"".join(rows)}</table:table>'


def text_of(tmp_path: Path, body: str) -> str:
    return read(tmp_path / "a.odt", fakes.odf(f"<office:text>{body}</office:text>")).text


def test_headings_begin_sections(tmp_path: Path) -> None:
    body = (
        '<office:text><text:h text:outline-level="1">Brisa <text:span>Duo</text:span></text:h>'
        '<text:p>Two cups.</text:p><text:h text:outline-level="2">Warranty</text:h>'
        "<text:p>Three years.</text:p></office:text>"
    )
    made = fakes.odf(body, "<dc:title>Machines</dc:title><dc:date>2023-04-05T06:07:08</dc:date>")
    document = read(tmp_path / "a.odt", made)
    assert document.text == "Brisa Duo\nTwo cups.\nWarranty\nThree years."
    assert [s.name for s in document.sections] == ["Brisa Duo", "Brisa Duo › Warranty"]
    assert (document.title, document.date) == ("Machines", "2023-04-05")


def test_the_day_it_was_made_dates_what_was_never_changed(tmp_path: Path) -> None:
    body = "<office:text><text:p>x</text:p></office:text>"
    told = "<meta:creation-date>2020-01-02T00:00</meta:creation-date>"
    assert read(tmp_path / "a.odt", fakes.odf(body, told)).date == "2020-01-02"
    broken = read(tmp_path / "b.odt", fakes.odf(body, "<dc:title>T"))
    assert (broken.title, broken.date, broken.text) == ("b", "", "x")


def test_what_is_seen_is_read(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:tracked-changes>"
        "<text:p>The<text:s/>tank<text:tab/>holds<text:line-break/>0.9 litres"
        "<office:annotation><dc:creator>Jo</dc:creator><text:p>Sure?</text:p></office:annotation>"
        "<text:note><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>The new one.</text:p></text:note-body></text:note> of water.</text:p>"
        "<text:table-of-content><text:p>Tank 7</text:p></text:table-of-content>"
        "<text:list><text:list-item><text:p>first</text:p></text:list-item></text:list>"
        "<draw:frame><svg:desc>a drawing</svg:desc><draw:text-box><text:p>boxed</text:p>"
        "</draw:text-box></draw:frame>"
    )
    told = "The tank holds 0.9 litres of water.\nThe new one.\nfirst\nboxed"
    assert text_of(tmp_path, body) == told


def test_rows_are_told_with_the_names_of_their_columns(tmp_path: Path) -> None:
    names = row("Article", "Size", "Price")
    rows = [names, row("Rope", "10 m", "9.50 €"), row("Hook", "", "1 €")]
    told = "Article Rope: Size 10 m, Price 9.50 €.\nArticle Hook: Price 1 €."
    assert text_of(tmp_path, table(rows)) == told
    pairs = [row("Rope", "10 m"), row("Hook", "2 cm")]
    assert text_of(tmp_path, table(pairs)) == "Rope: 10 m.\nHook: 2 cm."
    marked = f"<table:table-header-rows>{pairs[0]}</table:table-header-rows>{pairs[1]}"
    assert text_of(tmp_path, table([marked])) == "Rope Hook: 10 m 2 cm."


def test_cells_that_span_rows_and_are_repeated(tmp_path: Path) -> None:
    covered = "<table:covered-table-cell/>"
    rows = [
        row("Article", "Size", "Price", "Stock"),
        row("Rope", "10 m", cell("9 €", number_columns_repeated="2")),
        row(covered, "20 m", "18 €", ""),
    ]
    told = "Article Rope: Size 10 m, Price 9 €, Stock 9 €.\nArticle Rope: Size 20 m, Price 18 €."
    assert text_of(tmp_path, table(rows)) == told


def test_a_table_in_a_cell_is_words_of_it(tmp_path: Path) -> None:
    inner = table([row("a", "b")])
    outer = f"<table:table-cell>{inner}<text:p>c</text:p></table:table-cell>"
    assert text_of(tmp_path, table([row(outer, "d")]) + "<text:p>e</text:p>") == "a b c: d.\ne"


def test_sheets_are_sections(tmp_path: Path) -> None:
    rows = 'table:number-rows-repeated="1048000"'
    empty = f"<table:table-row {rows}><table:table-cell/></table:table-row>"
    prices = [row("Price list"), empty, row("Article", "Price"), row("Rope", "9.50 €"), empty]
    body = table(prices, "Prices") + table([row("Opened", "1974")], "Years")
    made = fakes.odf(f"<office:spreadsheet>{body}</office:spreadsheet>")
    document = read(tmp_path / "a.ods", made)
    assert document.text == "Prices\nPrice list\nArticle Rope: Price 9.50 €.\nYears\nOpened: 1974."
    assert [s.name for s in document.sections] == ["Prices", "Years"]


def test_slides_are_sections_titled_by_their_titles(tmp_path: Path) -> None:
    def frame(kind: str, *told: str) -> str:
        inside = "".join(f"<text:p>{text}</text:p>" for text in told)
        return (
            f'<draw:frame presentation:class="{kind}"><draw:text-box>{inside}</draw:text-box>'
            "</draw:frame>"
        )

    slides = [
        frame("title", "Plans") + frame("outline", "Move in May", "To Leipzig"),
        frame("title", "Costs") + frame("subtitle", "9 €") + frame("page-number", "2"),
    ]
    notes = f"<presentation:notes>{frame('notes', 'Say it slowly.')}</presentation:notes>"
    pages = "".join(f"<draw:page>{slide}{notes}</draw:page>" for slide in slides)
    made = fakes.odf(f"<office:presentation>{pages}</office:presentation>")
    document = read(tmp_path / "a.odp", made)
    assert document.text == (
        "Plans\nMove in May\nTo Leipzig\nSay it slowly.\nCosts\n9 €\nSay it slowly."
    )
    assert [s.name for s in document.sections] == ["Plans", "Costs"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no zip", "zip"),
        (fakes.zipped({"a": b""}), "no OpenDocument file (content.xml is missing)"),
        (fakes.odf("", listed="<m><encryption-data/></m>"), "encrypted; save it without"),
        (fakes.zipped({"content.xml": b"<a>"}), "broken XML"),
    ],
)
def test_what_is_none_is_told(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in skipped(tmp_path / "a.odt", content)
