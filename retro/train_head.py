"""Fits the confidence head: every question with its passage, without it, and without its article.

Knows questions, an answerer and what right means; knows no signal by name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.errors import UserError
from index.sources import Document
from retro.answer import HEAD, POLICY, Answerer
from retro.examples import read_jsonl
from retro.policy import AbstentionPolicy, choose_threshold
from retro.text import exact_match, f1
from retro.train_setup import all_documents, held_out_titles
from retro.uncertainty import fit_head

RIGHT_F1 = 0.5
"""A candidate with this word overlap counts as right: "the 1990s" for "1990s"."""

BATCH = 32


@dataclass(frozen=True)
class Case:
    """One question under one condition. ``hidden``: documents taken away; ``held``: whether the
    supporting passage is still there."""

    question: str
    answers: tuple[str, ...]
    title: str
    hidden: frozenset[str]
    held: bool


def run_head(
    index: Path, data: Sequence[Path], checkpoint: Path, *, limit: int, hold_out: int, seed: int
) -> None:
    """Writes ``head.json`` and ``policy.json`` into the checkpoint folder, and the rows they were
    fitted on beside the index's report (``head-rows.jsonl``)."""
    answerer = Answerer.open(index, checkpoint, calibrated=False)
    documents = all_documents(answerer.retriever)
    cases = make_cases(documents, data, limit=limit, hold_out=hold_out, seed=seed)
    print(f"{len(cases):,} cases", flush=True)
    signals, labels, groups = collect(answerer, cases)
    head = fit_head(signals, labels, groups, seed=seed)
    confidences = [head.score(row) for row in signals]
    policy = AbstentionPolicy(threshold=choose_threshold(confidences, labels))
    head.save(checkpoint / HEAD)
    policy.save(checkpoint / POLICY)
    print(json.dumps({"threshold": policy.threshold, **head.statistics}, indent=1))


def make_cases(
    documents: Sequence[Document],
    data: Sequence[Path],
    *,
    limit: int,
    hold_out: int,
    seed: int,
) -> list[Case]:
    """Three cases for each of ``limit`` questions, in a fixed random order.

    Raises:
        UserError: no question's passage is among the documents.
    """
    row_of = {d.text.strip(): row for row, d in enumerate(documents)}
    of_title: dict[str, set[str]] = {}
    for document in documents:
        of_title.setdefault(document.title, set()).add(document.id)
    asked = []
    for path in data:
        for row in read_jsonl(path):
            place = row_of.get(row.get("context", "").strip())
            if place is not None:
                asked.append((row["question"], tuple(row["answers"]), documents[place]))
    if not asked:
        raise UserError("no question's passage is in the index; check --index and --data")
    if hold_out:
        held = held_out_titles([d.title for _, _, d in asked], hold_out)
        asked = [one for one in asked if one[2].title in held]
    order = np.random.default_rng(seed).permutation(len(asked))[:limit]
    cases = []
    for question, answers, document in (asked[i] for i in order):
        cases += _conditions(question, answers, document, of_title[document.title])
    return cases


def _conditions(
    question: str, answers: tuple[str, ...], document: Document, article: Collection[str]
) -> list[Case]:
    hidden = (frozenset[str](), frozenset({document.id}), frozenset(article))
    kept = hidden[: 1 if not answers else 3]
    return [Case(question, answers, document.title, h, bool(answers) and not h) for h in kept]


def collect(
    answerer: Answerer, cases: Sequence[Case]
) -> tuple[list[dict[str, float]], list[bool], list[str]]:
    """Signals, label (right and supported) and group of every case.

    A case whose passage was taken away, answered rightly all the same (another passage holds the
    fact), is left out: whether the database supports it was not annotated.
    """
    signals, labels, groups = [], [], []
    for begin in range(0, len(cases), BATCH):
        part = cases[begin : begin + BATCH]
        answers = answerer.answer_batch(
            [case.question for case in part], exclude=[case.hidden for case in part]
        )
        for case, answer in zip(part, answers, strict=True):
            if not case.held and exact_match(answer.candidate, case.answers):
                continue
            signals.append(answer.signals)
            labels.append(case.held and f1(answer.candidate, case.answers) >= RIGHT_F1)
            groups.append(case.title)
        print(f"\r{begin + len(part):,}/{len(cases):,}", end="", flush=True)
    print()
    return signals, labels, groups
