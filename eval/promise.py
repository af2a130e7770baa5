"""``retro eval certificate``: does what ``retro certify`` promises hold? Asks no model.

Predictions of ``retro eval abstention`` are split again and again: a threshold is certified on one
part and what was promised of it is counted on the other. In every split each question stands under
one condition, its facts present or removed, by the toss of a coin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.conditions import PRESENT
from eval.report import Cell, Report, Table, watched
from eval.selective import ABSENT
from index.errors import UserError
from retro.certificate import certify, offered
from retro.text import RIGHT_F1

Ints = NDArray[np.int64]

NEEDED = {"id", "condition", "group", "candidate", "confidence", "reason", "answers", "f1"}
"""What is read of a row of ``predictions.jsonl``."""


@dataclass(frozen=True)
class Asked:
    """n questions under c conditions (``PRESENT`` first), and how each answer came out.

    ``confidence`` [c, n]: -1 for an answer that is never given; ``right`` [c, n]; ``article`` [n].
    """

    conditions: tuple[str, ...]
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    article: Ints

    def __len__(self) -> int:
        return int(self.confidence.shape[1])

    @classmethod
    def read(cls, file: Path) -> Asked:
        """From ``predictions.jsonl``; questions that were not asked under all conditions, and
        those that nothing answers, are left out.

        Raises:
            UserError: the file is missing or holds something else.
        """
        rows = _rows(file)
        names = (PRESENT, *(name for name in ABSENT if any(r["condition"] == name for r in rows)))
        asked: dict[str, dict[str, dict[str, Any]]] = {}
        for row in rows:
            asked.setdefault(row["id"], {})[row["condition"]] = row
        pairs = [found for found in asked.values() if set(names) <= found.keys()]
        if len(names) < 2 or len(pairs) < 2:
            raise UserError(f"{file}: no questions with and without their facts; ask more of them")
        number = {group: i for i, group in enumerate(dict.fromkeys(r["group"] for r in rows))}
        return cls(
            names,
            np.array([[_confidence(found[name]) for found in pairs] for name in names]),
            np.array([[_right(found[name]) for found in pairs] for name in names]),
            np.array([number[found[PRESENT]["group"]] for found in pairs]),
        )


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file; make it with: retro eval abstention") from error
    except ValueError as error:
        raise UserError(f"{file}: not JSON lines; give predictions.jsonl of an eval") from error
    if not rows or any(not isinstance(row, dict) or NEEDED - row.keys() for row in rows):
        raise UserError(f"{file}: not what retro eval abstention writes; give predictions.jsonl")
    return rows


def _confidence(row: dict[str, Any]) -> float:
    return offered(row["candidate"], row["reason"], float(row["confidence"]))


def _right(row: dict[str, Any]) -> bool:
    return bool(row["answers"]) and float(row["f1"]) >= RIGHT_F1


Split = Callable[[Asked, np.random.Generator], tuple[Ints, Ints]]
"""Numbers of the questions to certify with, and of those that the promise is counted on."""


def by_question(asked: Asked, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Halves: what is promised, counted on as many other questions of the same kind."""
    order = rng.permutation(len(asked))
    return order[: len(asked) // 2], order[len(asked) // 2 :]


def by_article(asked: Asked, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Halves of the articles: more than is promised, for the questions' kind differs."""
    articles = rng.permutation(np.unique(asked.article))
    first = np.isin(asked.article, articles[: len(articles) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)


def from_all(asked: Asked, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """All questions are the world, and as many are drawn from it with replacement: the very
    statement of the promise, without the second part's own chance."""
    return rng.integers(0, len(asked), len(asked)), np.arange(len(asked))


SPLITS: dict[str, Split] = {
    "other questions": by_question,
    "other articles": by_article,
    "all as the world": from_all,
}


def run(
    file: Path, *, risks: Sequence[float], delta: float, num_splits: int, seed: int = 0
) -> Report:
    """The report, from a ``predictions.jsonl``.

    Raises:
        UserError: the file is missing, holds something else, or too few questions.
    """
    asked = Asked.read(file)
    if len(np.unique(asked.article)) < 2:
        raise UserError(f"{file}: questions of one article only; they cannot be split by article")
    plan = [
        (absent, name, risk)
        for absent in range(1, len(asked.conditions))
        for name in SPLITS
        for risk in risks
    ]
    found = [
        {
            "removed": asked.conditions[absent],
            "counted_on": name,
            "risk": risk,
            **judge(asked, absent, SPLITS[name], risk, delta, num_splits, seed),
        }
        for absent, name, risk in watched(plan, len(plan), "promises")
    ]
    figures = {
        "num_questions": len(asked),
        "num_articles": len(np.unique(asked.article)),
        "delta": delta,
        "num_splits": num_splits,
        "promises": found,
    }
    return Report("certificate", figures, [_table(figures)], remarks=[_REMARK])


def judge(
    asked: Asked, absent: int, split: Split, risk: float, delta: float, num_splits: int, seed: int
) -> dict[str, float]:
    """Over ``num_splits`` splits: how often the promise held, and what it was worth.

    ``absent``: the row of the condition in which the facts are gone. Without a certificate
    nothing is answered and nothing broken.
    """
    rng = np.random.default_rng(seed)
    kept, covered, risks = [], [], []
    num_proved = 0
    for _ in range(num_splits):
        gone = rng.random(len(asked)) < 0.5
        confidence = np.where(gone, asked.confidence[absent], asked.confidence[0])
        right = np.where(gone, asked.right[absent], asked.right[0])
        first, second = split(asked, rng)
        found = certify(list(confidence[first]), list(right[first]), risk, delta)
        threshold = np.inf if found is None else found.threshold
        num_proved += found is not None
        given = confidence[second] >= threshold
        wrong = float((~right[second])[given].mean()) if given.any() else 0.0
        kept.append(wrong <= risk)
        there = ~gone[second]
        covered.append(given[there].mean() if there.any() else 0.0)
        if given.any():
            risks.append(wrong)
    return {
        "kept": float(np.mean(kept)),
        "proved": num_proved / num_splits,
        "coverage": float(np.mean(covered)),
        "realised": float(np.mean(risks)) if risks else float("nan"),
    }


_REMARK = (
    "Certified on one part, counted on the other. *Kept*: share of splits in which at most RISK of "
    "the answers given were wrong. *Proved*: share in which there was a threshold to promise. "
    "*Answered*: share of the questions whose facts are there that are then answered. *Other "
    "questions*: halves; a promise just kept is broken in the other half by that half's own chance "
    "now and then. *All as the world*: drawn with replacement from all, counted on all. *Other "
    "articles*: nothing of it is promised."
)


def _table(figures: dict[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [
            row["removed"].replace("_", " "),
            row["counted_on"],
            row["risk"],
            row["kept"],
            row["proved"],
            row["coverage"],
            row["realised"],
        ]
        for row in figures["promises"]
    ]
    columns = ["half of the facts", "counted on", "RISK", "kept", "proved", "answered", "wrong"]
    title = (
        f"{figures['num_questions']:,} questions, {figures['num_splits']:,} splits, "
        f"1 − DELTA = {1 - figures['delta']:.2f}"
    )
    return Table(title, columns, rows)
