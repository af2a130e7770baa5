"""Pages of a Wikipedia XML dump, one at a time; knows the export schema, nothing of markup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from index.documents import WHOLE_BYTES, Unreadable
from index.xml import events

ARTICLES = "0"
FIELDS = frozenset({"title", "ns", "timestamp", "text"})


@dataclass
class Page:
    """One page as the dump has it; ``text`` is wiki markup, of the newest revision given, which is
    of ``timestamp``."""

    title: str = ""
    ns: str = ""
    timestamp: str = ""
    text: str = ""
    redirect: bool = False
    size: int = 0
    parts: dict[str, list[str]] = field(default_factory=dict)

    def close(self, name: str) -> None:
        """Ends a field: a later one (a newer revision) takes its place."""
        setattr(self, name, "".join(self.parts.pop(name, [])))

    @property
    def is_article(self) -> bool:
        return self.ns in {ARTICLES, ""} and not self.redirect


def pages(stream: IO[bytes]) -> Iterator[Page]:
    """Every page, redirects and talk pages included.

    Raises:
        Unreadable: it is no dump, or a page is larger than any.
    """
    page: Page | None = None
    current = ""
    for number, (kind, name, attributes) in enumerate(events(stream)):
        if not number and name != "mediawiki":
            raise Unreadable(f"no Wikipedia dump (<{name}>, not <mediawiki>)")
        if kind == "text":
            if page and current:
                _add(page, current, name)
        elif name == "page":
            if kind == "end" and page:
                yield page
            page = Page() if kind == "start" else None
        elif page and name in FIELDS:
            current = name if kind == "start" else ""
            if kind == "end":
                page.close(name)
        elif page and name == "redirect" and "title" in attributes:
            page.redirect = True


def _add(page: Page, name: str, words: str) -> None:
    page.size += len(words)
    if page.size > WHOLE_BYTES:
        raise Unreadable(f"a page of more than {WHOLE_BYTES // 1_000_000} MB; split the dump")
    page.parts.setdefault(name, []).append(words)
