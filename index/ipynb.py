"""Text of a Jupyter notebook (nbformat 4) as a Markdown page; knows cells, no documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from index import markdown
from index.documents import Unreadable

LONGEST = 2_000
"""Characters kept of what one cell has printed."""
FENCE = "~" * 9
"""Longer than what code may hold itself."""


def extract(page: str) -> tuple[str, str]:
    """``(title, text)``: words and code of the cells and what they have printed, without pictures;
    the title is a first heading.

    Raises:
        Unreadable: it is no notebook.
    """
    try:
        cells = json.loads(page)["cells"]
        blocks = [block for cell in cells for block in _blocks(cell)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"no notebook of nbformat 4: {error!r}"[:200]) from error
    return markdown.extract("\n\n".join(blocks))


def date(page: str) -> str:
    """Empty: a notebook has none."""
    return ""


def _blocks(cell: dict[str, Any]) -> Iterator[str]:
    source = _joined(cell["source"])
    if cell["cell_type"] != "code":
        yield source
        return
    printed = (_joined(_printed(output))[:LONGEST] for output in cell.get("outputs", ()))
    yield from (f"{FENCE}\n{text}\n{FENCE}" for text in (source, *printed) if text.strip())


def _printed(output: dict[str, Any]) -> Any:
    return output.get("text") or output.get("data", {}).get("text/plain") or ""


def _joined(lines: Any) -> str:
    return lines if isinstance(lines, str) else "".join(map(str, lines))
