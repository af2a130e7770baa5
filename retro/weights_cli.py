"""``retro weights``: brings pretrained weights onto this machine; knows only their names."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Known name, hub id or folder; default: all known."),
]


@app.command()
def weights(names: Names = None) -> None:
    """Find the weights, convert or download them where needed, and print where they are."""
    from index.weights import KNOWN, resolve

    for name in names or KNOWN:
        typer.echo(f"{name}: {resolve(name)}")
