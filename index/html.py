"""Text of an HTML page by lexbor, a parser of HTML5; knows elements, nothing of documents.

The standard library's parser took 86 seconds for 20,000 times ``<a`` (60 kB).
"""

from __future__ import annotations

import re
from collections import Counter

from index.documents import Unreadable

SILENT = "script, style, noscript, template, svg, nav, header, footer, aside, form, button"
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
LINE = "\x1e"
DATED = re.compile(
    r"article:published_time|datePublished|dc\.date|dcterms\.(?:date|created|issued)|date", re.I
)
"""Names of a ``<meta>`` that tells when a page was published."""
META = re.compile(r"<meta\s([^<>]{1,500})>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"([a-zA-Z]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")


def extract(page: str) -> tuple[str, str]:
    """``(title, text)`` of a page: one line a block, without scripts and navigation.

    Raises:
        Unreadable: its elements are nested deeper than ``DEPTH``.
    """
    from selectolax.lexbor import LexborHTMLParser

    _check_depth(page)
    tree = LexborHTMLParser(page.replace(LINE, " "))
    for node in tree.css(SILENT):
        node.decompose()
    title = tree.css_first("title")
    for node in tree.css(BLOCKS):
        node.insert_before(LINE)
        node.insert_after(LINE)
    text = tree.body.text() if tree.body else ""
    lines = (" ".join(line.split()) for line in text.split(LINE))
    return " ".join(title.text().split()) if title else "", "\n".join(filter(None, lines))


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
