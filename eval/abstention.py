"""``retro eval abstention``: asks with and without the facts, and writes the report.

The figures are ``eval.selective``'s; this file runs, tabulates and draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval import plots
from eval.baselines import BASELINES
from eval.conditions import (
    CONDITIONS,
    PRESENT,
    Answering,
    Prediction,
    num_predictions,
    pair_with_itself,
)
from eval.questions import GoldDocuments, Question, with_passage
from eval.report import Cell, Report, Table, watched, write_rows
from eval.selective import ABSENT, LABELS, Figures, evaluate
from index.errors import UserError


def run(
    answerer: Answering,
    questions: Sequence[Question],
    out: Path,
    *,
    k: int = 8,
    batch_size: int = 16,
    seed: int = 0,
    num_resamples: int = 500,
) -> Report:
    """Asks, writes ``predictions.jsonl`` and the plots into ``out``, gives the report.

    Questions whose passage is no document of the index are left out and counted.

    Raises:
        UserError: no answerable question has its passage in the index.
    """
    gold = GoldDocuments(answerer.retriever.store, questions)
    asked = with_passage(questions, gold)
    if not any(question.answerable for question in asked):
        raise UserError("no answerable question in --data; the pairs need some with answers")
    answers = pair_with_itself(answerer, asked, gold, k=k, batch_size=batch_size)
    rows = write_rows(
        out / "predictions.jsonl", watched(answers, num_predictions(asked), "abstention")
    )
    figures = evaluate(rows, seed, num_resamples)
    figures["num_without_passage"] = len(questions) - len(asked)
    figures["num_copied"] = sum(bool(gold.copies(q) - gold.passage(q)) for q in asked)
    return Report("abstention", figures, tables(figures), draw(rows, figures, out), _REMARKS)


def tables(figures: Figures) -> list[Table]:
    """The report's tables, the headline first."""
    mixtures = [_selection(name, labels["em"]) for name, labels in figures["selection"].items()]
    return [
        _separation(figures["separation"]),
        _conditions(figures["conditions"]),
        _calibration(figures["selection"]),
        *mixtures,
        _signals(figures["separation"]),
        Table(
            "Milliseconds per question, mean", ["stage", "ms"], list(figures["timing_ms"].items())
        ),
    ]


def draw(rows: Sequence[Prediction], figures: Figures, out: Path) -> list[str]:
    """Writes the plots; their file names."""
    names = []
    for mixture, labels in figures["selection"].items():
        title = f"{_mixture(mixture)}, right = {LABELS['em']}"
        names += [f"risk_coverage_{mixture}.png", f"reliability_{mixture}.png"]
        plots.risk_coverage(out / names[-2], labels["em"]["curves"], title)
        bins = {LABELS[label]: figures["reliability"] for label, figures in labels.items()}
        plots.reliability(out / names[-1], bins, _mixture(mixture))
    by_condition = {
        name: np.array([row.answer.confidence for row in rows if row.condition == name])
        for name in figures["conditions"]
    }
    plots.histograms(out / "confidence.png", by_condition, "Confidence by condition")
    return [*names, "confidence.png"]


_REMARKS = [
    "Conditions: " + "; ".join(f"*{name}*: {text}" for name, text in CONDITIONS.items()) + ".",
    "Baselines: " + "; ".join(f"*{name}*: {text}" for name, text in BASELINES.items()) + ".",
    "Brackets: 95 % bootstrap interval over articles. A question that another document still "
    "answers is right where its passage is removed (see EM there); *not answered elsewhere* leaves "
    "those rows out.",
]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _separation(found: Figures) -> Table:
    names = list(found)
    rows: list[list[Cell]] = [["confidence"], ["confidence, not answered elsewhere"]]
    for name in names:
        rows[0] += [found[name]["confidence"], None]
        rows[1] += [found[name]["unanswered_only"], None]
    for baseline in next(iter(found.values()))["baselines"]:
        row: list[Cell] = [baseline]
        for name in names:
            figures = found[name]["baselines"][baseline]
            row += [figures["auroc"], figures["gain"]]
        rows.append(row)
    columns = [part for name in names for part in (_words(name), "gain of confidence")]
    note = "Facts present against facts absent; chance is .5."
    return Table("AUROC: does it know what is missing", ["score", *columns], rows, note)


def _conditions(found: Figures) -> Table:
    names = {
        "num": "questions",
        "em": "EM, all",
        "f1": "F1, all",
        "coverage": "answered",
        "em_answered": "EM, answered",
        "f1_answered": "F1, answered",
        "over_refusal_em": "over-refusal",
        "crag_em": "CRAG",
        "crag_f1": "CRAG, F1 ≥ .5",
    }
    rows = [[_words(name), *(row[key] for key in names)] for name, row in found.items()]
    note = "At the threshold in use; “all” scores the candidate even where it abstained."
    return Table("What a user gets", ["condition", *names.values()], rows, note)


def _calibration(found: Figures) -> Table:
    keys = list(next(iter(found.values()))["em"]["intervals"])
    rows = [
        [
            *(_mixture(name), LABELS[label], one["share_right"]),
            *(one["intervals"][key] for key in keys),
            one["ece_of_calibrated"],
        ]
        for name, labels in found.items()
        for label, one in labels.items()
    ]
    columns = ["questions", "right means", "share right", *map(_words, keys), "ece by chance"]
    note = (
        "Coverage is of all questions: where the facts were taken from half of them, of the "
        "answerable ones it is about twice that. *ece by chance*: what true probabilities would "
        "show with so many questions."
    )
    return Table("Confidence as the probability of being right", columns, rows, note)


def _selection(name: str, found: Figures) -> Table:
    keys = list(found["scores"]["confidence"])
    rows = [[score, *(row[key] for key in keys)] for score, row in found["scores"].items()]
    title = f"Right against wrong: {_mixture(name)}"
    note = f"Right means {LABELS['em']}; report.json has the same for {LABELS['f1']}."
    return Table(title, ["score", *map(_words, keys)], rows, note)


def _signals(found: Figures) -> Table:
    hardest = [name for name in ABSENT if name in found][-1]
    alone = found[hardest]["signals"]
    order = sorted(alone, key=lambda name: -np.nan_to_num(alone[name]["auroc"]))
    rows = [
        [signal, "higher" if alone[signal]["sign"] > 0 else "lower"]
        + [
            found[name]["signals"][signal]["auroc"]
            for name in found
            if signal in found[name]["signals"]
        ]
        for signal in order
    ]
    columns = ["signal", "surer when", *map(_words, found)]
    note = "AUROC, facts present against absent; the better direction, as measured here."
    return Table("Every signal alone", columns, rows, note)


def _mixture(name: str) -> str:
    return _words(name) if name == PRESENT else f"{_words(PRESENT)} + {_words(name)}"
