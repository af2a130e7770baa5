"""``retro train …``: reading, answering, text, the confidence head; knows options, loads late."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from index.errors import UserError

app = typer.Typer(help="Train the model and its confidence head.")

Index = Annotated[Path, typer.Option(help="Index whose documents hold the questions' passages.")]
Data = Annotated[
    list[Path], typer.Option(help="Questions: JSON lines with question, context, answers.")
]
Out = Annotated[Path, typer.Option(help="Checkpoint folder; a run that was cut off goes on there.")]
Start = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoint to start from, 'shipped': the one that comes with the package; default: "
        "base and encoder alone."
    ),
]
Stage = Annotated[str, typer.Option(help="reader (encoder and spans) or answer (decoder).")]
Searched = Annotated[
    bool, typer.Option("--searched/--given", help="Distractors: searched, or of the same title.")
]
Mixture = Annotated[
    list[str],
    typer.Option(
        metavar="FILE[:N]",
        help="What `retro train prepare` wrote; several are joined, one with :N counts N times.",
    ),
]
HoldOut = Annotated[
    int, typer.Option(min=0, help="Titles kept out of training, for the confidence head.")
]

BaseDecoder = Annotated[
    Literal["frozen", "lora", "full"],
    typer.Option(help="How the base decoder learns: not, by adapters, whole."),
]
Decoder = Annotated[
    str | None,
    typer.Option(
        help="Name, folder or hub id of the decoder to RETROfit; default: the one whose tokens the "
        "index holds (retro index build --tokenizer)."
    ),
]
Encoder = Annotated[str, typer.Option(help="Neighbour encoder to tokenise for.")]
Seed = Annotated[int, typer.Option(help="Which questions.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; default: torch's own.")]


def _use(threads: int | None) -> None:
    """Sets how many threads torch takes, if a number is given."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def _checkpoint(start: Path | None) -> Path | None:
    """The folder that ``--start`` names."""
    from retro.shipped import DEFAULT_CHECKPOINT

    shipped = start == Path("shipped") and not start.exists()
    return DEFAULT_CHECKPOINT if shipped else start


@app.command()
def prepare(
    index: Index,
    data: Data,
    out: Annotated[Path, typer.Option(help="The file to write (.npz).")],
    searched: Searched = False,
    hold_out: HoldOut = 40,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions to keep.")] = None,
    seed: Annotated[int, typer.Option(help="Which questions are kept.")] = 11,
    decoder: Decoder = None,
    encoder: Encoder = "minilm",
) -> None:
    """Tokenise passages and questions, search distractors, and write one training file.

    A file given twice with --data counts twice.
    """
    from retro.train_setup import prepare as work

    work(
        index,
        data,
        out,
        searched=searched,
        hold_out=hold_out,
        limit=limit,
        seed=seed,
        decoder=decoder,
        encoder=encoder,
    )


@app.command()
def distant(
    index: Annotated[Path, typer.Option(help="Index to look for the passages in.")],
    data: Annotated[list[Path], typer.Option(help="Questions: JSON lines with question, answers.")],
    out: Annotated[Path, typer.Option(help="JSON lines to write: question, context, answers.")],
    depth: Annotated[int, typer.Option(min=1, help="Passages looked at for an answer.")] = 4,
    longest: Annotated[
        int, typer.Option(min=0, help="Characters of the longest document taken; 0: any.")
    ] = 0,
    words: Annotated[
        float,
        typer.Option(min=0, max=1, help="Least share of its words in a passage, with all names."),
    ] = 0.0,
) -> None:
    """Find passages for questions that come without: those that hold an answer's words."""
    from retro.distant import Wanted, find_passages

    find_passages(index, data, out, Wanted(depth, longest, words))


@app.command()
def alter(
    data: Annotated[
        list[Path], typer.Option(help="Questions: JSON lines with question, context, answers.")
    ],
    out: Annotated[Path, typer.Option(help="JSON lines to write: question, context.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Questions to write.")] = None,
    seed: Annotated[int, typer.Option(help="Which questions, and what is exchanged.")] = 11,
    way: Annotated[
        list[str] | None,
        typer.Option(help="name, number, opposite, negated or turned; default: all of them."),
    ] = None,
) -> None:
    """Make questions that their passage does not answer, by a name, a number or a word."""
    from retro.altered import SHARES, write_altered

    write_altered(data, out, limit=limit, seed=seed, ways=way or tuple(SHARES))


@app.command()
def hops(
    data: Annotated[
        list[Path],
        typer.Option(help="Questions that need two passages: both in context, “Paragraph 1: ” …"),
    ],
    single: Annotated[
        list[Path], typer.Option(help="Questions that one passage, their context, answers.")
    ],
    out: Annotated[Path, typer.Option(help="JSON lines to write: question, context, answers.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of --data to use.")] = None,
    seed: Seed = 11,
) -> None:
    """Make rows that teach to find the name that leads from one passage to the next."""
    from retro.hops import write_hops

    write_hops(data, single, out, limit=limit, seed=seed)


@app.command()
def qa(
    prepared: Mixture,
    out: Out,
    start: Start = None,
    stage: Stage = "reader",
    steps: Annotated[int, typer.Option(min=1, help="Updates.")] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions an update.")] = 16,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours a question.")] = 2,
    removed: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of questions without their passage.")
    ] = 0.12,
    first_layer: Annotated[
        int, typer.Option(min=0, help="Lowest encoder layer that the reader stage trains.")
    ] = 0,
    encoder_layers: Annotated[
        int | None, typer.Option(min=1, help="Without --start: encoder layers kept; default: all.")
    ] = None,
    encoder_lora: Annotated[
        int, typer.Option(min=0, help="Without --start: rank of adapters that learn in its place.")
    ] = 0,
    base: BaseDecoder = "frozen",
    context_neighbours: Annotated[
        int | None,
        typer.Option(
            min=0, max=4, help="Likeliest neighbours in the decoder's own context too (RETRO++)."
        ),
    ] = None,
    lr: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 2e-4,
    seed: Annotated[int, typer.Option(help="Order, draws and dropout.")] = 11,
    threads: Threads = None,
) -> None:
    """Train to answer questions from passages: on a GPU if there is one, else on the CPU."""
    from retro.prepared import Prepared
    from retro.train_qa import TrainConfig
    from retro.train_setup import run_qa

    warmup = min(100, steps // 10 + 1)
    config = TrainConfig(
        stage=stage,
        steps=steps,
        batch_size=batch_size,
        num_neighbours=k,
        removed=removed,
        first_layer=first_layer,
        encoder_layers=encoder_layers,
        encoder_lora=encoder_lora,
        base=base,
        context_neighbours=context_neighbours,
        lr=lr,
        warmup=warmup,
        seed=seed,
    )
    data = Prepared.mixture(prepared)
    run_qa(config, data, out, _checkpoint(start), threads)


@app.command()
def posterior(
    prepared: Mixture,
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint whose encoder is used.")],
    out: Annotated[Path, typer.Option(help="The file to write (.safetensors).")],
    kind: Annotated[
        Literal["laplace", "ensemble"],
        typer.Option(help="A Gaussian around the span reader's weights, or several readers."),
    ] = "laplace",
    steps: Annotated[int, typer.Option(min=1, help="Batches of 16 questions.")] = 200,
    members: Annotated[int, typer.Option(min=2, help="Readers of an ensemble.")] = 4,
    seed: Annotated[int, typer.Option(help="Order and draws.")] = 11,
    threads: Threads = None,
) -> None:
    """Fit what `retro eval dropout` compares Monte-Carlo dropout with."""
    from retro.prepared import Prepared
    from retro.train_setup import fit_posterior

    data = Prepared.mixture(prepared)
    fit_posterior(
        kind,
        data,
        checkpoint,
        out,
        steps=steps,
        num_members=members,
        seed=seed,
        threads=threads,
    )


@app.command("prepare-text")
def prepare_text(
    index: Index,
    out: Annotated[Path, typer.Option(help="The file to write (.npz).")],
    chunks: Annotated[int, typer.Option(min=2, help="Chunks of a sequence.")] = 4,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours a chunk.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Sequences to keep.")] = None,
    seed: Annotated[int, typer.Option(help="Which sequences, and which documents to hold.")] = 11,
    decoder: Decoder = None,
    encoder: Encoder = "minilm",
) -> None:
    """Cut an index's documents into sequences and find every chunk's neighbours elsewhere."""
    from retro.train_setup import prepare_sequences

    prepare_sequences(
        index,
        out,
        num_chunks=chunks,
        num_neighbours=k,
        limit=limit,
        seed=seed,
        decoder=decoder,
        encoder=encoder,
    )


@app.command()
def lm(
    prepared: Annotated[Path, typer.Option(help="What `retro train prepare-text` wrote.")],
    out: Out,
    start: Start = None,
    steps: Annotated[int, typer.Option(min=1, help="Updates.")] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences an update.")] = 8,
    noise: Annotated[
        float, typer.Option(min=0, max=1, help="Chance that a neighbour is a random one.")
    ] = 0.1,
    pointer: Annotated[
        bool, typer.Option("--pointer/--no-pointer", help="Whether it gets one, to copy text by.")
    ] = True,
    cross_attention: Annotated[
        bool,
        typer.Option("--cross-attention/--no-cross-attention", help="Whether it learns too."),
    ] = True,
    encoder: Annotated[
        bool, typer.Option("--encoder/--no-encoder", help="Whether the encoder learns too.")
    ] = False,
    base: BaseDecoder = "frozen",
    lr: Annotated[
        float | None,
        typer.Option(min=0, help="Highest learning rate; default 1e-3, lora 3e-4, full 5e-5."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Order, noise and dropout.")] = 11,
    threads: Threads = None,
) -> None:
    """Train to continue text with neighbours; reports bits per byte: retrieval off, on, random."""
    from retro.text_data import TextSet
    from retro.train_lm import TextRecipe
    from retro.train_setup import run_text

    recipe = TextRecipe(
        steps=steps,
        batch_size=batch_size,
        lr={"frozen": 1e-3, "lora": 3e-4, "full": 5e-5}[base] if lr is None else lr,
        warmup=min(100, steps // 10 + 1),
        seed=seed,
        noise=noise,
        pointer=pointer,
        cross_attention=cross_attention,
        encoder=encoder,
        base=base,
    )
    run_text(recipe, TextSet.load(prepared), out, _checkpoint(start), threads)


@app.command()
def average(
    checkpoints: Annotated[list[Path], typer.Argument(help="Folders of two or more checkpoints.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint made of them.")],
) -> None:
    """Average the weights of checkpoints that were trained on from the same one."""
    from retro.averaging import average as run

    run(checkpoints, out)
    typer.echo(f"{out}: fit search's weight and the head again: retro train prior, signals, head")


@app.command()
def prior(
    index: Index,
    data: Data,
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint; the weight is written there.")],
    limit: Annotated[int, typer.Option(min=10, help="Questions to ask.")] = 200,
    hold_out: HoldOut = 40,
    seed: Seed = 11,
    threads: Threads = None,
) -> None:
    """Fit how much search counts when the answers of several passages are weighed."""
    from retro.train_prior import fit_prior

    _use(threads)
    fit_prior(index, data, checkpoint, limit=limit, hold_out=hold_out, seed=seed)


@app.command()
def ranker(
    index: Index,
    data: Data,
    out: Annotated[Path, typer.Option(help="File to write; a checkpoint's is its ranker.json.")],
    limit: Annotated[int, typer.Option(min=10, help="Questions of each file.")] = 16000,
    hold_out: HoldOut = 40,
    seed: Seed = 11,
    threads: Threads = None,
) -> None:
    """Fit which of the passages that search finds are read; a question's passage, where its row
    has one, must be in the index."""
    from retro.train_ranker import fit

    _use(threads)
    fit(index, data, out, limit=limit, hold_out=hold_out, seed=seed)


@app.command()
def signals(
    index: Index,
    data: Data,
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint whose answers are looked at.")],
    out: Annotated[Path, typer.Option(help="JSON lines to write; a run cut off goes on there.")],
    limit: Annotated[int, typer.Option(min=10, help="Questions, each under 3 conditions.")] = 500,
    hold_out: HoldOut = 40,
    seed: Seed = 11,
    threads: Threads = None,
) -> None:
    """Ask questions with and without their passage in the database, and keep the signals.

    A question without a `context` is asked once, of whatever the database holds; its facts count as
    there where a passage found holds one of its `answers`.

    With --hold-out N only questions of the N titles that `retro train qa` left out are used;
    0 uses all (then give questions that the model was not trained on).
    """
    from retro.train_head import collect

    _use(threads)
    collect(index, data, checkpoint, out, limit=limit, hold_out=hold_out, seed=seed)


@app.command()
def head(
    rows: Annotated[
        list[Path] | None, typer.Option(help="Files that `retro train signals` wrote.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint; with --rows, head and policy go there.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Index to make questions from; head and policy go there.")
    ] = None,
    limit: Annotated[int, typer.Option(min=20, help="With --index: questions to make.")] = 300,
    seed: Annotated[int, typer.Option(help="Folds of the cross-validation; questions.")] = 0,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --rows: answer from here; default: the best."),
    ] = None,
    chain_below: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="With --rows: a question with less confidence is asked again through a second "
            "fact, for a reader that learned `retro train hops`; 0: none; default: as it is.",
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Fit the confidence head and the abstention threshold.

    With --rows on collected signals, for a checkpoint. With --index on questions made from its own
    documents, for that index: they are kept beside it and used from then on.
    """
    if (rows is None) == (index is None) or (rows is not None and checkpoint is None):
        raise UserError("give --rows with --checkpoint, or --index, not both and not neither")
    if rows is not None and checkpoint is not None:
        from retro.train_head import fit, known_policy

        policy = known_policy(checkpoint)
        if chain_below is not None:
            policy = replace(policy, chain_below=chain_below)
        fit(rows, checkpoint, seed, threshold, policy)
        return
    from retro.own_head import refit
    from retro.shipped import DEFAULT_CHECKPOINT

    _use(threads)
    assert index is not None
    refit(index, checkpoint or DEFAULT_CHECKPOINT, limit=limit, seed=seed)
