"""Text of reStructuredText, by the page of HTML that docutils makes of it; includes no other file.

Sphinx has directives and roles that docutils does not know. What they hold is read all the same: a
described object (``.. function:: open(file)``) is the term of what is said of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from index import html

LEFT_OUT = frozenset(
    "contents currentmodule highlight image include index literalinclude meta module moduleauthor "
    "py:module raw sectionauthor sectnum tabularcolumns testcleanup testsetup toctree".split()
)
"""Directives that say nothing to a reader, or what stands elsewhere."""
KNOWN = frozenset(
    "admonition attention caution class code code-block compound container csv-table danger date "
    "default-role epigraph error figure footer header highlights hint important line-block "
    "list-table math note parsed-literal pull-quote replace role rubric sidebar sourcecode table "
    "target-notes tip title topic unicode warning".split()
)
"""Directives of docutils."""
VERSIONS = {
    "versionadded": "Added in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "versionremoved": "Removed in version",
}
SETTINGS: dict[str, Any] = {
    "_disable_config": True,
    "embed_stylesheet": False,
    "file_insertion_enabled": False,
    "halt_level": 5,
    "line_length_limit": 1 << 30,
    "math_output": "LaTeX",
    "raw_enabled": False,
    "report_level": 3,
    "syntax_highlight": "none",
    "warning_stream": False,
}
MOST = 10_000_000
"""Marks of a block times its characters: docutils looks for the end of each, for a second or so."""
_MESSAGE = re.compile(
    r'<section class="system-messages">\s*<h\d>.*?</h\d>'
    r'|<aside class="system-message".*?(<pre.*?</pre>\s*)?</aside>',
    re.DOTALL,
)
"""What docutils says of a mistake, and the source that it did not understand."""
_BLOCK = re.compile(r"(\n\s*\n)")
_DIRECTIVE = re.compile(r"(\s*)\.\. ([A-Za-z][\w:+.-]*)::(?:\s+(.*))?$")
_OPTION = re.compile(r"\s+:[\w-]+:")
_ROLE = re.compile(r":[A-Za-z][\w:+.-]*:`[!~]?([^`<]*[^`<\s])(?:\s*<[^`>]*>)?`")
_SPECIAL = re.compile(r"[*`|_\\]")


def extract(page: str) -> tuple[str, str]:
    """``(title, text)``; headings and terms are marked (``index.sections``)."""
    from docutils.core import publish_parts
    from docutils.writers.html5_polyglot import Writer

    known = "\n".join(_known(page.expandtabs().splitlines()))
    source = "".join(map(_bearable, _BLOCK.split(known)))
    parts = publish_parts(source, writer=Writer(), settings_overrides=SETTINGS)
    title = re.sub("<[^>]*>", "", parts["title"])  # HTML already
    body = _MESSAGE.sub(lambda m: m[1] or "", parts["html_body"])
    body = re.sub("(</?)aside", r"\1div", body)  # notes and footnotes, which pages have elsewhere
    return html.extract(f"<title>{title}</title><body>{body}</body>")


def _bearable(block: str) -> str:
    """A block without roles; as it stands, if its marks are too many."""
    marks = len(_SPECIAL.findall(block))
    if marks * len(block) > MOST:
        return _SPECIAL.sub(r"\\\g<0>", block)
    return _ROLE.sub(r"\1", block)


def date(page: str) -> str:
    """None is told."""
    return ""


def _known(lines: list[str]) -> Iterator[str]:
    """The lines, with what docutils knows in the place of Sphinx's directives."""
    at = 0
    while at < len(lines):
        line = lines[at].rstrip()
        found = _DIRECTIVE.match(line)
        at += 1
        if not found or found[2] in KNOWN:
            yield line
            continue
        end = _end(lines, at, len(found[1]))
        if found[2] not in LEFT_OUT:
            yield from _described(found, lines[at:end])
        at = end


def _end(lines: list[str], at: int, indent: int) -> int:
    """Where the block that is indented more than a directive ends."""
    while at < len(lines):
        line = lines[at]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        at += 1
    return at


def _described(directive: re.Match[str], block: list[str]) -> Iterator[str]:
    """An object as the term of what is said of it; of others the content alone, and of a change its
    version before it."""
    indent, name, told = directive[1], directive[2], directive[3] or ""
    while told.endswith("\\") and block:  # goes on in the next line
        told, block = f"{told[:-1].rstrip()} {block[0].strip()}", block[1:]
    told = _SPECIAL.sub(r"\\\g<0>", told)
    first = next((i for i, x in enumerate(block) if x.strip() and not _OPTION.match(x)), len(block))
    content = block[first:]
    if name in VERSIONS or not told:
        margin = min((len(x) - len(x.lstrip()) for x in content if x.strip()), default=0)
        content = [indent + x[margin:] for x in content]
        told = f"{VERSIONS[name]} {told}:" if name in VERSIONS else ""
    yield from ["", indent + told] if told else [""]
    yield from _known(content)
    yield ""
