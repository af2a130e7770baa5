"""Text of an HTML page by the standard library's parser; knows tags, nothing of documents."""

from __future__ import annotations

import re
from html.parser import HTMLParser

SILENT = frozenset("script style noscript template svg nav header footer aside form button".split())
"""Elements whose text is no part of what a page says."""
BLOCKS = frozenset(
    "address article blockquote br caption dd div dl dt fieldset figcaption figure h1 h2 h3 h4 h5 "
    "h6 hr li main ol p pre section table tbody td tfoot th thead tr ul".split()
)
"""Elements that begin a new line."""


class _Extractor(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.parts: list[str] = []
        self._in_title = False
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SILENT:
            self._silent.append(tag)
        self._in_title = tag == "title" and not self._silent
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:  # closes what was left open inside it, too
            del self._silent[self._silent.index(tag) :]
        self._in_title = False
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))


def extract(page: str) -> tuple[str, str]:
    """``(title, text)`` of a page: one line a block, without scripts and navigation."""
    extractor = _Extractor()
    extractor.feed(page)
    extractor.close()
    lines = (" ".join(line.split()) for line in "".join(extractor.parts).splitlines())
    return " ".join(extractor.title.split()), "\n".join(line for line in lines if line)
