"""``retro index add|update|remove|compact|merge|export``: changes an index, or writes it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from index.errors import UserError

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="An index folder.")]
Sources = Annotated[
    list[Path], typer.Argument(metavar="SOURCE", help="Files or folders, as for build.")
]
Trust = Annotated[str, typer.Option(metavar="LABEL", help="How far these sources are trusted.")]
Language = Annotated[
    str, typer.Option(metavar="CODE", help="Leave out texts in other languages than this: en.")
]
MinQuality = Annotated[
    bool, typer.Option("--min-quality", help="Leave out tables of numbers, garbled text.")
]
BlockWords = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Leave out texts that hold one of these words.")
]
Judge = Annotated[
    str,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Leave out texts for which this function of title and text gives a reason.",
    ),
]
Redact = Annotated[
    bool, typer.Option("--redact", help="Replace e-mail addresses, phone and card numbers, IBANs.")
]

OnEngine = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Where keys are computed: here, or on a Ray cluster."),
]


def _growing(name: str, told: str) -> Callable[..., None]:
    """The commands ``add`` and ``update``, which differ in what they do with ids that are there."""

    def grow(
        folder: Folder,
        sources: Sources,
        trust: Trust = "",
        language: Language = "",
        min_quality: MinQuality = False,
        block_words: BlockWords = None,
        judge: Judge = "",
        redact: Redact = False,
        engine: OnEngine = "local",
    ) -> None:
        from index.grow import add_documents
        from index.manifest import Manifest

        filters = filters_of(trust, language, min_quality, block_words, judge, redact)
        before = Manifest.read(folder).version
        manifest = add_documents(
            folder, sources, update=name == "update", filters=filters, engine=engine
        )
        unchanged = " (nothing has changed)" if manifest.version == before else ""
        typer.echo(describe(folder, manifest) + unchanged)

    grow.__name__, grow.__doc__ = name, told
    return grow


add = _growing("add", "Add documents; those that are there keep their keys.")
update = _growing(
    "update",
    "Add documents, and replace those whose id is there already but whose text has changed.",
)


def remove(
    folder: Folder,
    doc_ids: Annotated[list[str], typer.Argument(metavar="DOC_ID", help="As search shows them.")],
) -> None:
    """Have documents count as absent from now on; compact frees their space."""
    from index.grow import remove_documents

    typer.echo(describe(folder, remove_documents(folder, doc_ids)))


def compact(folder: Folder) -> None:
    """Write the index anew without the documents that were removed."""
    from index.grow import compact_index

    typer.echo(describe(folder, compact_index(folder)))


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Index folders.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The index folder to write.")],
) -> None:
    """Write one index of the documents of several, without embedding them again."""
    from index.grow import merge_indexes

    typer.echo(describe(out, merge_indexes(folders, out)))


def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .parquet file to write.")],
    keys: Annotated[bool, typer.Option("--keys", help="With the key of every chunk.")] = False,
) -> None:
    """Write all chunks, with their documents' names, to a Parquet file."""
    from index.export import export_parquet

    if out.suffix != ".parquet":
        raise UserError(f"{out}: only Parquet is written; give --out FILE.parquet")
    typer.echo(f"{out}: {export_parquet(folder, out, keys=keys):,} chunks")


COMMANDS: tuple[Callable[..., None], ...] = (add, update, remove, compact, merge, export)


def describe(folder: Path, manifest: Any) -> str:
    """One line about what an index now holds, and which rules left out how much."""
    from index.assemble import read_skipped

    rules = Counter(item.by for item in read_skipped(folder) if item.by and not item.kept)
    by = ", ".join(f"{count:,} {rule}" for rule, count in rules.items())
    removed = f", {len(manifest.removed):,} removed" if manifest.removed else ""
    return (
        f"{folder}: {manifest.num_documents:,} documents, {manifest.num_chunks:,} chunks, "
        f"{manifest.num_tokens:,} tokens, {manifest.num_skipped:,} skipped"
        f"{f' ({by})' if by else ''}{removed}"
    )


def filters_of(
    trust: str,
    language: str,
    min_quality: bool,
    block_words: Path | None,
    judge: str,
    redact: bool,
) -> Any:
    """The options above as ``Filters``."""
    from index.filters import Filters, read_words

    words = read_words(block_words) if block_words else frozenset()
    return Filters(" ".join(trust.split()), language, min_quality, words, judge, redact)
