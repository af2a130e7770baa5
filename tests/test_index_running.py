"""What stands above and below pages is no text, and neither is a table of contents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ingest_fakes as fakes
import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index import plain
from index.running import bodies, unpaged, without_contents
from index.sources import Document, Skipped, read_documents

TEXT = [["one a", "b"], ["two a", "b c"], ["three a", "d"], ["four a", "e"], ["five a", "f"]]
"""The text of five pages."""
TEXT_WORDS = ("ox", "ass", "ram", "cow", "hen", "cat")
LONG = "This is a line of the text that the page is made of, word by word by word"


def between(above: Sequence[Sequence[str]], below: Sequence[Sequence[str]] = ()) -> list[list[str]]:
    below = below or [()] * len(above)
    rows = zip(above, TEXT, below, strict=False)
    return [*map(list, bodies([[*head, *text, *foot] for head, text, foot in rows]))]


@pytest.mark.parametrize(
    "running",
    [
        ["Chapter 5: Arrays 24", "Chapter 5: Arrays 25", "Chapter 6: Lists 26"],
        ["8 Chapter 2. The Archive", "2.3. Copyright 9", "10 Chapter 2. The Archive"],
        ["Page 1 of 9", "Page 2 of 9", "Page 3 of 9"],
        ["iii", "iv", "v"],
        ["- 7 -", "- 8 -", "- 9 -"],
        ["Zoo 2024 [Page 8]", "Zoo 2024 [Page 9]", "Zoo 2024 [Page 10]"],
        ["Zoo", "3", "Zoo", "5", "Zoo"],
    ],
)
def test_the_number_of_a_page_and_what_is_beside_it_is_no_text(running: list[str]) -> None:
    count = len(running)
    lines = [(line,) for line in running]
    first = [[]] if running[0] != "Zoo" else [["Zoo"]]
    assert between(lines) == [[*head, *text] for head, text in zip(first, TEXT, strict=False)] + [
        *TEXT[1:count]
    ]
    if running[0] != "Zoo":
        assert between([()] * count, lines) == TEXT[:count]
        both = [(line, "Brisa Duo") for line in running]
        assert between(both, lines)[1:] == TEXT[1:count]


def test_two_pages_are_enough_for_a_page_number_alone() -> None:
    assert between([()] * 2, [("Page 1 of 2",), ("Page 2 of 2",)]) == TEXT[:2]
    assert between([("Day 1",), ("Day 2",)]) == [["Day 1", *TEXT[0]], ["Day 2", *TEXT[1]]]


def test_what_is_above_every_page_without_a_number_stays_where_it_comes_first() -> None:
    assert between([("Handbook",)] * 5) == [["Handbook", *TEXT[0]], *TEXT[1:]]


@pytest.mark.parametrize(
    "lines",
    [
        ["Section 3", "Section 9", "Section 2"],
        ["Total 24.5", "Total 25.5", "Total 26.5"],
        ["}", "}", "}"],
        ["x" * 121 + " 1", "x" * 121 + " 2", "x" * 121 + " 3"],
    ],
)
def test_other_lines_stay(lines: list[str]) -> None:
    told = [[line, *text] for line, text in zip(lines, TEXT, strict=False)]
    assert between([(line,) for line in lines]) == told


@given(st.lists(st.integers(0, 6), max_size=12), st.booleans())
def test_nothing_else_is_lost(sizes: list[int], numbered: bool) -> None:
    """Pages of any length whose lines are all different."""
    pages = [[f"{'abcdefghijkl'[p]} {'xyzuvw'[n]}" for n in range(k)] for p, k in enumerate(sizes)]
    assert [*map(list, bodies(pages))] == pages
    if numbered and len(pages) > 2:
        paged = [[*page, f"Zoo {n}"] for n, page in enumerate(pages)]
        assert [list(b) for b, page in zip(bodies(paged), pages, strict=True) if page] == [
            page for page in pages if page
        ]


ENTRIES = [f"{n}. Legs of the camel {'. ' * 20}{n + 3}" for n in range(1, 10)]


def test_a_table_of_contents_is_no_text() -> None:
    lines = ["Zoo", *ENTRIES[:5], "", "2 Camels 9", *ENTRIES[6:], "A camel.", "It ate 9"]
    assert ["Zoo", *lines[-2:]] == [
        line for line, kept in zip(lines, without_contents(lines), strict=True) if kept and line
    ]
    few = ["Table of Contents", "Preface . . . . . . i", "1 Legs", "Feet ........ 4"]
    assert without_contents(few) == [True, True, True, True]
    few[2] = "1 Legs 3"
    assert without_contents(few) == [True, False, False, False]


def test_prices_are_text() -> None:
    prices = [f"Espresso {n} .......... {n % 4 + 2}" for n in range(9)]
    assert all(without_contents(prices))
    assert all(without_contents(sorted(prices, key=lambda line: line[-1])[:7]))


def test_plain_text_on_pages_is_whole() -> None:
    """As RFCs are written."""
    pages = [
        f"RFC 9999                 The Camel Protocol                 June 2024\n\n{number}. Part"
        f"\n\n   A camel of part {number} asks for water, and it waits until the\n\n\n"
        f"Ann & Ben                  Standards Track                   [Page {number}]\n"
        for number in (2, 3, 4, 6, 7)
    ]
    pages[3:3] = [
        "   well has answered, which takes a day or two or\n   three. Then it goes.\n\n[Page 5]\n"
    ]
    told = "".join(plain.extract(["\f\n".join(pages)]))
    assert told.count("RFC 9999") == 1  # it may be a title
    assert "Page" not in told
    assert "Standards Track" not in told
    assert "until the well has answered, which takes a day or two or three. Then it goes." in told


def test_text_without_form_feeds_is_left_as_it_is() -> None:
    pieces = ["a 1\n", "b\n\n\n", " c 2\n"]
    assert [*unpaged(pieces)] == pieces
    assert "".join(unpaged(["a\f", "\f\n\n b\n", "c"])) == "a\n b\nc"
    assert "".join(unpaged(["a\f" + "word\n" * 20_000])).count("word") == 20_000


def read(path: Path, pages: Sequence[Sequence[str | fakes.Line]]) -> Document:
    path.write_bytes(fakes.pdf(pages, "Zoo"))
    [document] = [item for item in read_documents([path]) if isinstance(item, Document)]
    return document


def test_a_sentence_of_a_pdf_goes_on_over_pages(tmp_path: Path) -> None:
    pages = [
        ["Camels 1", LONG, f"{LONG} by night"],
        ["Camels 2", "Nile, where it ends. " + LONG, f"{LONG} by an ex-"],
        ["Camels 3", "ample. A second", LONG],
        [fakes.Line("Feet", 18), LONG, fakes.Line("1 They are two, by the", 9)],
        ["nile, " + LONG, LONG],
    ]
    text = read(tmp_path / "a.pdf", pages).text
    assert "Camels" not in text
    assert "word by night Nile, where it ends." not in text  # a capital may begin anything
    assert f"{LONG} by an example. A second" in text
    assert "two, by the\n\nnile" in text
    pages[1][1] = "nile, where it ends. " + LONG
    assert "word by night nile, where it ends." in read(tmp_path / "b.pdf", pages).text


def test_the_pages_of_a_pdf_are_known(tmp_path: Path) -> None:
    words = ["camel", "", "nile", "feet", "toes", "end"]
    pages: list[list[str | fakes.Line]] = [
        ["Zoo 1", f"A camel. {LONG}", f"{LONG} by ex-"],
        [],
        ["ample nile, " + LONG, LONG],
        [fakes.Line("Feet", 18), f"of feet. {LONG}", LONG],
        [fakes.Line("Toes", 18), fakes.Line("Two", 16), f"of toes. {LONG}"],
        [f"The end. {LONG}"],
    ]
    document = read(tmp_path / "a.pdf", pages)
    assert "by example nile" in document.text
    told = [document.page_at(document.text.index(word)) for word in words if word]
    assert told == [1, 3, 4, 5, 6]
    starts = [document.text[start:][:4] for start in document.pages]
    assert starts == ["Zoo ", "ampl", "ampl", "Feet", "Toes", "The "]
    assert document.page_at(0) == 1
    assert [section.name for section in document.sections] == ["Feet", "Toes › Two"]


def test_pages_of_a_long_pdf_are_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.documents.DOCUMENT_CHARACTERS", 300)
    pages = [[f"Page of {word}.", f"{LONG}. {word.title()}.", LONG] for word in TEXT_WORDS]
    (tmp_path / "a.pdf").write_bytes(fakes.pdf(pages))
    parts = [item for item in read_documents([tmp_path / "a.pdf"]) if isinstance(item, Document)]
    assert len(parts) > 2
    for number, word in enumerate(TEXT_WORDS, 1):
        [(part, at)] = [(d, d.text.index(f"of {word}")) for d in parts if f"of {word}" in d.text]
        assert part.page_at(at) == number


def test_type_is_known_where_text_lies_outside_a_page(tmp_path: Path) -> None:
    outside = f"{LONG}) Tj 1 0 0 1 2000 600 Tm (outside) Tj 1 0 0 1 72 400 Tm ("
    page = [fakes.Line("Legs", 18), LONG, outside, fakes.Line("Feet", 18), LONG, "End."]
    document = read(tmp_path / "a.pdf", [page])
    assert "outside" not in document.text
    assert [section.name for section in document.sections] == ["Legs", "Feet"]


def test_a_broken_page_ends_a_pdf_behind_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(pypdfium2.PdfDocument):  # type: ignore[misc]
        def __getitem__(self, number: int) -> object:
            if number == 4:
                raise pypdfium2.PdfiumError("no page")
            return super().__getitem__(number)

    monkeypatch.setattr(pypdfium2, "PdfDocument", Broken)
    words = ("ox", "ass", "ram", "cow", "hen", "cat")
    (tmp_path / "a.pdf").write_bytes(fakes.pdf([[f"Page of {word}."] for word in words]))
    document, skipped = read_documents([tmp_path / "a.pdf"])
    assert isinstance(document, Document)
    assert isinstance(skipped, Skipped)
    assert document.text.split("\n\n") == [f"Page of {word}." for word in words[:4]]
    assert skipped.reason == "broken PDF: no page"
