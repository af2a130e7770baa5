"""``retro certify``: asks questions with known answers and stores what can be promised."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from index.errors import UserError
from retro.shipped import NUM_SAMPLES

app = typer.Typer()

Index = Annotated[Path, typer.Option(help="Folder of the index to certify.")]
Questions = Annotated[
    Path,
    typer.Option(help="JSON lines with question and answers (none: not in the database)."),
]
Risk = Annotated[float, typer.Option(help="Largest share of wrong answers, between 0 and 1.")]
Delta = Annotated[float, typer.Option(help="Largest chance that the promise is false.")]
Checkpoint = Annotated[str | None, typer.Option(help="The model; default: the shipped one.")]
Neighbours = Annotated[int, typer.Option("-k", min=1, max=100, help="Passages to read.")]
Samples = Annotated[int, typer.Option(min=0, max=256, help="Monte-Carlo dropout samples.")]

BATCH = 32


@app.command()
def certify(
    index: Index,
    questions: Questions,
    risk: Risk = 0.05,
    delta: Delta = 0.05,
    checkpoint: Checkpoint = None,
    k: Neighbours = 8,
    samples: Samples = NUM_SAMPLES,
) -> None:
    """Find the threshold from which at most RISK of the answers are wrong, sure to 1 - DELTA.

    The questions must be like those that will be asked, and none that the model or its head was
    fitted on. An answer counts as right from a word overlap F1 of one half.
    """
    for name, value in (("risk", risk), ("delta", delta)):
        if not 0 < value < 1:
            raise UserError(f"--{name} {value:g}: give a share between 0 and 1, such as 0.05")
    from retro import certificate, drift
    from retro.answer import Answerer
    from retro.examples import read_jsonl
    from retro.text import RIGHT_F1, f1
    from retro.types import Promise

    rows = list(read_jsonl(questions))
    if not rows:
        raise UserError(f"{questions}: no questions in it; give one JSON object a line")
    answerer = Answerer.open(index, checkpoint, num_samples=samples)
    confidences: list[float] = []
    right: list[bool] = []
    seen: dict[str, list[float]] = {name: [] for name in drift.SIGNALS}
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        for row, answer in zip(
            part, answerer.answer_batch([row["question"] for row in part], k=k), strict=True
        ):
            confidences.append(
                certificate.offered(answer.candidate, answer.reason, answer.confidence)
            )
            answers = [a for a in row.get("answers") or () if a.strip()]
            right.append(f1(answer.candidate, answers) >= RIGHT_F1)
            for name, value in drift.watched(answer.signals, answer.confidence).items():
                seen[name].append(value)
        typer.echo(f"\r{start + len(part):,}/{len(rows):,} questions", nl=False, err=True)
    typer.echo(err=True)
    (index / certificate.FILE).unlink(missing_ok=True)
    found = certificate.certify(confidences, right, risk, delta)
    if found is None:
        raise UserError(
            f"no threshold proves that {Promise(risk, delta)} on these {len(rows):,} questions "
            f"(at least {certificate.fewest(risk, delta)} answers without "
            "error are needed); give more questions, or a larger --risk or --delta"
        )
    made = certificate.Certificate(
        risk=risk,
        delta=delta,
        num_questions=len(rows),
        **found._asdict(),
        index=answerer.retriever.manifest.fingerprint,
        model=answerer.fingerprint,
        k=k,
        samples=samples,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        calibration={name: sorted(values) for name, values in seen.items()},
    )
    made.save(index)
    typer.echo(
        f"From confidence {made.threshold:.2f} up, {Promise(risk, delta)}, for questions like "
        "these.\n"
        f"Answered {made.num_answered:,} of {made.num_questions:,}, {made.num_wrong:,} wrong. "
        f"Written to {index / certificate.FILE}."
    )
