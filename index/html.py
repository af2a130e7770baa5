"""Text of an HTML page by lexbor, a parser of HTML5; knows elements, nothing of documents.

The standard library's parser took 86 seconds for 20,000 times ``<a`` (60 kB).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, takewhile, zip_longest
from typing import Any, NamedTuple

from index.documents import Unreadable
from index.sections import LEVELS, MARK, bold_heading, end_of, heading, unmarked
from index.tables import COLUMNS, REPEATED, sentences, span

SILENT = (
    "script, style, noscript, template, svg, nav, header, footer, aside, form, button, "
    "a.headerlink, a.hash-link"
)
"""Elements whose text is no part of what a page says."""
BLOCKS = (
    "address, article, blockquote, br, caption, dd, div, dl, dt, fieldset, figcaption, figure, h1, "
    "h2, h3, h4, h5, h6, hr, li, main, ol, p, pre, section, table, tbody, td, tfoot, th, thead, "
    "tr, ul"
)
"""Elements that begin a new line."""
UNCLOSED = frozenset(
    "area base br col embed hr img input link meta param source track wbr "
    "p li dd dt tr td th thead tbody tfoot option optgroup rp rt colgroup".split()
)
"""Elements that have no end, or one that may be left out: they do not nest by being open."""
DEPTH = 1000
"""Browsers stop at 512; the parser's time grows with the square of the depth."""
NAMED_TABLE = "table:not(:has(table)):has(th, thead)"
"""Tables with names for their cells. One without any, or of other tables, only places text."""
HEADINGS = "h1, h2, h3, h4, h5, h6, p > b:only-child, p > strong:only-child"
"""Headings, and what may be one: a paragraph in bold type alone."""
LONGEST_HEADING = 300
"""Characters; more is no heading, but a page in which one was never closed."""
SHORT = 200
"""Characters of a definition that is told on the line of its term; a longer one is a section."""
NESTED = 4
"""Lists of definitions around one that is told so; what is deeper is lines."""
LINE = "\x1e"
DATED = re.compile(
    r"article:published_time|datePublished|dc\.date|dcterms\.(?:date|created|issued)|date", re.I
)
"""Names of a ``<meta>`` that tells when a page was published."""
META = re.compile(r"<meta\s([^<>]{1,500})>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"([a-zA-Z]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")


def extract(page: str) -> tuple[str, str]:
    """``(title, text)`` of a page: one line a block, without scripts and navigation, its headings
    marked (``index.sections``).

    Raises:
        Unreadable: its elements are nested deeper than ``DEPTH``.
    """
    from selectolax.lexbor import LexborHTMLParser

    _check_depth(page)
    tree = LexborHTMLParser(unmarked(page.replace(LINE, " ")))
    for node in tree.css(SILENT):
        node.decompose()
    title = tree.css_first("title")
    for table in tree.css(NAMED_TABLE):
        _tell(table)
    for node in tree.css(HEADINGS):
        _head(node)
    for node in reversed(tree.css("dl")):  # those within another one first
        _define(node)
    _part(tree)
    text = tree.body.text() if tree.body else ""
    lines = (" ".join(line.split()) for line in text.split(LINE))
    return " ".join(title.text().split()) if title else "", "\n".join(filter(None, lines))


def _part(tree: Any) -> None:
    for node in tree.css(BLOCKS):
        node.insert_before(LINE)
        node.insert_after(LINE)


def _head(node: Any) -> None:
    """Puts a heading's marked line in its place."""
    for line_break in node.css("br"):
        line_break.insert_before(" ")
    words = node.text()
    if node.tag[0] == "h":
        line = heading(int(node.tag[1]), words) if len(words) <= LONGEST_HEADING else ""
    else:
        line = bold_heading(words) if words.strip() == node.parent.text().strip() else ""
    if line:
        node.insert_before(f"{LINE}{line}{LINE}")
        node.decompose()


def _define(listed: Any) -> None:
    """A term of a list of definitions begins the line of a short one, and heads a long one, since
    what is said of it seldom says it again. Lists in another one have no sections."""
    inside = sum(node.tag == "dl" for node in _around(listed))
    if inside > NESTED:
        return
    terms: list[Any] = []
    headed = False  # by the term before
    for node in list(listed.iter()):
        if node.tag == "dt":
            terms.append(node)
        elif node.tag == "dd" and terms:
            if headed:
                terms[0].insert_before(f"{LINE}{end_of(LEVELS)}{LINE}")
            headed = _say(terms, node, not inside)
            terms = []
    if headed:
        listed.insert_after(f"{LINE}{end_of(LEVELS)}{LINE}")


def _say(terms: Sequence[Any], definition: Any, may_head: bool) -> bool:
    """Puts terms before what is said of them; whether as its heading."""
    for line_break in (br for term in terms for br in term.css("br")):
        line_break.replace_with(", ")
    name = ", ".join(" ".join(term.text().split()) for term in terms).removesuffix(":")
    told = " ".join(definition.text().split())
    long = len(told) > SHORT
    if MARK in name + told or len(name) > SHORT or (long and not may_head):
        return False  # with headings of its own
    for term in terms[1:]:
        term.decompose()
    if long:
        terms[0].replace_with(f"{LINE}{heading(LEVELS, name)}{LINE}")
    else:
        terms[0].decompose()
        _part(definition)
        told = " ".join(definition.text().split())  # which parts at LINE too
        definition.replace_with(f"{LINE}{name}: {told}{LINE}")
    return long


def _around(node: Any) -> Iterator[Any]:
    while (node := node.parent) is not None:
        yield node


def _tell(table: Any) -> None:
    """Puts sentences in the place of a table."""
    caption = table.css_first("caption")
    told = [caption.text(separator=" ")] if caption else []
    grid = list(_grid(table))
    headings = list(takewhile(_is_heading, grid))
    names = list(takewhile(_is_names, grid[len(headings) :]))
    columns = zip_longest(*names, fillvalue=_Cell("", names=True))
    head = [" ".join(dict.fromkeys(cell.text for cell in column)) for column in columns]
    rows = [["" if cell.again else cell.text for cell in row] for row in grid]
    told += [row[0] for row in rows[: len(headings)]]
    told += sentences(head, rows[len(headings) + len(names) :])
    table.replace_with(LINE + LINE.join(told) + LINE)


class _Cell(NamedTuple):
    """``names``: it names a column or a row; ``again``: it is the cell before it, in the next of
    the columns that this one spans."""

    text: str
    names: bool
    again: bool = False


def _is_heading(row: Sequence[_Cell]) -> bool:
    """One cell over all columns: it names what is below, and no column."""
    return len(row) > 1 and row[0].names and all(cell.again for cell in row[1:])


def _is_names(row: Sequence[_Cell]) -> bool:
    return all(cell.names for cell in row) and not _is_heading(row)


def _grid(table: Any) -> Iterator[list[_Cell]]:
    """The rows, a cell for each column that they fill. What the first column has for several rows
    stands in each of them; what another has, in the first."""
    below: dict[int, tuple[int, _Cell]] = {}  # column -> how many rows more it fills, and with what
    for line in table.css("tr"):
        above, below = below, {c: (left - 1, x) for c, (left, x) in below.items() if left > 1}
        row: list[_Cell] = []
        for node in line.iter():
            if node.tag not in ("td", "th"):
                continue
            row += _reaching(above, len(row))
            text = node.text(separator=" ").strip()
            cell = _Cell(text, node.tag == "th" or line.parent.tag == "thead")
            if (high := _span(node, "rowspan")) > 1 and len(row) < COLUMNS:
                told = cell if not row and len(text) <= REPEATED else cell._replace(text="")
                below[len(row)] = (high - 1, told)
            row += [cell, *[cell._replace(again=True)] * (_span(node, "colspan") - 1)]
        yield row + _reaching(above, len(row))


def _reaching(above: dict[int, tuple[int, _Cell]], column: int) -> list[_Cell]:
    """The cells of rows above that fill this column and those right behind it."""
    return [above[c][1] for c in takewhile(above.__contains__, count(column))]


def _span(node: Any, name: str) -> int:
    return span(node.attributes.get(name) or "")


def date(page: str) -> str:
    """When a page says that it was published, as it says it; empty if it does not."""
    for meta in META.finditer(page):
        said: dict[str, str] = {name.lower(): a or b for name, a, b in ATTRIBUTE.findall(meta[1])}
        name = said.get("property") or said.get("name") or said.get("itemprop") or ""
        if DATED.fullmatch(name) and said.get("content"):
            return said["content"]
    return ""


def _check_depth(page: str) -> None:
    if page.count("<") <= DEPTH:
        return
    depth = 0
    opened: Counter[str] = Counter()
    for end, name in TAG.findall(page):
        name = name.lower()
        if name in UNCLOSED or (end and not opened[name]):
            continue
        step = -1 if end else 1
        opened[name] += step
        depth += step
        if depth > DEPTH:
            raise Unreadable(f"elements nested more than {DEPTH:,} deep")
