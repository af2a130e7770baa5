"""Headings of plain text, told by how they stand there."""

from __future__ import annotations

import time
from pathlib import Path
from textwrap import fill

import pytest

from index import plain
from index.sections import MARK, Outline
from index.sources import Document, read_documents

BODY = fill("The tank holds two litres and is lifted off at the back; rinse it every day. " * 3, 60)


def headings(text: str) -> list[tuple[int, str]]:
    lines = "".join(plain.extract([text])).split("\n")
    return [(int(line[1]), line[2:]) for line in lines if line.startswith(MARK)]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("Brisa Duo\n=========", 1),
        ("Brisa Duo\n---------", 2),
        ("Brisa Duo\n~~~~~~~~", 3),  # nearly as long
        ("===========\n Brisa Duo\n===========", 1),
        ("1. Cleaning", 2),
        ("  3.2. Cleaning the unit", 3),
        ("3.2 Cleaning", 3),
        ("B.1.4 Cleaning", 4),
        ("2) Cleaning", 2),
        ("CLEANING THE UNIT", 1),
        ("Chapter 3: The unit", 1),
        ("Chapter IV", 1),
        ("Article IV", 2),
        ("Amendment XIX", 2),
        ("Section 2", 3),
        ("§ 5 Liability", 3),
        ("Cleaning and care", 6),
        ("Cleaning:", 6),
    ],
)
def test_a_heading_before_a_paragraph(line: str, level: int) -> None:
    words = next(part.strip() for part in line.split("\n") if any(map(str.isalpha, part)))
    assert headings(f"{BODY}\n\n{line}\n\n{BODY}\n") == [(level, words.removesuffix(":"))]
    assert headings(f"{line}\n\n{BODY}") == [(level, words.removesuffix(":"))]
    assert headings(f"{BODY}\n{line.split(chr(10))[0]}\n{BODY}") == []  # within a paragraph


@pytest.mark.parametrize(
    "text",
    [
        f"{BODY}\n\nEnd",
        "1. Fill the tank\n\n2. Press the key\n\n3. Wait",
        "1. Fill the tank, which is lifted\n   off at the back\n2. Press",
        f"1. Fill the tank.\n\n{BODY}",
        f"This is all there is to say.\n\n{BODY}",
        f"3. To ask. “Lunch? I ask for one.”\n\n{BODY}",
        f'Then: "Indeed."\n\n{BODY}',
        f"Dear Ms Smith,\n\n{BODY}",
        f"a line in lower case\n\n{BODY}",
        f"To clean it, type:\n\nCleaning mode\n\n{BODY}",
        "Oats\n\nMilk\n\nHoney",
        f"Oats\n\nSALT\n\nMilk\n\nE. Honey\n\nan egg\n\nWATER\n\nand sugar\n\n{BODY}",
        f"WARNING: HOT\n\n{BODY}",
        f"Note\n\n{BODY}",
        "第一天的天气很好\nBrisa Duo",
        "ALL OF THIS IS SAID\nIN CAPITALS AND GOES\nON FOR LINES",
        f"Chapter three tells more\nof it\n\n{BODY}",
        f"1. Introduction . . . . . 3\n\n{BODY}",
        f"Name      Size\n\n{BODY}",
        f"{'-' * 20}\n\n{BODY}",
        f"Some words above a line\n---\n{BODY}",
        f"You need all of the following things:\n\n{BODY}",
        "",
        "\n\n\n",
    ],
)
def test_no_heading(text: str) -> None:
    assert headings(text) == []
    assert "".join(plain.extract([text])).split() == text.split()


def test_capitals_and_numbers_may_stand_right_above_their_text() -> None:
    text = "OPENING HOURS\nMonday to Friday, 8 to 18.\n\n 2. Warranty\n      Three years for all."
    assert headings(text) == [(1, "OPENING HOURS"), (2, "2. Warranty")]


def test_the_last_line_of_a_list_may_head_what_follows() -> None:
    oats = "Oats\n\nSALT\n\nMilk\n\nE. Honey\n\nan egg\n\nWATER"
    assert headings(f"{oats}\n\n{BODY}") == [(1, "WATER")]
    assert headings(f"{oats[:4]}\n\n{BODY}") == [(6, "Oats")]


def test_what_underlines_a_heading_goes_and_all_else_stays() -> None:
    text = f"Brisa Duo\n=========\n{BODY}\n\n------\n\nWarranty\n--------\n\nThree years."
    told, sections = Outline("Manual").read("".join(plain.extract([text])))
    assert told.split() == text.replace("\n=========", "").replace("\n--------", "").split()
    assert [section.name for section in sections] == ["Brisa Duo", "Brisa Duo › Warranty"]


@pytest.mark.parametrize("held", [400, 1500, 1 << 16])
def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    lines = ["Brisa Duo\n=========", "1. Cleaning", "Care of it", "USE", "Oats", "a\nb"]
    text = "\n\n".join(f"{line}\n\n{BODY}" for line in lines * 5)
    whole = "".join(plain.extract([text]))
    assert len(headings(text)) == 25
    monkeypatch.setattr("index.plain.HELD", held)
    for size in (len(BODY) * 4, len(BODY) * 9):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        assert "".join(plain.extract(pieces)) == whole


def test_nothing_is_lost_where_no_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.plain.HELD", 10)
    pieces = ["Lots of words ", "in one long line ", "and on\nthen Another\n\none", "\n\nBut Last"]
    assert "".join(plain.extract(pieces)) == "".join(pieces)


def test_a_mark_in_the_text_is_none() -> None:
    assert headings(f"{MARK}1Title\n\nand text.") == []


@pytest.mark.parametrize(
    "text", ["A\n\n", "\n", "A:\n", "A\n-\n", "---\n", "1. A\n\n", " ", "\t", "1.", "A\n\nb.\n\n"]
)
def test_no_text_takes_for_ever(text: str) -> None:
    start = time.process_time()
    "".join(plain.extract([text * 100_000] * 2))
    assert time.process_time() - start < 20


def test_files_without_an_ending_are_plain_text_if_they_are_text(tmp_path: Path) -> None:
    (tmp_path / "README").write_text(f"Use\n---\n\n{BODY}")
    (tmp_path / "program").write_bytes(b"\x7fELF\0\0\1\2" * 99)
    binary, readme = sorted(read_documents([tmp_path]), key=lambda item: item.source, reverse=True)
    assert isinstance(readme, Document)
    assert (readme.id, readme.title, readme.title_at(0)) == ("README", "README", "README › Use")
    assert not isinstance(binary, Document)
    assert binary.reason == "binary, not text"
