"""Tables of a page are told by where words and rules stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ingest_fakes as fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.columns import Rule, Rules, Word, tables
from index.sources import Document, read_documents

NONE = Rules([], [])
LEFTS = (0.0, 100.0, 200.0, 300.0)
"""Where columns begin; letters are six points wide, lines 12 high and 14 apart."""
STAFF = [["Name", "Room", "Atomic number"], ["Maria", "B 204", "31"], ["Jo", "A 017", "4"]]


def page(
    rows: Sequence[Sequence[str]], *, by_column: bool = False, lefts: Sequence[float] = LEFTS
) -> list[Word]:
    """Words of cells, whose lines end with a line end, written row by row and cell by cell, or
    column by column; the next row begins below all lines of one."""
    places: dict[tuple[int, int], float] = {}
    top = 0.0
    for r, row in enumerate(rows):
        places |= {(r, c): top for c in range(len(row))}
        top -= 14 * max(cell.count("\n") + 1 for cell in row)
    order = sorted(places, key=lambda place: place[::-1] if by_column else place)
    words, at = [], 0
    for r, c in order:
        for line, said in enumerate(rows[r][c].split("\n")):
            left, y = lefts[c], places[r, c] - 14 * line
            for word in said.split(" "):
                if word:
                    right = left + 6 * len(word)
                    words.append(Word(word, at, at + len(word), left, right, y - 12, y))
                    at += len(word) + 1
                left += 6 * (len(word) + 1)
    return words


def grid(rows: Sequence[Sequence[str]], columns: int) -> Rules:
    heights = [1.0]
    for row in rows:
        heights.append(heights[-1] - 14 * max(cell.count("\n") + 1 for cell in row))
    level = [Rule(y, -4.0, 100.0 * columns - 6) for y in heights]
    return Rules(level, [Rule(100.0 * c - 5, heights[-1], 1.0) for c in range(columns + 1)])


def test_columns_that_nothing_but_space_parts() -> None:
    [table] = tables(page(STAFF), NONE)
    assert table.cells == STAFF
    assert (table.start, table.end) == (0, page(STAFF)[-1].end)
    assert not table.ruled


def test_narrow_columns_are_parted_where_each_row_begins_in_one_place() -> None:
    rows = [["Name", "Room", "No"], ["Maria", "B 204", "3"], ["Joe", "A 017", "4"]]
    [table] = tables(page(rows, lefts=(0, 60, 93)), NONE)
    assert table.cells == rows


def test_names_without_a_wide_gap_between_them() -> None:
    rows = [["Name", "Atomic number", "Room"], ["Jo", "31", "4"], ["Maria", "4", "12"]]
    [table] = tables(page(rows, lefts=(0, 33, 120)), NONE)
    assert table.cells == rows


def test_second_words_that_stand_where_others_have_none() -> None:
    rows = [["Name", "Role", "Room"], ["Maria", "nurse", "1"], ["Jonas Weber", "cook", "2"]]
    rows += [["Ann", "cook\nand nurse", "3"], ["Lindholmgren", "nurse", "4"]]
    [table] = tables(page(rows), NONE)
    assert table.cells == [[cell.replace("\n", " ") for cell in row] for row in rows]


def test_a_line_goes_on_with_the_one_above_it() -> None:
    rows = [["Option", "Meaning", "Since"], ["idle", "how long\nit waits", "2"], ["log", "it", "3"]]
    last = [["Option", "Since", "Meaning"], ["idle", "2", "how long\nit waits"], ["log", "3", "it"]]
    for told in (rows, last):
        [table] = tables(page(told), NONE)
        assert table.cells == [[cell.replace("\n", " ") for cell in row] for row in told]


def test_text_around_a_table_is_none_of_it() -> None:
    text = "This is a line of text that goes from the left margin to the right one"
    [table] = tables(page([[text], *STAFF, [text], [text]]), NONE)
    assert table.cells == STAFF
    [first, second] = tables(page([*STAFF, [text], [text], *STAFF]), NONE)
    assert first.cells == second.cells == STAFF
    assert first.end < second.start


@pytest.mark.parametrize(
    "words",
    [
        page(STAFF[:2]),
        page([[f"line {n} of a column", f"and {n} of the next"] for n in range(9)], by_column=True),
        page([["This is text of one column"]] * 5),
        [word for n, word in enumerate(page([["a", "b"]] * 8)) if n % 5],
        [],
    ],
)
def test_no_table(words: list[Word]) -> None:
    found = tables(words, NONE)
    assert all(len(table.rows) > 2 for table in found)
    assert [table for table in found if len(table.rows) == len({w.top for w in words})] == []


def test_other_words_that_are_written_among_those_of_a_table() -> None:
    words = page(STAFF)
    far = Word("note", words[3].end, words[3].end + 1, 0, 24, -500, -488)
    assert tables([*words, far], NONE) == []


@given(st.lists(st.lists(st.text("ab \n", max_size=9), min_size=3, max_size=3), min_size=2))
def test_cells_between_rules_are_what_was_written(rows: list[list[str]]) -> None:
    said = [[" ".join(cell.split()) for cell in row] for row in rows]
    found = tables(page(rows), grid(rows, 3))
    if sum(sum(map(bool, row)) > 1 for row in said) > 1:
        assert [table.cells for table in found] == [[row for row in said if any(row)]]
        assert found[0].ruled


def test_rows_that_no_rule_parts() -> None:
    """Rules only around a table and below its first row, as they are set in books."""
    rules = grid(STAFF, 3)
    [table] = tables(page(STAFF), rules._replace(level=[*rules.level[:2], rules.level[-1]]))
    assert table.cells == STAFF
    rows = [STAFF[0], ["Maria\nand Jo", "B 204\nor A", "31\n4"], STAFF[2]]
    [table] = tables(page(rows), grid(rows, 3))
    assert table.cells == [[cell.replace("\n", " ") for cell in row] for row in rows]


def test_rules_in_pieces_and_two_grids() -> None:
    rules = grid(STAFF, 3)
    pieces = [
        Rule(rule.at + 0.4 * n, rule.begin + n * 14, rule.begin + n * 14 + 13)
        for rule in rules.upright
        for n in range(3)
    ]
    assert tables(page(STAFF), Rules(rules.level, pieces))[0].cells == STAFF
    lower = [
        Word(*w[:1], w.start + 99, w.end + 99, *w[3:5], w[5] - 99, w[6] - 99) for w in page(STAFF)
    ]
    both = Rules(
        [*rules.level, *(Rule(r.at - 99, r.begin, r.end) for r in rules.level)],
        [*rules.upright, *(Rule(r.at, r.begin - 99, r.end - 99) for r in rules.upright)],
    )
    assert [t.cells for t in tables([*page(STAFF), *lower], both)] == [STAFF, STAFF]


def test_rules_part_rows_where_no_rule_parts_columns() -> None:
    rows = [["Name", "Room", "Since"], ["", "B", "2"], ["Maria", "", ""], ["Jo", "A", "4"]]
    level = [Rule(y, 0, 300) for y in (-13.0, -41.0)]
    [table] = tables(page(rows), Rules(level, []))
    assert table.cells == [rows[0], ["Maria", "B", "2"], rows[3]]


def read(path: Path, pages: Sequence[Sequence[str | fakes.Line | fakes.Cells]], **how: str) -> str:
    path.write_bytes(fakes.pdf(pages, **how))
    [document] = [item for item in read_documents([path]) if isinstance(item, Document)]
    return document.text


LINE = "This is a line of the text that the page is made of, word by word."


def test_rows_of_a_pdf_are_told_with_the_names_of_their_columns(tmp_path: Path) -> None:
    rows = [fakes.Cells(["Name", "Role", "Room"]), fakes.Cells(["Ann", "nurse", "B 2"])]
    rows += [fakes.Cells(["Ben", "cook", "A 17"])]
    assert read(tmp_path / "a.pdf", [[LINE, *rows, LINE]]).split("\n") == [
        LINE,
        "Name Ann: Role nurse, Room B 2.",
        "Name Ben: Role cook, Room A 17.",
        LINE,
    ]
    rows[0] = fakes.Cells(["No. 1", "Role", "Room"])  # a guess: left as it stands
    assert "Ann nurse B 2\n" in read(tmp_path / "b.pdf", [[LINE, *rows, LINE]])
    rows[0] = rows[0]._replace(bold=True)
    assert "No. 1 Ann: Role nurse, Room B 2." in read(tmp_path / "c.pdf", [[LINE, *rows, LINE]])
    for first in (["set x", "#", "what it is"], ["set", "set", "x"], ["a", "so it is.", "b"]):
        code = [fakes.Cells(first), *rows[1:]]
        assert "Ann nurse B 2\n" in read(tmp_path / "e.pdf", [[LINE, *code, LINE]])
    code = [fakes.Cells(["call[a,", "second,", "third"])] * 4
    assert "call[a, second, third\n" in read(tmp_path / "d.pdf", [[LINE, *code]])


def test_a_table_of_a_pdf_goes_on_in_the_next_page(tmp_path: Path) -> None:
    head = fakes.Cells(["Name", "Role", "Room"])
    rows = [fakes.Cells([f"Ann{n}", "nurse", "west"]) for n in "abcdefgh"]
    pages = [[LINE, head, *rows[:3], "Zoo 1"], ["Zoo", *rows[3:6], LINE], [LINE] * 5 + rows]
    pages[1].insert(1, head)
    told = read(tmp_path / "a.pdf", pages)
    assert told.count("Name Ann") == 3 + 3
    assert told.count("Name Role Room") == 0
    assert told.count("Anna nurse west: ") == 0
    pages[1].remove(head)
    again = read(tmp_path / "b.pdf", pages)
    assert [f"Name Ann{n}: Role nurse, Room west." in again for n in "abcdef"] == [True] * 6


def test_cells_of_a_pdf_between_rules(tmp_path: Path) -> None:
    lefts = (60, 150, 240)
    rows = [fakes.Cells(["Width", "3 cm"], (66, 156)), fakes.Cells(["Weight", "2 kg"], (66, 156))]
    drawn = fakes.rules(lefts, (1, 2, 3))
    text = read(tmp_path / "a.pdf", [[LINE, *rows, LINE]], drawn=drawn)
    assert text.split("\n") == [LINE, "Width: 3 cm.", "Weight: 2 kg.", LINE]
    caption = fakes.Cells(["Sizes"], (66,))
    head = fakes.Cells(["Of", "Is"], (66, 156), bold=True)
    drawn = fakes.rules(lefts, (1, 2, 3, 4, 5))
    text = read(tmp_path / "b.pdf", [[LINE, caption, head, *rows, LINE]], drawn=drawn)
    assert text.split("\n") == [LINE, "Sizes", "Of Width: Is 3 cm.", "Of Weight: Is 2 kg.", LINE]


@pytest.mark.parametrize(("count", "mark"), [(9, " in boxes"), (3, ": in boxes")])
def test_text_in_boxes_stays_as_it_is(tmp_path: Path, count: int, mark: str) -> None:
    """Written one box after the other, in lines that are too many for a cell, or not."""
    heights = [720 - 26 * n for n in range(1, count + 1)]
    lines = [f"1 0 0 1 66 {y} Tm (Words of a text, {n} lines) Tj" for n, y in enumerate(heights)]
    box = " ".join(lines).removeprefix("1 0 0 1 66 694 Tm (").removesuffix(") Tj")
    rows = [fakes.Cells([box, "in boxes"], (66, 356)), *[""] * (count - 1)]
    rows.append(fakes.Cells(["One", "two"], (66, 356)))
    drawn = fakes.rules((60, 350, 640), (1, count + 1, count + 2))
    text = read(tmp_path / "a.pdf", [[LINE, *rows, LINE]], drawn=drawn)
    assert f"{count - 1} lines{mark}" in text.replace("\n", " ")


def test_what_stands_beside_a_table_stays(tmp_path: Path) -> None:
    rows = [fakes.Cells(["Width", "3 cm"], (66, 156))]
    rows.append(fakes.Cells(["Weight", "2 kg", "as it was weighed"], (66, 156, 400)))
    drawn = fakes.rules((60, 150, 240), (1, 2, 3))
    text = read(tmp_path / "a.pdf", [[LINE, *rows, LINE]], drawn=drawn)
    assert "Weight 2 kg as it was weighed\n" in text


def test_headings_are_known_in_a_pdf_of_tables(tmp_path: Path) -> None:
    rows = [fakes.Cells([f"Ann{n}", "nurse " * 9, "west " * 9], (72, 200, 600)) for n in "abcdefgh"]
    pages = [[fakes.Line("Staff", 18), LINE, fakes.Cells(["Name", "Role", "Room"]), *rows]]
    (tmp_path / "a.pdf").write_bytes(fakes.pdf(pages))
    [document] = read_documents([tmp_path / "a.pdf"])
    assert isinstance(document, Document)
    assert [section.name for section in document.sections] == ["Staff"]
