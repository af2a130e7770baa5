"""Fits the confidence head: every question with its passage, without it, and without its article;
and open questions as they are, whose answers alone are known.

Knows questions, an answerer and what right means; knows no signal by name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from index.disk import claim
from index.errors import UserError
from index.sources import Document
from retro.answer import HEAD, POLICY, Answerer
from retro.calibration import Floats
from retro.examples import read_jsonl
from retro.policy import AbstentionPolicy, choose_threshold
from retro.signals import CERTAINTY, DISCOUNTS, MODEL_SIGNALS, SIGNALS
from retro.text import contains_answer, exact_match, same_answer
from retro.train_setup import held_out_titles, present_documents
from retro.types import Answer
from retro.uncertainty import ConfidenceHead, fit_head

BATCH = 32

CASE = {"title", "answers", "candidate", "present", "signals"}
"""What is read of a collected case."""


@dataclass(frozen=True)
class Case:
    """One question under one condition. ``hidden``: documents taken away; ``held``: whether the
    supporting passage is still there, None where nobody has said which one that is."""

    question: str
    answers: tuple[str, ...]
    title: str
    hidden: frozenset[str]
    held: bool | None

    @property
    def open(self) -> bool:
        """Whether it is asked as people ask, of whatever the database holds."""
        return self.held is None


def collect(
    index: Path,
    data: Sequence[Path],
    checkpoint: Path,
    out: Path,
    *,
    limit: int,
    hold_out: int,
    seed: int,
) -> None:
    """Writes one JSON line a case: its title, the answers accepted, the candidate, whether its
    passage was there, and the signals. What counts as right is decided when they are read.

    Cases already in ``out`` are not asked again.
    """
    claim(out.parent)
    answerer = Answerer.open(index, checkpoint, calibrated=False)
    documents = present_documents(answerer.retriever)
    cases = make_cases(documents, data, limit=limit, hold_out=hold_out, seed=seed)
    done = whole_lines(out)
    with out.open("a", encoding="utf-8") as lines:
        for begin in range(done, len(cases), BATCH):
            part = cases[begin : begin + BATCH]
            answers = answerer.answer_batch(
                [case.question for case in part], exclude=[case.hidden for case in part]
            )
            rows = [_row(*pair) for pair in zip(part, answers, strict=True)]
            lines.writelines(json.dumps(row) + "\n" for row in rows)
            lines.flush()
            print(f"\r{begin + len(part):,}/{len(cases):,} cases", end="", flush=True)
    print()


def whole_lines(file: Path) -> int:
    """How many lines a file has, after a last one that a kill has torn is cut off."""
    if not file.is_file():
        return 0
    written = file.read_bytes()
    os.truncate(file, written.rfind(b"\n") + 1)
    return written.count(b"\n")


def _row(case: Case, answer: Answer) -> dict[str, Any]:
    told = {
        "title": case.title,
        "question": case.question,
        "answers": case.answers,
        "candidate": answer.candidate,
        "present": _found(case, answer) if case.open else case.held,
        "open": case.open,
    }
    signals = {n: value for n, value in answer.signals.items() if n not in DISCOUNTS}
    return {**told, "signals": signals}


def _found(case: Case, answer: Answer) -> bool:
    """Whether an open question's facts are there, as far as strings tell: it was answered rightly,
    or one of the passages found holds an accepted answer."""
    return same_answer(answer.candidate, case.answers) or any(
        contains_answer(one.text, case.answers) for one in answer.evidence
    )


def fit(
    files: Sequence[Path],
    out: Path,
    seed: int,
    threshold: float | None = None,
    policy: AbstentionPolicy | None = None,
) -> None:
    """Fits ``head.json`` and ``policy.json`` on collected cases; titles are never split, and the
    threshold, unless it is given, is chosen on confidences of cases that were not learned from.

    ``policy``: what the rest of the policy is; default: as it is in ``out``.

    Raises:
        UserError: a file holds no cases.
    """
    rows = evened(read_cases(files))
    head, unseen = _fitted(rows, seed)
    best = choose_threshold(list(unseen), [row["label"] for row in rows])
    policy = policy or known_policy(out)
    policy = replace(policy, threshold=best if threshold is None else threshold)
    head.save(out / HEAD)
    policy.save(out / POLICY)
    print(json.dumps({"threshold": policy.threshold, "best": best, **head.statistics}, indent=1))


def known_policy(folder: Path) -> AbstentionPolicy:
    """The policy of a folder, the default one where it has none yet."""
    file = folder / POLICY
    return AbstentionPolicy.load(file) if file.exists() else AbstentionPolicy()


def fit_cases(rows: Sequence[Mapping[str, Any]], seed: int) -> ConfidenceHead:
    """The head fitted on cases as ``read_cases`` gives them, ``evened``."""
    return _fitted(evened(rows), seed)[0]


def _fitted(rows: Sequence[Mapping[str, Any]], seed: int) -> tuple[ConfidenceHead, Floats]:
    """The head, and the confidence [rows] of each case by weights that have not seen its title.

    Open questions teach weights and calibrate nothing: of their answers few are accepted ("1906"
    where the accepted one is "1906 San Francisco earthquake"), so right ones count as wrong.
    """
    signs = {name: signal.sign for name, signal in (SIGNALS | MODEL_SIGNALS).items()}
    return fit_head(
        [row["signals"] for row in rows],
        [row["label"] for row in rows],
        [row["title"] for row in rows],
        present=[row["present"] for row in rows],
        calibrating=[not row.get("open") for row in rows],
        certainty=CERTAINTY,
        signs=signs,
        seed=seed,
    )


def evened(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The cases; of those whose facts were taken away on purpose, and the same with them, whichever
    are fewer are repeated until there are about as many of both.

    The share of such a collection follows from how often facts were taken away, not from how often
    people ask for what is not there; confidence is calibrated for even chances. Open questions
    come as often as they do: their share is what people met. Copies have one title, so no head
    is measured on what it has learned.
    """
    open_ = [row for row in rows if row.get("open")]
    paired = [row for row in rows if not row.get("open")]
    there = [row for row in paired if row["present"]]
    gone = [row for row in paired if not row["present"]]
    fewer, more = sorted((there, gone), key=len)
    return [*more, *fewer * round(len(more) / max(1, len(fewer))), *open_]


def read_cases(files: Sequence[Path]) -> list[dict[str, Any]]:
    """What ``collect`` wrote, each with its ``label`` (right and supported), without cases that
    have none or, for want of any neighbour, no signals: those are declined without asking the head.

    Raises:
        UserError: a file is missing, damaged or of an earlier release.
    """
    rows = [{**row, "label": _label(row)} for file in files for row in _read(file)]
    return [row for row in rows if row["label"] is not None and row["signals"]]


def _label(row: Mapping[str, Any]) -> bool | None:
    """Right and supported. A case whose passage was taken away, answered rightly all the same
    (another passage holds the fact), has no label: whether the database supports it was not
    annotated. Most questions come with one accepted answer, so one cut longer or shorter is right.
    """
    if row["present"]:
        return same_answer(row["candidate"], row["answers"])
    return None if exact_match(row["candidate"], row["answers"]) else False


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        raise UserError(f"{file}: no such file; make it with: retro train signals")
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise UserError(f"{file}: not JSON lines; collect the signals again") from error
    if lacking := set[str]().union(*(CASE - row.keys() for row in rows)):
        names = ", ".join(sorted(lacking))
        raise UserError(f"{file}: cases lack {names}; collect the signals again")
    return rows


def make_cases(
    documents: Sequence[Document],
    data: Sequence[Path],
    *,
    limit: int,
    hold_out: int,
    seed: int,
) -> list[Case]:
    """Up to three cases for each of ``limit`` questions, in a fixed random order; one, open, for a
    question without a ``context``.

    Raises:
        UserError: a question has no ``answers``, or none is open or about one of the documents.
    """
    by_text = {document.text.strip(): document for document in documents}
    articles: dict[str, set[str]] = {}
    for document in documents:
        articles.setdefault(_article(document), set()).add(document.id)
    asked = [one for path in data for one in _asked(path, by_text)]
    if hold_out:
        held = held_out_titles([d.title for _, _, d in asked if d], hold_out)
        asked = [one for one in asked if one[2] and one[2].title in held]
    if not asked:
        raise UserError(
            "no question's passage is in the index; check --index, --data and --hold-out"
        )
    order = np.random.default_rng(seed).permutation(len(asked))[:limit]
    cases = []
    for question, answers, document in (asked[i] for i in order):
        if document is None:  # open
            cases.append(Case(question, answers, question, frozenset(), None))
        else:
            cases += _conditions(question, answers, document, articles[_article(document)])
    return cases


def _asked(
    path: Path, by_text: Mapping[str, Document]
) -> Iterator[tuple[str, tuple[str, ...], Document | None]]:
    """Questions with their answers, and the document that each is about, None if it is open."""
    for row in read_jsonl(path):
        context, about = row.get("context"), None
        if context is not None and (about := by_text.get(context.strip())) is None:
            continue
        if "answers" not in row:
            raise UserError(f"{path}: {row['question']!r} has no 'answers'; give a list ([]: none)")
        yield row["question"], tuple(row["answers"]), about


def _article(document: Document) -> str:
    """What tells which documents belong together; one without a title stands alone."""
    return document.title or document.id


def _conditions(
    question: str, answers: tuple[str, ...], document: Document, article: Collection[str]
) -> list[Case]:
    """An article of a single passage is taken away once, not twice."""
    removed = dict.fromkeys((frozenset({document.id}), frozenset(article))) if answers else {}
    return [
        Case(question, answers, _article(document), hidden, bool(answers) and not hidden)
        for hidden in (frozenset[str](), *removed)
    ]
