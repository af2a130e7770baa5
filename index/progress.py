"""A line on stderr that tells how far long work has come."""

from __future__ import annotations

import sys
from typing import Any


def bar(
    items: Any, label: str, unit: str, shown: bool, total: int | None = None, done: int = 0
) -> Any:
    """A progress line with its rate; a rare one where nobody sits before it."""
    from tqdm import tqdm

    pause = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(
        items,
        desc=label,
        unit=unit,
        total=total,
        initial=done,
        disable=not shown,
        mininterval=pause,
        delay=0.5,
    )
