"""How well facts are found in long documents whose sections look alike.

    python benchmarks/sections.py

The four documents in ``benchmarks/sections`` (a handbook, a manual of three machines, a guide to a
museum, a gardener's notes) say much of what they say under a heading alone: "Three years, or 15,000
cups" stands under "Brisa Duo", "Warranty". They are indexed as Markdown, as HTML, as PDF (which
Chromium prints, and must be there for it) and as plain text with its headings told in three ways,
whose headings begin sections (``index.sections``), as a file for each part, and as rows, which have
no sections. Asked are 56 questions that they answer and
18 that they do not. Printed is, for each form, how many were answered rightly, wrongly, and though
there is no answer. Documents and questions were made up for this. Some three minutes a form on one
core.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import fill

from asked import Counts, counts, print_forms, print_pdf, questions

HERE = Path(__file__).parent / "sections"
HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)

Files = dict[str, str]
"""Texts by the names of their files."""


def _markdown(name: str, page: str) -> Files:
    return {f"{name}.md": page}


def _html(name: str, page: str) -> Files:
    page = re.sub(r"^(?!#)(.+)$", r"<p>\1</p>", page, flags=re.MULTILINE)
    body = HEADING.sub(lambda m: f"<h{len(m[1])}>{m[2]}</h{len(m[1])}>", page)
    return {f"{name}.html": f"<title>{name}</title>{body}"}


def _parts(name: str, page: str) -> Files:
    _, *parts = re.split(r"^## ", page, flags=re.MULTILINE)
    raised = (re.sub("^##", "#", part, flags=re.MULTILINE) for part in parts)
    return {f"{name} {number}.md": f"# {part}" for number, part in enumerate(raised)}


def _plain(name: str, page: str) -> Files:
    title, rest = page.split("\n", 1)
    row = {"title": title.lstrip("# "), "text": HEADING.sub(r"\2", rest)}
    return {f"{name}.jsonl": json.dumps(row)}


def _underlined(name: str, page: str) -> Files:
    def line(match: re.Match[str]) -> str:
        return f"{match[2]}\n{'=-~'[len(match[1]) - 1] * len(match[2])}"

    return {f"{name}.txt": _wrapped(HEADING.sub(line, page))}


def _numbered(name: str, page: str) -> Files:
    counted = [0, 0, 0]

    def line(match: re.Match[str]) -> str:
        level = len(match[1]) - 1
        counted[level:] = [counted[level] + 1, *(0 for _ in counted[level + 1 :])]
        number = ".".join(map(str, counted[1 : level + 1]))
        return f"{number}{'.' if level == 1 else ''} {match[2]}".strip()

    return {f"{name}.txt": _wrapped(HEADING.sub(line, page))}


def _alone(name: str, page: str) -> Files:
    return {f"{name}.txt": _wrapped(HEADING.sub(lambda m: m[2], page))}


def _wrapped(page: str) -> str:
    return "\n".join(fill(line, 76) for line in page.split("\n"))


def _printed(name: str, page: str) -> Files:
    return _html(f"{name}.pdf", page)


FORMS: dict[str, Callable[[str, str], Files]] = {
    "without sections": _plain,
    "md": _markdown,
    "html": _html,
    "pdf": _printed,
    "txt, headings underlined": _underlined,
    "txt, headings numbered": _numbered,
    "txt, headings between empty lines": _alone,
    "a file for each part": _parts,
}


def measure(form: str, folder: Path) -> Counts:
    """Counts of right and wrong answers from the documents in one form."""
    documents = folder / "docs"
    documents.mkdir()
    for page in sorted(HERE.glob("*.md")):
        for name, text in FORMS[form](page.stem, page.read_text()).items():
            (documents / name).write_text(text)
    for page in documents.glob("*.pdf.html"):
        print_pdf(page)
    asked = {row["question"]: row["answers"] for row in questions(HERE / "questions.jsonl")}
    return counts(documents, asked, folder / "index")


if __name__ == "__main__":
    print_forms(str(__doc__), FORMS, measure)
