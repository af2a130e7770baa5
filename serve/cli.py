"""``retro serve``: opens the page; Gradio and the model are loaded only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from index.options import OfTrust, Since, Source, Until, where_of

app = typer.Typer()

Index = Annotated[Path, typer.Option(help="Folder of the index to answer from.")]
Checkpoint = Annotated[str | None, typer.Option(help="The model; default: the shipped one.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Share = Annotated[bool, typer.Option(help="Also open a public link through Gradio's servers.")]
Examples = Annotated[
    Path | None, typer.Option(help="JSON lines with question and kind, the first ones offered.")
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


@app.command()
def serve(
    index: Index,
    checkpoint: Checkpoint = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    share: Share = False,
    examples: Examples = None,
    open_browser: Open = False,
    source: Source = None,
    trust: OfTrust = None,
    since: Since = "",
    until: Until = "",
) -> None:
    """Open the page in which to ask questions of an index, until Ctrl+C."""
    from retro.answer import Answerer
    from serve import examples as questions
    from serve.app import build, run

    typer.echo(f"Loading {index} and the model ...")
    answerer = Answerer.open(index, checkpoint, where=where_of(source, trust, since, until))
    offered = examples or questions.of_demo(answerer.retriever.store.document(0).source)
    page = build(answerer, questions.read(offered) if offered else {})
    run(page, host=host, port=port, share=share, open_browser=open_browser)
