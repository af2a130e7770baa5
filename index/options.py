"""Options of the commands that search an index: which of its documents may be found."""

from __future__ import annotations

from typing import Annotated

import typer

from index.where import Where

Source = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Only documents from these sources: 'reports/*'."),
]
OfTrust = Annotated[
    list[str] | None, typer.Option("--trust", metavar="LABEL", help="Only documents so labelled.")
]
Since = Annotated[str, typer.Option(metavar="DATE", help="Only documents of then or later: 2024.")]
Until = Annotated[str, typer.Option(metavar="DATE", help="Only documents of then or earlier.")]


def where_of(source: list[str] | None, trust: list[str] | None, since: str, until: str) -> Where:
    """What the options say; raises UserError where one is no date."""
    return Where(tuple(source or ()), tuple(trust or ()), since, until)
