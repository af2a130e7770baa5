"""``retro eval reading`` and ``retro eval open``: how well answers are read, with the gold passage
given or with passages retrieved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.conditions import Answering, Prediction, asked, batches
from eval.metrics import Interval, bootstrap
from eval.questions import GoldDocuments, Question, with_passage
from eval.report import Report, Table, watched, write_rows
from eval.scoring import exact_match, f1
from eval.selective import LABELS, at_threshold, selection
from retro.text import contains_answer

if TYPE_CHECKING:
    from index.retriever import Neighbours

Figures = dict[str, Any]

RECALL_AT = (1, 4, 8, 20, 50, 100)

NUM_RESAMPLES = 500


def run_reading(
    answerer: Answering,
    questions: Sequence[Question],
    out: Path,
    *,
    batch_size: int = 16,
    seed: int = 0,
) -> Report:
    """The passage of each question is given, all its windows; retrieval has no part in it.

    Questions whose passage is no document of the index are left out and counted.
    """
    gold = GoldDocuments(answerer.retriever.store)
    asked = with_passage(questions, gold)

    def given(some: Sequence[Question]) -> list[Neighbours]:
        return [answerer.find_in(min(gold.passage(q)), q.question) for q in some]

    answers = _ask(answerer, asked, gold, "gold_given", given, batch_size)
    rows = write_rows(out / "predictions.jsonl", watched(answers, len(asked), "reading"))
    figures = reading_figures(rows, seed) | {"num_without_passage": len(questions) - len(asked)}
    return Report("reading", figures, reading_tables(figures))


def run_open(
    answerer: Answering,
    questions: Sequence[Question],
    out: Path,
    *,
    k: int = 8,
    batch_size: int = 16,
    seed: int = 0,
) -> Report:
    """Passages are retrieved; the same figures, and how often retrieval brought the passage."""
    gold = GoldDocuments(answerer.retriever.store)
    found: list[Neighbours] = []

    def retrieve(some: Sequence[Question]) -> list[Neighbours]:
        found.extend(answerer.find([q.question for q in some], k))
        return found[-len(some) :]

    answers = _ask(answerer, questions, gold, "retrieved", retrieve, batch_size)
    rows = write_rows(out / "predictions.jsonl", watched(answers, len(questions), "open"))
    figures = reading_figures(rows, seed) | {
        "confidence": confidence_figures(rows, seed),
        "recall": recall(questions, found, gold, k),
    }
    tables = [_confidence_table(figures["confidence"]), _recall_table(figures["recall"])]
    return Report("open", figures, [*reading_tables(figures), *tables])


def reading_figures(rows: Sequence[Prediction], seed: int = 0) -> Figures:
    """``forced``: EM/F1 of the candidates of answerable questions, abstained or not.

    ``threshold``: the answerable questions at the threshold in use. ``with_abstention``: all
    questions, abstaining being the empty answer as in SQuAD 2.
    """
    answerable = [row for row in rows if row.question.answerable]
    figures: Figures = {"num": len(rows), "num_answerable": len(answerable)}
    if answerable:
        figures["forced"] = {
            "em": _mean_interval(answerable, [row.exact for row in answerable], seed),
            "f1": _mean_interval(answerable, [row.f1 for row in answerable], seed),
        }
        figures["threshold"] = at_threshold(answerable)
    return figures | {"with_abstention": with_abstention(rows)}


def confidence_figures(rows: Sequence[Prediction], seed: int = 0) -> Figures:
    """Whether answers are right as often as their confidence says, by what counts as right.

    A question without an accepted answer is never answered rightly. ``answered``: the share at the
    threshold in use; ``right_answered`` and ``mean_answered``: how many of those are right and what
    their mean confidence promised (NaN where none is answered).
    """
    at = at_threshold(rows)
    promised = [row.answer.confidence for row in rows if not row.answer.abstained]
    out: Figures = {}
    for label in LABELS:
        told = selection(rows, label, seed=seed, num_resamples=NUM_RESAMPLES)
        out[label] = {
            "share_right": told["share_right"],
            "answered": at["coverage"],
            "right_answered": 1 - at[f"selective_risk_{label}"],
            "mean_answered": float(np.mean(promised)) if promised else float("nan"),
            "auroc": told["intervals"]["auroc"],
            "ece": told["intervals"]["ece"],
            "ece_of_calibrated": told["ece_of_calibrated"],
        }
    return out


def with_abstention(rows: Sequence[Prediction]) -> Figures:
    """SQuAD 2's scores (Rajpurkar et al. 2018): abstaining is the empty answer.

    ``best_f1`` is the official script's: the threshold chosen on these very rows, an upper bound.
    """
    said = [(row.answer.answer or "", row.question.answers) for row in rows]
    exact = np.array([exact_match(answer, wanted) for answer, wanted in said])
    overlap = np.array([f1(answer, wanted) for answer, wanted in said])
    has = np.array([row.question.answerable for row in rows])
    return {
        "em": float(exact.mean()),
        "f1": float(overlap.mean()),
        "has_answer_f1": float(overlap[has].mean()) if has.any() else float("nan"),
        "no_answer_f1": float(overlap[~has].mean()) if (~has).any() else float("nan"),
        "best_f1": best_f1(rows),
    }


def best_f1(rows: Sequence[Prediction]) -> float:
    """Highest F1 over all thresholds on confidence, equal confidences together."""
    order = sorted(rows, key=lambda row: -row.answer.confidence)
    confidence = np.array([row.answer.confidence for row in order])
    silent = np.array([f1("", row.question.answers) for row in order])
    spoken = np.array([row.f1 for row in order])
    reachable = np.append(True, np.append(np.diff(confidence) != 0, True))
    totals = silent.sum() + np.append(0.0, np.cumsum(spoken - silent))
    return float(totals[reachable].max() / len(order))


def recall(
    questions: Sequence[Question], found: Sequence[Neighbours], gold: GoldDocuments, k: int
) -> Figures:
    """Recall at 1, 4, 8, … k: the share of questions that have it among the first neighbours.

    ``passage``: a window of the gold document, of the questions whose passage is in the index.
    ``answer``: a window with an accepted answer in it (exact words), of the answerable questions:
    an upper bound for copying, generous where the answer is a common word.
    """
    asked = list(zip(questions, found, strict=True))
    held = [(gold.passage(q), n.doc_ids) for q, n in asked if gold.passage(q)]
    known = [(q.answers, n.texts) for q, n in asked if q.answerable]
    return {
        "num_with_passage": len(held),
        "passage": _at([_first(doc_id in wanted for doc_id in ids) for wanted, ids in held], k),
        "answer": _at(
            [_first(contains_answer(text, answers) for text in texts) for answers, texts in known],
            k,
        ),
    }


def reading_tables(figures: Figures) -> list[Table]:
    """What a person reads of ``reading_figures``."""
    every = figures["with_abstention"]
    rows: list[list[Any]] = [
        ["all, abstaining = no answer", figures["num"], None, every["em"], every["f1"]]
    ]
    if "forced" in figures:
        forced, at = figures["forced"], figures["threshold"]
        num = figures["num_answerable"]
        rows = [
            ["answerable, forced to answer", num, 1.0, forced["em"], forced["f1"]],
            ["answerable, the answered", num, at["coverage"], at["em_answered"], at["f1_answered"]],
            *rows,
        ]
    parts = [[_words(name), value] for name, value in every.items()]
    note = "“best f1” is over all thresholds, chosen on these rows: an upper bound."
    return [
        Table("Reading", ["questions", "number", "coverage", "EM", "F1"], rows),
        Table("Abstaining as the empty answer (SQuAD 2)", ["part", "value"], parts, note),
    ]


def _confidence_table(found: Figures) -> Table:
    columns = "share right, answered, right of the answered, their mean confidence, AUROC, ece"
    rows = [[LABELS[label], *one.values()] for label, one in found.items()]
    note = (
        "AUROC: right against wrong candidates. *ece by chance*: what true probabilities would "
        "show with so many questions. Accepted answers are few: some that count as wrong are not."
    )
    names = ["right means", *columns.split(", "), "ece by chance"]
    return Table("Confidence as the probability of being right", names, rows, note)


def _recall_table(found: Figures) -> Table:
    rows = [
        [f"recall@{k}", found["passage"].get(k), found["answer"].get(k)] for k in found["answer"]
    ]
    note = f"Passage: of {found['num_with_passage']} questions with their passage in the index."
    return Table("Retrieval", ["", "passage", "answer in the text"], rows, note)


def _ask(
    answerer: Answering,
    questions: Sequence[Question],
    gold: GoldDocuments,
    condition: str,
    neighbours: Callable[[Sequence[Question]], list[Neighbours]],
    batch_size: int,
) -> Iterator[Prediction]:
    for some in batches(questions, batch_size):
        yield from asked(answerer, some, condition, gold, neighbours=neighbours(some))


def _mean_interval(rows: Sequence[Prediction], values: Sequence[float], seed: int) -> Interval:
    array = np.array(values)
    return bootstrap(lambda some: float(array[some].mean()), [row.group for row in rows], seed=seed)


def _first(hits: Iterable[bool]) -> int | None:
    return next((place for place, hit in enumerate(hits) if hit), None)


def _at(ranks: Sequence[int | None], k: int) -> dict[int, float]:
    places = sorted({cut for cut in RECALL_AT if cut < k} | {k})
    return {
        cut: sum(rank is not None and rank < cut for rank in ranks) / len(ranks)
        for cut in places
        if ranks
    }


def _words(name: str) -> str:
    return name.replace("_", " ")
