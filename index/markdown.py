"""Words of a Markdown page without its marks; knows the common marks, not the whole grammar.

Tables as in GitHub Flavored Markdown (§4.10).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from index.flow import unwrapped
from index.sections import bold_heading, heading, unmarked
from index.tables import sentences

FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
FRONT_FIELD = re.compile(r"^(title|date):(.*)$", re.MULTILINE)
FENCED = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$\n?|\Z)", re.M | re.S)
HEADING = re.compile(r"\A\s*#[ \t]+(\S.*)(?:\n|\Z)|\A\s*(\S.*)\n=+[ \t]*(?:\n|\Z)")
COLUMN = re.compile(r":?-+:?")
BAR = re.compile(r"(?<!\\)\|")


def _heading(words: str) -> str:
    """A heading's words without the marks that may close it; the one of "C#" is its own."""
    bare = words.strip().rstrip("#")
    return bare.strip() if not bare or bare.endswith((" ", "\t")) else words.strip()


def _table(match: re.Match[str]) -> str:
    """A table's rows as sentences, if the lines are one."""
    head, columns, rows = _cells(match[1]), _cells(match[2]), match[3].splitlines()
    if len(head) != len(columns) or not all(map(COLUMN.fullmatch, columns)):
        return match[0]
    return "".join(f"{line}\n" for line in sentences(head, map(_cells, rows)))


def _cells(line: str) -> list[str]:
    bare = line.strip().removeprefix("|")
    bare = bare if bare.endswith("\\|") else bare.removesuffix("|")
    return [cell.replace("\\|", "|").strip() for cell in BAR.split(bare)]


RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL), ""),
    (
        re.compile(
            r"^([^\n|]*\|.*)\n([ \t:|-]*-[ \t:|-]*)(?:\n|\Z)((?:[^\n|]*\|.*(?:\n|\Z))*)", re.M
        ),
        _table,
    ),
    (re.compile(r"^[ \t]*\[[^\]\n]+\]:[ \t]*\S+.*$\n?", re.MULTILINE), ""),  # [ref]: address
    (re.compile(r"!?\[([^\[\]\n]*)\]\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)"), r"\1"),
    (re.compile(r"!?\[([^\[\]\n]+)\]\[[^\[\]\n]*\]"), r"\1"),
    (re.compile(r"<((?:https?|mailto):[^<>\s]+)>"), r"\1"),
    (
        re.compile(r"(?<![^\n]\n)^[ ]{0,3}([^\s>#*+|-].*)\n[ ]{0,3}(=+|-{2,})[ \t]*$", re.M),
        lambda m: heading(1 if m[2][0] == "=" else 2, m[1]),
    ),
    (re.compile(r"^[ \t]{0,3}(?:=+|-{3,}|\*{3,}|_{3,})[ \t]*$\n?", re.MULTILINE), ""),
    (
        re.compile(r"^[ \t]{0,3}(#{1,6})[ \t]+(.*)$", re.MULTILINE),
        lambda m: heading(len(m[1]), _heading(m[2])),
    ),
    (
        re.compile(r"(?<![^\n]\n)^[ ]{0,3}(\*\*|__)([^*_\n]+)\1(:?)[ \t]*$(?!\n[^\n])", re.M),
        lambda m: bold_heading(m[2] + m[3]) or m[0],
    ),
    (re.compile(r"^(?:[ \t]{0,3}>[ \t]?)+", re.MULTILINE), ""),
    (re.compile(r"(?<!`)(`{1,3})[ \t]?([^`\n]+?)[ \t]?\1(?!`)"), r"\2"),
    (re.compile(r"(?<![\w\\*])(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])"), r"\2"),
    (re.compile(r"(?<![\w\\])(_{1,3})(?=\S)([^_\n]+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!>~|-])"), r"\1"),
]
"""Mark and what it becomes, in this order; list marks stay as they are. An underlined heading
and one in bold type are a line behind an empty one, the latter before an empty one too."""


def extract(page: str) -> tuple[str, str]:
    """``(title, text)`` of a page, its headings marked (``index.sections``). The title stands in
    the front matter or is a first heading."""
    page = unmarked(page)
    title = _front_field(page, "title")
    if front := FRONT_MATTER.match(page):
        page = page[front.end() :]
    if first := HEADING.match(page):
        title = title or plain(_heading(first.group(1) or first.group(2)))
        page = page[first.end() :]
    return title.strip(), _without_marks(page).strip()


def date(page: str) -> str:
    """The date in the front matter as it stands there; empty if there is none."""
    return _front_field(page, "date")


def _front_field(page: str, name: str) -> str:
    front = FRONT_MATTER.match(page)
    fields: dict[str, str] = dict(reversed(FRONT_FIELD.findall(front.group(1)))) if front else {}
    return fields.get(name, "").strip().strip("\"'")


def plain(text: str) -> str:
    """Text without marks; a mark that is not closed stays."""
    for mark, words in RULES:
        text = mark.sub(words, text)
    return text


def _without_marks(page: str) -> str:
    """Code between fences stays as it is, all else loses its marks."""
    parts: list[str] = []
    end = 0
    for block in FENCED.finditer(page):
        parts += [_words(page[end : block.start()]), block.group(2)]
        end = block.end()
    return "".join([*parts, _words(page[end:])])


def _words(text: str) -> str:
    return unwrapped(plain(text), code=True)
