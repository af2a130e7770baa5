"""``retro index …``: build, search, info, verify, and ``index.grow_cli``'s commands.

The work is done by the modules beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from index import grow_cli
from index.errors import UserError
from index.grow_cli import (
    BlockWords,
    Folder,
    Judge,
    Language,
    MinQuality,
    OnEngine,
    Redact,
    Trust,
    describe,
    filters_of,
)
from index.options import OfTrust, Since, Source, Until, where_of
from index.weights import EMBEDDER

SHOWN, TYPES = 20, 8
"""Skipped files that are named after a build, and unknown types; `info` names all."""

app = typer.Typer(help="Build a token database from your documents, and look into it.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def build(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE", help="Files, folders, patterns: .txt .md .html .pdf .docx …"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The index folder to write.")],
    embedder: Annotated[
        str, typer.Option(help="Name, folder or hub id of the encoder.")
    ] = EMBEDDER,
    tokenizer: Annotated[
        str, typer.Option(help="Name, folder or hub id of the decoder whose tokens are stored.")
    ] = "smollm2-135m",
    store: Annotated[
        str,
        typer.Option(metavar="milvus://HOST[:PORT]/NAME", help="Keys in Milvus instead of FAISS."),
    ] = "",
    faiss_type: Annotated[
        str,
        typer.Option("--faiss-type", metavar="FACTORY", help="FAISS type; default: by size."),
    ] = "",
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep texts that nearly repeat another.")
    ] = False,
    trust: Trust = "",
    language: Language = "",
    min_quality: MinQuality = False,
    block_words: BlockWords = None,
    judge: Judge = "",
    redact: Redact = False,
    engine: OnEngine = "local",
) -> None:
    """Build the index of some documents; what DIR held is replaced when all is done.

    A build that was interrupted goes on where it stood.
    """
    from index.build import build_index

    manifest = build_index(
        sources,
        out,
        embedder=embedder,
        tokenizer=tokenizer,
        store=store,
        faiss=faiss_type,
        keep_duplicates=keep_duplicates,
        filters=filters_of(trust, language, min_quality, block_words, judge, redact),
        engine=engine,
    )
    for line in _left_out(out):
        typer.echo(line, err=True)
    typer.echo(describe(out, manifest))


@app.command()
def search(
    folder: Folder,
    text: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many passages.")] = 8,
    as_json: AsJson = False,
    source: Source = None,
    trust: OfTrust = None,
    since: Since = "",
    until: Until = "",
) -> None:
    """Print the passages nearest to a text, best first."""
    from index.retriever import Retriever

    if not text.strip():
        raise UserError("the text to look for is empty; give some words")
    where = where_of(source, trust, since, until)
    found = Retriever.open(folder, where=where).search(text, k)
    for row in _rows(found):
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            head = "{rank}. {title}  [{doc_id}]  distance {distance:.3f}  BM25 {lexical:.1f}"
            more = "".join(f"  {name}: {row[name]}" for name in ("page", "trust") if name in row)
            typer.echo(head.format(**row) + more)
            typer.echo("   " + " ".join(str(row["text"]).split()) + "\n")


@app.command()
def info(folder: Folder, as_json: AsJson = False) -> None:
    """Print what an index holds and what it was built with."""
    from index.assemble import read_skipped
    from index.manifest import Manifest

    manifest = Manifest.read(folder)
    manifest.check_sizes(folder)
    facts = _facts(manifest) | {"unfinished": _unfinished(folder)} | _own_head(folder)
    skipped = [vars(item) for item in read_skipped(folder)]
    if as_json:
        typer.echo(json.dumps(facts | {"skipped": skipped}, ensure_ascii=False))
        return
    for name, value in facts.items():
        typer.echo(f"{name:18}{value:,}" if isinstance(value, int) else f"{name:18}{value}")
    for item in skipped:
        typer.echo(f"{_verb(item['kept'])} {item['source']}: {item['reason']}")


@app.command()
def verify(folder: Folder) -> None:
    """Read every file of an index and compare its SHA-256 with the manifest."""
    from index.manifest import Manifest

    manifest = Manifest.read(folder)
    if broken := manifest.broken_files(folder):
        raise UserError(f"{folder}: damaged or missing: {', '.join(broken)}; build the index again")
    if superfluous := manifest.superfluous_files(folder):
        raise UserError(f"{folder}: not of this index: {', '.join(superfluous)}; delete them")
    typer.echo(f"{folder}: all {len(manifest.files)} files are as they were written")


for command in grow_cli.COMMANDS:
    app.command()(command)


def _left_out(folder: Path) -> Iterator[str]:
    """What a build left out, for a person: files of unknown types together, others by name."""
    from index.assemble import read_skipped
    from index.sources import UNKNOWN_TYPE, known_types

    unknown: Counter[str] = Counter()
    others = 0
    for item in read_skipped(folder):
        if item.by == UNKNOWN_TYPE:
            unknown[item.reason] += 1
            continue
        others += 1
        if others <= SHOWN:
            yield f"{_verb(item.kept)} {item.source}: {item.reason}"
    if others > SHOWN:
        yield f"… and {others - SHOWN:,} more: retro index info {folder}"
    for reason, count in unknown.most_common(TYPES):
        yield f"skipped {count:,} {'file' if count == 1 else 'files'}: {reason}"
    if unknown:
        yield f"({known_types()}; by name: retro index info {folder})"


def _verb(kept: bool) -> str:
    return "note" if kept else "skipped"


def _rows(found: Any) -> list[dict[str, Any]]:
    """One plain dictionary per neighbour of a ``Neighbours``."""
    return [
        {
            "rank": rank + 1,
            "doc_id": found.doc_ids[rank],
            "title": found.titles[rank],
            "text": found.texts[rank],
            "start": int(found.starts[rank]),
            "end": int(found.ends[rank]),
            "distance": round(float(found.distances[rank]), 4),
            "lexical": round(float(found.lexical[rank]), 4),
            "score": round(float(found.scores[rank]), 4),
            **({"trust": trust} if (trust := found.trusts[rank]) else {}),
            **({"page": page} if (page := found.page_of(rank, int(found.starts[rank]))) else {}),
        }
        for rank in range(len(found))
    ]


def _own_head(folder: Path) -> dict[str, str]:
    """What `retro train head --index` left beside the index, if anything; read as plain data."""
    file = folder / "confidence" / "about.json"
    if not file.is_file():
        return {}
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return {"confidence": f"own head, {told['num_questions']:,} questions, {told['created']}"}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: not readable ({error!r}); make it again with: "
            f"retro train head --index {folder}"
        ) from error


def _facts(manifest: Any) -> dict[str, Any]:
    sizes = sum(record.size for record in manifest.files.values())
    return {
        "documents": manifest.num_documents,
        "chunks": manifest.num_chunks,
        "tokens": manifest.num_tokens,
        "removed": len(manifest.removed),
        "bytes": sizes,
        "chunk_size": manifest.chunk_size,
        "embedder": f"{manifest.embedder} ({manifest.embedder_sha256[:16]})",
        "tokenizer": f"{manifest.tokenizer} ({manifest.tokenizer_sha256[:16]})",
        "store": manifest.store or "faiss",
        "faiss_type": manifest.faiss_type,
        "num_probes": manifest.num_probes,
        "recall_at_10": manifest.recall_at_10,
        "built": manifest.built,
        "version": manifest.version,
    }


def _unfinished(folder: Path) -> str:
    """What is being written to the folder, or was when it was interrupted."""
    from index.folder import Work

    work = Work.found(folder)
    return f"{work.request['operation']} of {work.built}" if work else "nothing"
