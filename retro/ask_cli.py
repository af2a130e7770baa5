"""``retro ask``: one question in words, or a file of them as JSON lines; loads the model late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from index.errors import UserError
from index.options import OfTrust, Since, Source, Until, where_of
from retro.shipped import NUM_SAMPLES
from retro.types import PROMISE_VOID, REASONS, Answer, Evidence

if TYPE_CHECKING:
    from retro.answer import Answerer

app = typer.Typer()

Index = Annotated[Path, typer.Option(help="Folder of the index to answer from.")]
Question = Annotated[str | None, typer.Argument(help="The question.")]
Questions = Annotated[
    Path | None,
    typer.Option(help="JSON lines with a question each (and an id and a candidate, if you like)."),
]
Candidate = Annotated[
    str | None, typer.Option(help="An answer from elsewhere: judge it instead of looking for one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one line an answer.")]
Checkpoint = Annotated[str | None, typer.Option(help="The model; default: the shipped one.")]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="Answer from this confidence up.")
]
Neighbours = Annotated[int, typer.Option("-k", min=1, max=100, help="Passages to read.")]
Samples = Annotated[int, typer.Option(min=0, max=256, help="Monte-Carlo dropout samples.")]

BATCH = 32
SHOWN = 3
"""Passages shown under an answer in words."""

SHOWN_WIDTH = 120
"""Characters of a passage shown before and behind the answer, up to the next whole word."""


@app.command()
def ask(
    index: Index,
    question: Question = None,
    questions: Questions = None,
    candidate: Candidate = None,
    as_json: AsJson = False,
    checkpoint: Checkpoint = None,
    threshold: Threshold = None,
    k: Neighbours = 8,
    samples: Samples = NUM_SAMPLES,
    source: Source = None,
    trust: OfTrust = None,
    since: Since = "",
    until: Until = "",
) -> None:
    """Answer from the database, with the evidence, or say that the answer is not there."""
    if (question is None) == (questions is None):
        raise UserError("give one question, or --questions FILE, not both and not neither")
    if question is not None and not question.strip():
        raise UserError("the question is empty; ask something")
    if candidate is not None and question is None:
        raise UserError("--candidate goes with one question; in a file it is a row's 'candidate'")
    if questions is not None and not questions.is_file():
        raise UserError(f"{questions}: no such file; check --questions")
    from retro.answer import Answerer

    where = where_of(source, trust, since, until)
    answerer = Answerer.open(
        index, checkpoint, threshold=threshold, num_samples=samples, where=where
    )
    if question is not None:
        given = None if candidate is None else [candidate]
        [answer] = answerer.answer_batch([question], k=k, candidates=given)
        print(_printable(_json(answer.to_dict()) if as_json else in_words(answer)))
        return
    assert questions is not None
    for row in answer_file(answerer, questions, k):
        print(_printable(_json(row) if as_json else _line(row)), flush=True)


@dataclass(frozen=True)
class _Row:
    """One line of a questions file: a question, or what is wrong with the line. ``candidate``: an
    answer to judge."""

    id: Any
    question: str
    error: str | None
    candidate: str | None = None


def answer_file(answerer: Answerer, path: Path, k: int) -> Iterator[dict[str, Any]]:
    """One dict a line of the file, in order; a line that cannot be answered gives ``error``."""
    batch: list[_Row] = []
    for row in _rows(path):
        batch.append(row)
        if len(batch) == BATCH:
            yield from _answered(answerer, batch, k)
            batch = []
    yield from _answered(answerer, batch, k)


def _rows(path: Path) -> Iterator[_Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _row(number, line)


def _row(number: int, line: bytes) -> _Row:
    try:
        data = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return _Row(None, "", f"line {number}: not JSON")
    if not isinstance(data, dict):
        return _Row(None, "", f"line {number}: not a JSON object")
    question, name = data.get("question"), data.get("id")
    if not isinstance(question, str) or not question.strip():
        return _Row(name, "", f"line {number}: no question")
    candidate = data.get("candidate")
    if candidate is not None and (not isinstance(candidate, str) or not candidate.strip()):
        return _Row(name, question, f"line {number}: the candidate is no answer; leave it out")
    return _Row(name, question, None, candidate)


def _answered(answerer: Answerer, batch: list[_Row], k: int) -> Iterator[dict[str, Any]]:
    judged = [row for row in batch if row.error is None and row.candidate is not None]
    asked = [row for row in batch if row.error is None and row.candidate is None]
    verdicts, answers = (iter(_answers(answerer, rows, k)) for rows in (judged, asked))
    for row in batch:
        if row.error is not None:
            yield _failed(row, row.error)
        else:
            yield next(answers if row.candidate is None else verdicts)


def _answers(answerer: Answerer, rows: list[_Row], k: int) -> list[dict[str, Any]]:
    """All at once, with a candidate each or none with one; should that fail, one by one, so that
    one bad row costs only itself."""
    ids, questions = [row.id for row in rows], [row.question for row in rows]
    candidates = [row.candidate for row in rows if row.candidate is not None] or None
    try:
        found = answerer.answer_batch(questions, ids=ids, k=k, candidates=candidates)
        return [answer.to_dict() for answer in found]
    except Exception as error:
        if len(rows) == 1:
            return [_failed(rows[0], f"{type(error).__name__}: {error}")]
        return [one for row in rows for one in _answers(answerer, [row], k)]


def _failed(row: _Row, error: str | None) -> dict[str, Any]:
    return {"id": row.id, "question": row.question, "error": error}


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _printable(text: str) -> str:
    """Half a surrogate pair, which JSON can hold and UTF-8 can't, as JSON escapes it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        cells = [row["question"], f"[{row['error']}]"]
    else:
        shown = row["answer"] if row["answer"] is not None else f"[not found: {row['reason']}]"
        cells = [row["question"], shown, f"{row['confidence']:.2f}"]
    return "\t".join(" ".join(cell.split()) for cell in cells)


def in_words(answer: Answer) -> str:
    """An answer for a person at a terminal."""
    if answer.reason is not None:
        head = answer.disagreement() or (
            f"I can't find this in the database: {REASONS[answer.reason]}."
        )
        near = "Nearest passages:"
    else:
        head, near = str(answer.answer), "Evidence:"
    lines = [head, f"confidence {answer.confidence:.2f}"]
    if answer.promise is not None:
        lines[-1] += f"; {answer.promise}"
    elif answer.promise_void:
        lines[-1] += f"; {PROMISE_VOID}"
    if way := answer.way():
        lines.append(way)
    lines += answer.wording()
    if answer.suggestion:
        lines.append(f"Did you mean: {answer.suggestion}")
    if answer.evidence:
        first, *others = answer.evidence[:SHOWN]
        answered = answer.reason is None
        whole = len(first.text) if answered else SHOWN_WIDTH  # the proof may stand sentences away
        lines += ["", near, _passage(first, answer.points_at(first), whole)]
        lines += [_passage(e, answer.points_at(e)) for e in others]
    return "\n".join(lines)


def _passage(evidence: Evidence, mark: bool, width: int = SHOWN_WIDTH) -> str:
    """Title and ``width`` characters of words on both sides of the place to ``mark``, in
    [brackets]; else the first words."""
    text = evidence.text
    start = end = 0
    if mark:
        start, end = (x - evidence.window_start for x in (evidence.start, evidence.end))
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
        end += 2
    begin = text.rfind(" ", 0, max(0, start - width)) + 1  # whole words
    stop = text.find(" ", end + width)
    shown = " ".join(text[begin : None if stop < 0 else stop].split())
    cut = ["…" if begin or evidence.window_start else "", "…" if stop >= 0 else ""]
    return f"  {evidence.title} ({evidence.place}): {cut[0]}{shown}{cut[1]}"
