"""``retro eval paraphrases``: one question in several wordings; is it answered alike?

Consistency is the share of pairs of wordings that get the same answer (Elazar et al. 2021,
"Measuring and Improving Consistency in Pretrained Language Models", §3), over all questions and
over those whose fact was found: whose answer stands in a passage retrieved for every wording.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from eval import metrics
from eval.conditions import PRESENT, Answering, Prediction, each_asked
from eval.questions import GoldDocuments, Question
from eval.report import Report, Table, watched, write_rows
from index.errors import UserError
from retro.text import contains_answer, exact_match, same_answer

Group = list[Prediction]


@dataclass(frozen=True)
class Agreement:
    """Pairs of wordings of one fact: how many there are, and how many agree.

    ``said``: on the candidate; ``done``: on what a user sees, the answer or the refusal;
    ``given`` and ``given_alike``: pairs of which both were answered, and those of them that agree;
    ``given_near``: those of them that say the same, one perhaps at more length ("Lyon", "Lyon,
    France"; ``retro.text.same_answer``): answers are cut out of text, not chosen from a list.
    """

    num: int
    said: int
    done: int
    given: int
    given_alike: int
    given_near: int

    @classmethod
    def of(cls, group: Group) -> Agreement:
        pairs = list(combinations([row.answer for row in group], 2))
        said = sum(exact_match(a.candidate, [b.candidate]) for a, b in pairs)
        refused = sum(a.abstained and b.abstained for a, b in pairs)
        given = [(a, b) for a, b in pairs if not (a.abstained or b.abstained)]
        alike = sum(exact_match(a.candidate, [b.candidate]) for a, b in given)
        near = sum(same_answer(a.candidate, [b.candidate]) for a, b in given)
        return cls(len(pairs), said, refused + alike, len(given), alike, near)


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
    """Asks every wording, writes ``predictions.jsonl`` into ``out``, gives the report.

    ``questions`` of one ``title`` are wordings of one question.

    Raises:
        UserError: no two questions have the same title.
    """
    found: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        found[question.title or ""].append(question)
    found.pop("", None)
    wordings = [q for group in found.values() if len(group) > 1 for q in group]
    if not wordings:
        raise UserError("no two rows of --data have one 'title': it names what they both ask")
    gold = GoldDocuments(answerer.retriever.store)
    answers = each_asked(answerer, wordings, PRESENT, gold, k=k, batch_size=batch_size)
    rows = write_rows(out / "predictions.jsonl", watched(answers, len(wordings), "paraphrases"))
    groups: dict[str, Group] = defaultdict(list)
    for row in rows:
        groups[row.question.title or ""].append(row)
    every = list(groups.values())
    figures = {
        "all": consistency(every, seed, num_resamples),
        "found": consistency([g for g in every if held(g)], seed, num_resamples),
        "mixed": _mixed(every),
    }
    return Report("paraphrases", figures, tables(figures), remarks=[_REMARK])


def held(group: Group) -> bool:
    """Whether a passage retrieved for each wording holds an accepted answer."""
    return all(
        any(contains_answer(e.text, row.question.answers) for e in row.answer.evidence)
        for row in group
    )


def consistency(groups: Sequence[Group], seed: int, num_resamples: int) -> dict[str, Any]:
    """Shares over facts, each fact counting once, with intervals over facts."""
    found = [Agreement.of(group) for group in groups]
    values = {
        "candidates": [a.said / a.num for a in found],
        "shown": [a.done / a.num for a in found],
        "both_answered": [a.given_alike / a.given if a.given else np.nan for a in found],
        "both_near": [a.given_near / a.given if a.given else np.nan for a in found],
        "right": [np.mean([row.right["f1"] for row in group]) for group in groups],
        "answered": [np.mean([not row.answer.abstained for row in group]) for group in groups],
    }
    return {
        "num_facts": len(groups),
        "num_wordings": sum(map(len, groups)),
        **{name: _mean(np.array(v), seed, num_resamples) for name, v in values.items()},
    }


def _mean(values: Any, seed: int, num_resamples: int) -> list[float] | None:
    if not np.isfinite(values).any():
        return None

    def mean(picked: Any) -> float:
        known = values[picked][np.isfinite(values[picked])]
        return float(known.mean()) if len(known) else float("nan")

    options = {"num_resamples": num_resamples, "seed": seed}
    return list(metrics.bootstrap(mean, range(len(values)), **options))


def _mixed(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Facts that were not answered alike, and what was said."""
    return [
        {
            "title": group[0].question.title,
            "accepted": " / ".join(group[0].question.answers),
            "said": {
                r.question.question: ("declined: " if r.answer.abstained else "")
                + r.answer.candidate
                for r in group
            },
        }
        for group in groups
        if len({r.answer.candidate for r in group}) > 1
    ]


def tables(figures: dict[str, Any]) -> list[Table]:
    """Consistency of all facts, and of those that were found."""
    names = {"all": "all", "found": "found for every wording"}
    keys = ("candidates", "shown", "both_answered", "both_near", "right", "answered")
    rows = [
        [name, figures[key]["num_facts"], figures[key]["num_wordings"]]
        + [figures[key][which] for which in keys]
        for key, name in names.items()
    ]
    columns = ["facts", "number", "wordings", "same candidate", "same outcome", "same, answered"]
    more = ["same or longer, answered", "right", "answered"]
    return [Table("Consistency", [*columns, *more], rows)]


_REMARK = (
    "*Same candidate*: pairs of wordings with the same candidate (SQuAD's normalisation), shown or "
    "not. *Same outcome*: the same answer shown, or both declined. *Same, answered*: of the pairs "
    "that were both answered; *same or longer*: or one answer holds the other, or most of its "
    'words ("Lyon", "Lyon, France"). Every fact counts once; brackets: 95 % bootstrap over facts.'
)
