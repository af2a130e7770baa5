"""Words of an article in wiki markup; knows the common marks, expands no templates.

One pass with a stack, so that no page takes longer than its length: mwparserfromhell read 0.25 MB
a second, and did not end on 20,000 unclosed tags.
"""

from __future__ import annotations

import html
import re
from collections import Counter

from index.sections import heading, unmarked

TOKEN = re.compile(
    r"\{\{|\}\}|\{\||\|\}|\[\[|\]\]|<!--|-->|</?[a-zA-Z][^<>]{0,500}>|'{2,5}|__[A-Z]{3,20}__"
    r"|\[(?:https?:)?//[^\s\[\]]{1,2000}|\]"
)
CLOSES = {"}}": "{{", "|}": "{|", "]]": "[[", "-->": "<!--", "]": "["}
SILENT_TAGS = frozenset("ref table gallery math timeline score syntaxhighlight source".split())
SILENT_LINK = re.compile(r"\s*:?(?:[^:|\[\]]{1,40}:\S|(?:file|image|category) ?:)", re.IGNORECASE)
"""A file, a category, another language: a link that is no part of the sentence."""
EMPTY_BRACKETS = re.compile(r"[ \u00a0]?\([ ,;:\u00a0]{0,99}\)")
DEPTH = 100
"""Marks nested deeper than in any article are taken for broken, and their words kept."""


def plain(markup: str) -> str:
    """What an article says, without templates, tables, references, pictures and categories, its
    headings marked (``index.sections``).

    What a mark that is never closed holds stays, without the mark.
    """
    stack = _Stack()
    end = 0
    for mark in TOKEN.finditer(markup):
        stack.add(markup[end : mark.start()])
        end = mark.end()
        stack.mark(mark.group())
    stack.add(markup[end:])
    text = unmarked(EMPTY_BRACKETS.sub("", html.unescape(stack.text())))
    lines = (_line(line) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _line(line: str) -> str:
    """A line without the marks of lists, with single blanks; a heading as one."""
    line = line.strip()
    if line.startswith("=") and line.endswith("="):
        level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")))
        return heading(level - 1, line.strip("="))
    return " ".join(line.lstrip("*#:;").split())


class _Stack:
    """Open marks, and the words met since each was opened."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._frames: list[tuple[str, list[str]]] = [("", [])]

    def add(self, words: str) -> None:
        self._frames[-1][1].append(words)

    def mark(self, mark: str) -> None:
        if mark in CLOSES:
            if not self._close(CLOSES[mark]):
                self.add(mark if mark == "]" else "")
        elif mark[0] == "<" and mark != "<!--":
            self._tag(mark)
        elif mark.startswith(("{", "[", "<")):
            self._begin("[" if mark.startswith(("[h", "[/")) else mark)

    def text(self) -> str:
        return "".join(word for _, words in self._frames for word in words)

    def _tag(self, tag: str) -> None:
        name = re.split(r"[\s/>]", tag.lstrip("</"), maxsplit=1)[0].lower()
        if name == "br":
            self.add("\n")
        elif name in SILENT_TAGS and tag.startswith("</"):
            self._close(name)
        elif name in SILENT_TAGS and not tag.endswith("/>"):
            self._begin(name)

    def _begin(self, kind: str) -> None:
        if len(self._frames) <= DEPTH:
            self._frames.append((kind, []))
            self._open[kind] += 1

    def _close(self, kind: str) -> bool:
        """Ends the innermost mark of a kind, and what was left open inside it."""
        if not self._open[kind]:
            return False
        held: list[str] = []
        while True:
            found, words = self._frames.pop()
            self._open[found] -= 1
            held = words + held
            if found == kind:
                self.add(_said(kind, "".join(held)))
                return True


def _said(kind: str, held: str) -> str:
    """What a closed mark contributes to the text."""
    if kind == "[":
        return held
    if kind != "[[" or SILENT_LINK.match(held):
        return ""
    target, _, label = held.partition("|")
    return label or target
