"""The ``retro eval`` commands: options and the order of things; the measuring is elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from index.disk import claim
from index.errors import UserError

if TYPE_CHECKING:
    from eval.questions import Question
    from eval.report import Report
    from retro.answer import Answerer

app = typer.Typer(help="Measure answers, abstention and calibration.", no_args_is_help=True)

Index = Annotated[Path, typer.Option("--index", help="Folder of the index.")]
Data = Annotated[Path, typer.Option("--data", help="Questions, JSON lines (.gz, .xz too).")]
Out = Annotated[Path, typer.Option("--out", help="Folder for report.json, report.md and plots.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Ask only so many, drawn by --seed.")]
Seed = Annotated[int, typer.Option(help="Draws the questions and the bootstrap.")]
K = Annotated[int, typer.Option("--k", "-k", min=1, help="Neighbours for each question.")]
Batch = Annotated[int, typer.Option("--batch-size", min=1, help="Questions answered together.")]
Checkpoint = Annotated[str | None, typer.Option(help="The model; default: the shipped one.")]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="Confidence to answer from; default: stored.")
]
Resamples = Annotated[int, typer.Option(min=1, help="Bootstrap draws for each interval.")]


@app.command()
def abstention(
    index: Index,
    data: Data,
    out: Out,
    limit: Limit = None,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
    resamples: Resamples = 500,
) -> None:
    """Ask each question with and without its passage; does the confidence know?"""
    from eval.abstention import run

    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, threshold)
    report = run(
        answerer,
        questions,
        out,
        k=k,
        batch_size=batch_size,
        seed=seed,
        num_resamples=resamples,
    )
    _finish(report, out, data, answerer, num_asked=len(questions), seed=seed, k=k)


@app.command()
def reading(
    index: Index,
    data: Data,
    out: Out,
    limit: Limit = None,
    seed: Seed = 0,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
) -> None:
    """Give each question its own passage; EM and F1, with abstention as the empty answer."""
    from eval.reading import run_reading

    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, threshold)
    report = run_reading(answerer, questions, out, batch_size=batch_size, seed=seed)
    _finish(report, out, data, answerer, num_asked=len(questions), seed=seed)


@app.command("open")
def open_(
    index: Index,
    data: Data,
    out: Out,
    limit: Limit = None,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
) -> None:
    """Retrieve passages for each question; EM, F1 and recall of the passage."""
    from eval.reading import run_open

    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, threshold)
    report = run_open(answerer, questions, out, k=k, batch_size=batch_size, seed=seed)
    _finish(report, out, data, answerer, num_asked=len(questions), seed=seed, k=k)


@app.command()
def demo(
    index: Index,
    data: Data,
    out: Out,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
) -> None:
    """The bundled questions: answerable ones right, near misses and far ones declined."""
    from eval.demo import run

    questions, answerer = _prepare(index, data, out, None, 0, checkpoint, threshold)
    report = run(answerer, questions, out, k=k, batch_size=batch_size)
    _finish(report, out, data, answerer, num_asked=len(questions), k=k)


@app.command()
def reasons(
    index: Index,
    data: Data,
    out: Out,
    limit: Limit = None,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
) -> None:
    """Take facts away, contradict them, put wrong answers forward: is the reason the right one?"""
    from eval.questions import read_questions
    from eval.reasons import run

    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, threshold)
    pool = read_questions(data)
    report = run(answerer, questions, out, pool=pool, k=k, batch_size=batch_size, seed=seed)
    _finish(report, out, data, answerer, num_asked=len(questions), seed=seed, k=k)


@app.command()
def invented(
    index: Index,
    data: Data,
    out: Out,
    selfaware: Annotated[
        Path | None, typer.Option(help="SelfAware's rows, to be asked as well.")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
) -> None:
    """Ask about names that do not exist, and the same questions with real ones."""
    from eval.invented import run
    from eval.questions import read_questions, sample

    others = sample(read_questions(selfaware), limit, seed) if selfaware else []
    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, threshold)
    report = run(answerer, questions, out, others=others, k=k, batch_size=batch_size, seed=seed)
    _finish(report, out, data, answerer, num_asked=len(questions), seed=seed, k=k)


@app.command()
def lm(
    data: Annotated[Path, typer.Option("--data", help="What `retro train prepare-text` wrote.")],
    out: Out,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure only so many sequences.")
    ] = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = None,
    resamples: Resamples = 500,
) -> None:
    """Bits per byte of held-out text: retrieval off, on, and with random neighbours."""
    from eval.lm import run
    from eval.report import origin
    from retro.retrofit import load
    from retro.shipped import DEFAULT_CHECKPOINT
    from retro.text_data import TextSet
    from retro.train_lm import Text

    text_set = TextSet.load(data)
    claim(out)
    text = Text.of(load(checkpoint or DEFAULT_CHECKPOINT), text_set)
    report = run(text, limit, seed=seed, num_resamples=resamples)
    source = origin(data, None, seed=seed, checkpoint=checkpoint or "shipped")
    _save(report, out, source)


@app.command()
def copying(
    index: Index,
    out: Out,
    prompts: Annotated[int, typer.Option(min=1, help="Documents whose beginnings go on.")] = 20,
    chunks: Annotated[int, typer.Option(min=1, help="Chunks to write for each.")] = 2,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Neighbours of a chunk.")] = 2,
    seed: Seed = 0,
    checkpoint: Checkpoint = None,
) -> None:
    """Write text with retrieval on and off; how much stands word for word in the database?"""
    from eval.memorisation import run
    from eval.report import origin
    from index.retriever import Retriever
    from retro.generation import Generator
    from retro.retrofit import load
    from retro.shipped import DEFAULT_CHECKPOINT

    claim(out)
    retriever = Retriever.open(index)
    generator = Generator.of(load(checkpoint or DEFAULT_CHECKPOINT), retriever)
    report = run(generator, num_prompts=prompts, num_chunks=chunks, k=k, seed=seed)
    source = origin(index, retriever.manifest, seed=seed, k=k, checkpoint=checkpoint or "shipped")
    _save(report, out, source)


@app.command()
def gains(
    signals: Annotated[
        list[Path], typer.Option("--signals", help="What `retro train signals` wrote; several too.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for report.json and report.md.")],
    seed: Annotated[int, typer.Option(help="Draws the folds and the bootstrap.")] = 0,
    resamples: Resamples = 500,
) -> None:
    """Fit the head without each kind of signal: what does the kind add?"""
    from eval.gains import run
    from eval.report import origin

    claim(out)
    report = run(signals, seed=seed, num_resamples=resamples)
    source = origin(signals[0], None, num_files=len(signals), seed=seed)
    _save(report, out, source)


@app.command()
def paraphrases(
    index: Index,
    data: Data,
    out: Out,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
    resamples: Resamples = 500,
) -> None:
    """Ask one question in several wordings (rows of one title): is it answered alike?"""
    from eval.paraphrases import run

    questions, answerer = _prepare(index, data, out, None, seed, checkpoint, threshold)
    report = run(
        answerer, questions, out, k=k, batch_size=batch_size, seed=seed, num_resamples=resamples
    )
    _finish(report, out, data, answerer, num_asked=len(questions), seed=seed, k=k)


@app.command()
def hops(
    index: Index,
    data: Data,
    out: Out,
    limit: Limit = None,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
    resamples: Resamples = 500,
) -> None:
    """Ask what needs two passages, with both there and with one gone; in one step and in two."""
    from eval.hops import run

    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, threshold)
    report = run(
        answerer, questions, out, k=k, batch_size=batch_size, seed=seed, num_resamples=resamples
    )
    _finish(report, out, data, answerer, num_asked=report.figures["num"], seed=seed, k=k)


@app.command()
def ablations(
    index: Index,
    data: Data,
    out: Out,
    limit: Limit = None,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Asked together.")] = 8,
    checkpoint: Checkpoint = None,
    decoder: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint whose decoder was trained otherwise; several too."),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="neighbours, read, written by or trained; several too; default: all."),
    ] = None,
    resamples: Resamples = 500,
) -> None:
    """Change one part at a time: the neighbours, who writes the answer, how it was trained."""
    from eval.ablations import PARTS, run
    from retro.answer import Answerer

    if unknown := set(part or ()).difference(PARTS):
        raise UserError(f"--part {min(unknown)}: choose of {', '.join(PARTS)}")
    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, None)
    report = run(
        answerer,
        questions,
        others={
            str(one): Answerer.open(index, one, num_samples=0, calibrated=False)
            for one in decoder or ()
        },
        parts=part or PARTS,
        k=k,
        batch_size=batch_size,
        seed=seed,
        num_resamples=resamples,
    )
    num = report.figures["num"]
    _finish(report, out, data, answerer, (), num_asked=num, seed=seed, k=k)


@app.command()
def dropout(
    index: Index,
    data: Data,
    out: Out,
    samples: Annotated[
        list[int], typer.Option(min=1, max=256, help="Numbers of samples; several too.")
    ] = [1, 2, 4, 8, 16, 32],  # noqa: B006
    laplace: Annotated[
        Path | None, typer.Option(help="A Laplace posterior, to compare (`retro train posterior`).")
    ] = None,
    ensemble: Annotated[
        Path | None, typer.Option(help="An ensemble of readers, to compare; from there too.")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    k: K = 8,
    batch_size: Batch = 16,
    checkpoint: Checkpoint = None,
    resamples: Resamples = 500,
) -> None:
    """Ask with more and more Monte-Carlo dropout samples: what do they tell, and cost?"""
    from eval.dropout import Way, run
    from retro.sampling import Ensemble, Laplace, load_members

    questions, answerer = _prepare(index, data, out, limit, seed, checkpoint, None)
    ways, model = [Way("dropout", num) for num in samples], answerer.drafter.model
    if laplace is not None:
        gaussian = Laplace(model, load_members(laplace, model)[0])
        ways.append(Way("laplace", max(samples), gaussian))
    if ensemble is not None:
        members = load_members(ensemble, model)
        ways.append(Way("ensemble", len(members), Ensemble(model, members)))
    report = run(
        answerer,
        questions,
        ways,
        k=k,
        batch_size=batch_size,
        seed=seed,
        num_resamples=resamples,
    )
    _finish(report, out, data, answerer, (), num_asked=len(questions), seed=seed, k=k)


@app.command()
def certificate(
    predictions: Annotated[
        Path, typer.Option(help="predictions.jsonl of `retro eval abstention`.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for report.json and report.md.")],
    risk: Annotated[
        list[float], typer.Option(help="Shares of wrong answers to promise; several too.")
    ] = [0.05, 0.1, 0.2],  # noqa: B006
    delta: Annotated[float, typer.Option(help="Largest chance that a promise is false.")] = 0.05,
    splits: Annotated[int, typer.Option(min=1, help="Times that the questions are split.")] = 1000,
    seed: Annotated[int, typer.Option(help="Draws splits and conditions.")] = 0,
) -> None:
    """Certify on one part of the questions, count on the other: is what is promised kept?"""
    from eval.promise import run
    from eval.report import origin

    for share in (*risk, delta):
        if not 0 < share < 1:
            raise UserError(f"--risk, --delta {share:g}: give shares between 0 and 1, like 0.05")
    claim(out)
    report = run(predictions, risks=risk, delta=delta, num_splits=splits, seed=seed)
    _save(report, out, origin(predictions, None, seed=seed))


def _prepare(
    index: Path,
    data: Path,
    out: Path,
    limit: int | None,
    seed: int,
    checkpoint: str | None,
    threshold: float | None,
) -> tuple[list[Question], Answerer]:
    """The questions and the answerer; what fails fast comes first."""
    from eval.questions import read_questions, sample

    questions = sample(read_questions(data), limit, seed)
    claim(out)
    from retro.answer import Answerer

    return questions, Answerer.open(index, checkpoint, threshold=threshold)


def _finish(
    report: Report,
    out: Path,
    data: Path,
    answerer: Answerer,
    files: tuple[str, ...] = ("predictions.jsonl",),
    **settings: Any,
) -> None:
    from eval.report import origin

    _save(report, out, origin(data, answerer.retriever.manifest, **settings), *files)


def _save(report: Report, out: Path, source: dict[str, Any], *more: str) -> None:
    """Writes the report and shows it; ``more`` files were written beside it."""
    report.save(out, source)
    typer.echo(report.markdown(source))
    typer.echo(f"written: {out}/{', '.join(('report.json', 'report.md', *more))}")
