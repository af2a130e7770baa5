"""Rows of tables as sentences, in every format that has tables."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from index.documents import Document, Skipped
from index.html import extract
from index.markdown import plain
from index.sections import heading
from index.sources import read_documents
from index.tables import sentences
from tests import ingest_fakes as fakes

HEAD = ["Article", "Size", "Price"]
ROWS = [["Rope", "10 m", "9.50 €"], ["Dry bag", "", "18 €"]]
TOLD = ["Article Rope: Size 10 m, Price 9.50 €.", "Article Dry bag: Price 18 €."]


def text_of(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    (document,) = read_documents([file])
    assert isinstance(document, Document)
    return document.text


@pytest.mark.parametrize(
    ("head", "rows", "told"),
    [
        (HEAD, ROWS, TOLD),
        ([], [["Capital", "Ulm"], ["Area", "118 km²"]], ["Capital: Ulm.", "Area: 118 km²."]),
        (["A"], [["x", "y", "z"]], ["A x: y, z."]),
        (["A", "B", "C"], [["x"], ["", "", ""], ["", "y", "z"]], ["x", "B y: C z."]),
        ([" A \n b ", "C"], [["x\n1", " y "]], ["A b x 1: C y."]),
        (["A", "", "B"], [], ["A, B"]),
        (["A", "n" * 101, "B"], [["1", "2", "3"]], ["n" * 101, "A 1: 2, B 3."]),
        (["A", "B"], [["", ""]], ["A, B"]),
        ([], [], []),
    ],
)
def test_a_row_is_told_with_the_names_of_its_columns(
    head: list[str], rows: list[list[str]], told: list[str]
) -> None:
    assert list(sentences(head, rows)) == told


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("| Article | Size | Price |\n|---|:-:|--:|\n| *Rope* | 10 m | 9.50 € |", TOLD[0] + "\n"),
        ("Article | Size | Price\n--|--|--\nRope | 10 m | 9.50 €\nend", TOLD[0] + "\nend"),
        ("|a|b|\n|-|-|\n|1\\|2|`x`|\n", "a 1|2: b x.\n"),
        ("a | b\nc | d", "a | b\nc | d"),
        ("a | b\n---\nc", f"{heading(2, 'a | b')}\nc"),
        ("|a|b|\n|-|-|-|\n|1|2|", "|a|b|\n|-|-|-|\n|1|2|"),
    ],
)
def test_tables_of_markdown(marked: str, words: str) -> None:
    assert plain(marked) == words


def told_in_html(table: str) -> list[str]:
    return extract(f"<p>Before<table>{table}</table>after")[1].split("\n")[1:-1]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            "<caption>New <b>prices</b></caption><thead><tr><td>Article<td>Size<td>Price</thead>"
            "<tr><td>Rope<td>10<br>m<td>9.50 €<tr><td>Dry bag<td><td>18 €",
            ["New prices", *TOLD],
        ),
        ("<tr><th>Capital<td>Ulm<tr><th>Area<td>118 km²", ["Capital: Ulm.", "Area: 118 km²."]),
        (  # names of two rows, one of them for two columns and one for two rows
            "<tr><th rowspan=2>Article<th colspan=2>Price<tr><th>2023<th>2024"
            "<tr><td>Rope<td>8 €<td>9 €<tr><td>Bag<td colspan=2>free",
            ["Article Rope: Price 2023 8 €, Price 2024 9 €.", "Article Bag: Price 2023 free."],
        ),
        (  # what is said of two rows, in the first column and in another
            "<tr><th>Article<th>Shop<th>Size<tr><td rowspan=2>Rope<td rowspan=3>Ulm<td>5 m"
            "<tr><td>10 m<tr><td>Bag<td>20 l<tr><td>Cap<td>Bonn<td>M",
            [
                "Article Rope: Shop Ulm, Size 5 m.",
                "Article Rope: Size 10 m.",
                "Article Bag: Size 20 l.",
                "Article Cap: Shop Bonn, Size M.",
            ],
        ),
        ("<tr><th>A<th>B<tr><th colspan=2>Old<tr><td>1<td>2", ["Old", "A 1: B 2."]),
        ("<tr><th colspan=2>All<tr><th>A<th>B<tr><td>1<td>2", ["All", "A 1: B 2."]),
        ("<tr><td>only<td>places", ["only", "places"]),
        ("<tr><th>names<th>alone", ["names, alone"]),
        (
            "<tr><td>left<td><table><tr><th>A<th>B<tr><td>1<td>2</table><th>right",
            ["left", "A 1: B 2.", "right"],
        ),
        ("<tr><th colspan=x rowspan=0>A<th colspan=-1>B<tr><td>1<td>2", ["A 1: B 2."]),
    ],
)
def test_tables_of_html(table: str, told: list[str]) -> None:
    assert told_in_html(table) == told


@pytest.mark.parametrize(
    "page",
    [
        "<table><tr><td>" * 200 + "<table><tr><th>a</table>" * 5000 + "</table>" * 200,
        "<table><tr>" + "<th rowspan=99999 colspan=99999>ab" * 60 + "<tr><td>x" * 10000,
        "<table><tr><th>a<th>b" + "<tr><td rowspan=65534>" + "x" * 90 + "<td>y" + "<tr>" * 9000,
        f"<table><tr><th>a<th>{'n' * 200_000}" + "<tr><td>x<td>y" * 9000,
        f"<table><tr><th>a<tr><td rowspan=9>{'x' * 200_000}<td>1" + "<tr><td>2" * 9000,
    ],
)
def test_tables_made_to_be_large_stay_small(page: str) -> None:
    start = time.process_time()
    _, text = extract(page)
    assert time.process_time() - start < 5
    assert len(text) < 10 * len(page)


def word(rows: list[list[str]], properties: str = "") -> bytes:
    told = "".join(
        f"<w:tr>{properties if not i else ''}"
        + "".join(cell if cell.startswith("<w:tc>") else word_cell(cell) for cell in row)
        + "</w:tr>"
        for i, row in enumerate(rows)
    )
    return fakes.docx(f"<w:tbl>{told}</w:tbl>{fakes.paragraph('tbl')}")


def word_cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{fakes.paragraph(text)}</w:tc>"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (word([HEAD, *ROWS]), TOLD),
        (word([["Capital", "Ulm"], ["Area", "118 km²"]]), ["Capital: Ulm.", "Area: 118 km²."]),
        (word([["A", "B"], ["1", "2"]], "<w:trPr><w:tblHeader/></w:trPr>"), ["A 1: B 2."]),
        (
            word([["A", "B"], ["1", "2"]], '<w:trPr><w:tblHeader w:val="0"/></w:trPr>'),
            ["A: B.", "1: 2."],
        ),
        (
            word([["Rope", "10 m", "9 €"], ["Bag", "20 l", "8 €"]]),
            ["Rope: 10 m, 9 €.", "Bag: 20 l, 8 €."],
        ),
        (
            word(
                [
                    HEAD,
                    [word_cell("Rope", '<w:vMerge w:val="restart"/>'), "5 m", "5 €"],
                    [word_cell("", "<w:vMerge/>"), "10 m", "9 €"],
                    [word_cell("Bag", '<w:gridSpan w:val="2"/>'), "8 €"],
                    ["x" * 101, "1 m", "1 €"],
                    [word_cell("", "<w:vMerge/>"), "2 m", "2 €"],
                ]
            ),
            [
                "Article Rope: Size 5 m, Price 5 €.",
                "Article Rope: Size 10 m, Price 9 €.",
                "Article Bag: Price 8 €.",
                f"Article {'x' * 101}: Size 1 m, Price 1 €.",
                "Size 2 m: Price 2 €.",
            ],
        ),
        (
            word(
                [
                    [
                        "A",
                        f"<w:tc><w:tbl><w:tr>{word_cell('x')}{word_cell('y')}</w:tr></w:tbl></w:tc>",
                    ]
                ]
            ),
            ["A: x y."],
        ),
    ],
)
def test_tables_of_a_word_document(tmp_path: Path, content: bytes, told: list[str]) -> None:
    assert text_of(tmp_path / "a.docx", content).split("\n") == [*told, "tbl"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "Article,Size,Price\nRope,10 m,9.50 €\nDry bag,,18 €\n"),
        ("a.csv", '"Article";Size;"Price"\r\nRope;"10\r\nm";9.50 €\r\n;;\r\nDry bag;;18 €'),
        ("a.tsv", "Article\tSize\tPrice\nRope\t10 m\t9.50 €\nDry bag\t\t18 €\n"),
    ],
)
def test_rows_of_a_csv_file(tmp_path: Path, name: str, content: str) -> None:
    assert text_of(tmp_path / name, content.encode()).split("\n") == TOLD


@pytest.mark.parametrize("last", ['"' + "x\n" * 600_000, "x" * 1_100_000])
def test_a_csv_file_that_is_none_is_told(tmp_path: Path, last: str) -> None:
    """A quotation mark that is not closed, and a line without an end."""
    (tmp_path / "a.csv").write_text(f"a,b\n1,2\n{last}")
    kept, reason = read_documents([tmp_path / "a.csv"])
    assert isinstance(reason, Skipped)
    assert "no CSV" in reason.reason
    assert isinstance(kept, Document)
    assert kept.text == "a 1: b 2."
