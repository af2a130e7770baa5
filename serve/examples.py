"""Example questions from rows with ``question`` and ``kind``; knows no page and no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from index.errors import UserError

KINDS = {
    "answerable": "In the database",
    "near_miss": "Close, but not in it",
    "far": "Far outside",
}
"""The heading of each kind, in the order of the page."""
PER_KIND = 2
_DEMO = Path(__file__).resolve().parents[1] / "demo"


def of_demo(first_source: str) -> Path | None:
    """The demo's questions if ``first_source``, a file that was indexed, is of the demo corpus."""
    questions = _DEMO / "questions.jsonl"
    ours = Path(first_source).resolve().is_relative_to(_DEMO / "corpus")
    return questions if ours and questions.is_file() else None


def read(path: Path) -> dict[str, list[str]]:
    """The first questions of each kind, by heading. Raises UserError on any other rows."""
    found: dict[str, list[str]] = {}
    for question, kind in _rows(path):
        found.setdefault(kind, []).append(question)
    return {KINDS[k]: found[k][:PER_KIND] for k in KINDS if k in found}


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); check --examples") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            yield str(row["question"]), str(row["kind"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}:{number}: not a JSON object with question and kind; mend the line"
            ) from error
