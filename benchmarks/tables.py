"""How well facts of tables are found, by the way in which a row is told.

    python benchmarks/tables.py

Five small tables are written as Markdown, HTML and CSV, whose rows are indexed as sentences
(``index.tables``), as PDF by Chromium, narrow with rules and without any, and as plain text: rows
with bars, as they stand in Markdown, columns parted by blanks, and a line for each cell, as HTML's
text gives it.
Asked are 47 questions that a cell answers and 14 that none does. Printed is, for each form, how
many were answered rightly, wrongly, and though there is no answer. The tables and questions were
made up for this. Some two minutes a form on one core; for PDF it needs ``chromium``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from asked import Counts, counts, print_forms, print_pdf

Cells = Sequence[Sequence[str]]


class Table(NamedTuple):
    """``rows``: the first one names the columns. ``questions``: what is asked for in a column."""

    title: str
    rows: str
    questions: dict[int, str]

    @property
    def cells(self) -> list[list[str]]:
        return [line.strip().split(" | ") for line in self.rows.strip().splitlines()]


TABLES = (
    Table(
        "Elements of the lab",
        """
        Element | Symbol | Atomic number | Melting point | Discovered by
        Gallium | Ga | 31 | 29.8 °C | Lecoq de Boisbaudran
        Indium | In | 49 | 156.6 °C | Ferdinand Reich
        Hafnium | Hf | 72 | 2,233 °C | Dirk Coster
        Cerium | Ce | 58 | 795 °C | Jöns Berzelius
        Iridium | Ir | 77 | 2,446 °C | Smithson Tennant
        Yttrium | Y | 39 | 1,526 °C | Johan Gadolin
        """,
        {
            1: "What is the symbol of {}?",
            2: "What is the atomic number of {}?",
            3: "At what temperature does {} melt?",
            4: "Who discovered {}?",
        },
    ),
    Table(
        "Staff directory",
        """
        Name | Role | Room | Phone | Since
        Maria Lindholm | accountant | B 204 | 4411 | 2015
        Jonas Weber | network engineer | A 017 | 4390 | 2019
        Priya Nair | head of sales | C 310 | 4502 | 2011
        Oleg Baran | caretaker | A 001 | 4300 | 1998
        Ines Duarte | lawyer | C 122 | 4518 | 2021
        """,
        {
            1: "What is the role of {}?",
            2: "In which room is {}?",
            3: "What is {}'s phone number?",
            4: "Since when has {} been with us?",
        },
    ),
    Table(
        "Departures from platform hall",
        """
        Train | Destination | Departure | Platform | Operator
        RE 5 | Lindau | 07:12 | 3 | DB Regio
        IC 1268 | Stuttgart | 07:40 | 1 | DB Fernverkehr
        RB 59 | Sigmaringen | 08:05 | 5 | SWEG
        EC 113 | Klagenfurt | 08:31 | 2 | ÖBB
        IRE 3 | Basel | 09:02 | 4 | DB Regio
        """,
        {
            1: "Where does train {} go?",
            2: "When does {} depart?",
            3: "From which platform does {} leave?",
            4: "Who operates {}?",
        },
    ),
    Table(
        "Settings of the server",
        """
        Option | Default | Meaning
        max_connections | 64 | how many clients may be connected at once
        idle_timeout | 300 s | after how long a silent client is disconnected
        log_level | warning | the least severe message that is written to the log
        cache_size | 512 MB | memory that is kept for answers
        bind_address | 127.0.0.1 | the address on which the server listens
        """,
        {1: "What is the default of {}?", 2: "What does {} mean?"},
    ),
    Table(
        "Rivers of the province",
        """
        River | Length | Source | Mouth | Largest tributary
        Iller | 147 km | Oberstdorf | Danube | Breitach
        Lauchert | 56 km | Melchingen | Danube | Fehla
        Rems | 78 km | Essingen | Neckar | Wieslauf
        Argen | 78 km | Isny | Lake Constance | Eschach
        Kocher | 169 km | Unterkochen | Neckar | Bühler
        """,
        {
            1: "How long is the {}?",
            2: "Where does the {} rise?",
            3: "Into what does the {} flow?",
            4: "What is the largest tributary of the {}?",
        },
    ),
)

ABSENT = (
    "What is the symbol of Rhodium?",
    "Who discovered Scandium?",
    "In which room is Peter Falk?",
    "What is Anna Kern's phone number?",
    "When does RE 9 depart?",
    "From which platform does ICE 597 leave?",
    "What is the default of retry_count?",
    "What does max_users mean?",
    "How long is the Brenz?",
    "Where does the Jagst rise?",
    "What is the birthday of Oleg Baran?",
    "How wide is the Kocher?",
    "What is the density of Hafnium?",
    "How many seats has IC 1268?",
)


def _bars(rows: Cells) -> str:
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *others])


def _cells(rows: Cells) -> str:
    return "\n".join(cell for row in rows for cell in row)


def _columns(rows: Cells) -> str:
    widths = [max(map(len, cells)) + 2 for cells in zip(*rows, strict=True)]
    return "\n".join("".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _html(rows: Cells) -> str:
    tags = ["th"] + ["td"] * (len(rows) - 1)
    told = (
        "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in row) + "</tr>"
        for tag, row in zip(tags, rows, strict=True)
    )
    return f"<table>{''.join(told)}</table>"


def _csv(rows: Cells) -> str:
    return "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows)


PDF = (
    "<meta charset=utf-8><style>{style}</style><title>{{title}}</title><h1>{{title}}</h1>{{table}}"
)
RULED = (
    "table {{border-collapse: collapse; width: 26em}} td, th {{border: 1px solid; padding: 3px}}"
)
BARE = "td, th {{padding: 2px 6px; text-align: left; font-weight: normal}}"
"""Tables of a PDF: narrow and with rules around its cells, or with nothing but space between."""

FORMS: dict[str, tuple[str, str, Callable[[Cells], str]]] = {
    "rows with bars": ("txt", "{title}\n\n{table}\n", _bars),
    "a line for each cell": ("txt", "{title}\n\n{table}\n", _cells),
    "columns": ("txt", "{title}\n\n{table}\n", _columns),
    "md": ("md", "# {title}\n\n{table}\n", _bars),
    "html": ("html", "<title>{title}</title><h1>{title}</h1>{table}", _html),
    "csv": ("csv", "{table}\n", _csv),
    "pdf with rules": ("pdf.html", PDF.format(style=RULED), _html),
    "pdf without rules": ("pdf.html", PDF.format(style=BARE), _html),
}
"""Ending of the file, the file, and the table in it."""


def measure(form: str, folder: Path) -> Counts:
    """Counts of right and wrong answers to the questions of one form."""
    ending, page, table = FORMS[form]
    (folder / "docs").mkdir()
    for t in TABLES:
        name = f"{t.title.lower().replace(' ', '-')}.{ending}"
        (folder / "docs" / name).write_text(page.format(title=t.title, table=table(t.cells)))
    for printed in (folder / "docs").glob("*.pdf.html"):
        print_pdf(printed)
    return counts(folder / "docs", questions(), folder / "index")


def questions() -> dict[str, list[str]]:
    """The cell that answers each question, every second one of a table; none where none does."""
    cells = {
        asked.format(row[0]): [row[column]]
        for table in TABLES
        for i, row in enumerate(table.cells[1:])
        for j, (column, asked) in enumerate(table.questions.items())
        if (i + j) % 2 == 0
    }
    return cells | {question: [] for question in ABSENT}


if __name__ == "__main__":
    print_forms(str(__doc__), FORMS, measure)
