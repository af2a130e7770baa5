"""``retro eval invented``: questions about names that do not exist, which nothing can answer.

- *real*: questions in whose words a name stands, as they are.
- *invented*: the same questions with that name replaced by one that sounds like the names of the
  database and stands nowhere in it. Template by template the two differ in the name alone, so
  declining the one and not the other is knowledge and no question of style.
- *unanswerable*, *answerable*: rows of SelfAware (Yin et al. 2023), if given: questions without an
  answer by nature, and answerable ones, of which the database may hold some.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.conditions import UNANSWERABLE, Answering, Prediction, each_asked
from eval.demo import matches
from eval.metrics import auroc
from eval.questions import GoldDocuments, Question
from eval.report import Cell, Report, Table, watched, write_rows
from eval.scoring import share
from index.errors import UserError
from retro.overlap import words_of

if TYPE_CHECKING:
    from index.store import TokenStore

Figures = dict[str, Any]

REAL, INVENTED, ANSWERABLE = "real", "invented", "answerable"

ORDER = 3
"""Letters that decide on the next one."""

NUM_TRIES = 500
"""Names drawn before giving up on one that the database lacks."""

_KEPT = frozenset(
    "Battle Bay Bridge Canal Castle Church City Company Empire Island Islands King Lake Mount "
    "North Ocean Palace Prize Queen River Saint Sea South St Treaty University War World".split()
)
"""Words of names that say what kind of thing is named: they stay."""

_NAME = re.compile(r"(?<=[^.!?] )[A-Z][\w’'-]*[a-z](?: [A-Z][\w’'-]*[a-z])*")
"""A name: words with a capital that do not begin a sentence."""


def run(
    answerer: Answering,
    questions: Sequence[Question],
    out: Path,
    *,
    others: Sequence[Question] = (),
    k: int = 8,
    batch_size: int = 16,
    seed: int = 0,
) -> Report:
    """Asks every kind, writes ``predictions.jsonl`` into ``out``, gives the report.

    ``others``: SelfAware rows.

    Raises:
        UserError: no answerable question holds a name, or the database has too few names.
    """
    forge = NameForge.of_store(answerer.retriever.store, seed)
    pairs = [(q, forged) for q in questions if q.answerable and (forged := forge.forged(q))]
    if not pairs:
        raise UserError("no answerable question in --data holds a name to replace")
    kinds = {
        REAL: [real for real, _ in pairs],
        INVENTED: [forged for _, forged in pairs],
        UNANSWERABLE: [q for q in others if not q.answerable],
        ANSWERABLE: [q for q in others if q.answerable],
    }
    gold = GoldDocuments(answerer.retriever.store)

    def ask() -> Iterator[Prediction]:
        for kind, all_of_it in kinds.items():
            yield from each_asked(answerer, all_of_it, kind, gold, k=k, batch_size=batch_size)

    total = sum(map(len, kinds.values()))
    rows = write_rows(out / "predictions.jsonl", watched(ask(), total, "invented"))
    figures = invented_figures(rows)
    return Report("invented", figures, invented_tables(figures), remarks=[_ABOUT])


class NameForge:
    """Makes words that look like a database's names and stand nowhere in it.

    A Markov chain over letters, each drawn as often as it follows the last ``ORDER`` in the names.
    """

    def __init__(self, names: Iterable[str], known: frozenset[str], seed: int = 0) -> None:
        self.known, self.rng = known, np.random.default_rng(seed)
        self.next: dict[str, Counter[str]] = defaultdict(Counter)
        for name in sorted(names):
            spelled = "^" * ORDER + name.lower() + "$"
            for n in range(ORDER, len(spelled)):
                self.next[spelled[n - ORDER : n]][spelled[n]] += 1

    @classmethod
    def of_store(cls, store: TokenStore, seed: int = 0) -> NameForge:
        """A forge of all names of the documents. Raises UserError: there are too few."""
        names: set[str] = set()
        known: set[str] = set()
        for row in store.present():
            document = store.document(row)
            known.update(words_of(f"{document.title} {document.text}"))
            for found in _NAME.findall(document.text):
                names.update(w for w in found.split() if w.isalpha() and len(w) > 3)
        if len(names - _KEPT) < 20:
            raise UserError("the documents hold fewer than 20 names to invent others from")
        return cls(names - _KEPT, frozenset(known), seed)

    def word(self, length: int) -> str:
        """An unknown word of about so many letters, with a capital.

        Raises:
            UserError: the names are so few that all that comes out is known.
        """
        for _ in range(NUM_TRIES):
            made = self._draw()
            near = abs(len(made) - length) <= 2 and len(made) > 3
            if near and not self.known.intersection(words_of(made)):
                return made.capitalize()
        raise UserError("the documents' names are too few and too alike to invent others")

    def forged(self, question: Question) -> Question | None:
        """The question with its longest name replaced and no answers; None without a name."""
        names = [
            m
            for m in _NAME.finditer(question.question)
            if set(m[0].split()) - _KEPT and not m[0].isupper()
        ]
        if not names:
            return None
        place = max(names, key=lambda m: len(m[0]))
        words = [w if w in _KEPT else self._like(w) for w in place[0].split()]
        text = question.question
        text = text[: place.start()] + " ".join(words) + text[place.end() :]
        return replace(question, id=f"{question.id}-invented", question=text, answers=())

    def _like(self, word: str) -> str:
        """An invented word; a genitive stays one."""
        stem, mark, ending = word.partition("’") if "’" in word else word.partition("'")
        return f"{self.word(max(len(stem), 5))}{mark}{ending}"

    def _draw(self) -> str:
        made = "^" * ORDER
        while not made.endswith("$") and len(made) < 20:
            following = self.next[made[-ORDER:]]
            letters, counts = list(following), np.array(list(following.values()), dtype=np.float64)
            made += letters[int(self.rng.choice(len(letters), p=counts / counts.sum()))]
        return made.strip("^$")


def invented_figures(rows: Sequence[Prediction]) -> Figures:
    """By kind: how many were declined, and for which reasons; whether a real name is known apart.

    ``over_refusal``: of the real ones whose best answer was right, the share that was declined.
    """
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[row.condition].append(row)
    paired = [*by_kind[REAL], *by_kind[INVENTED]]
    readable = [r for r in by_kind[REAL] if matches(r.answer.candidate, r.question.answers)]
    return {
        "kinds": {kind: _kind(some) for kind, some in by_kind.items() if some},
        "over_refusal": share([r.answer.abstained for r in readable]),
        "num_readable": len(readable),
        "auroc_real": auroc(
            [r.answer.confidence for r in paired], [r.condition == REAL for r in paired]
        ),
        "answered_invented": [
            {
                "id": r.question.id,
                "question": r.question.question,
                "said": r.answer.answer,
                "confidence": r.answer.confidence,
            }
            for r in by_kind[INVENTED]
            if not r.answer.abstained
        ],
    }


def invented_tables(figures: Figures) -> list[Table]:
    """What a person reads of ``invented_figures``."""
    rows: list[list[Cell]] = [
        [kind, one["num"], one["declined"], one["share"], _listed(one["reasons"])]
        for kind, one in figures["kinds"].items()
    ]
    more: list[list[Cell]] = [
        ["real, best answer right, declined all the same", figures["over_refusal"]],
        ["AUROC of confidence, real against invented", figures["auroc_real"]],
    ]
    columns = ["id", "question", "said", "confidence"]
    answered = [[row[column] for column in columns] for row in figures["answered_invented"]]
    return [
        Table("Names that do not exist", ["kind", "asked", "declined", "share", "reasons"], rows),
        Table("Beside the threshold", ["figure", "value"], more),
        Table("Invented, and answered", columns, answered),
    ]


_ABOUT = (__doc__ or "").split("\n\n", 1)[1].strip()


def _kind(rows: Sequence[Prediction]) -> Figures:
    declined = [row for row in rows if row.answer.abstained]
    reasons = Counter(str(row.answer.reason) for row in declined)
    return {
        "num": len(rows),
        "declined": len(declined),
        "share": len(declined) / len(rows),
        "reasons": dict(reasons),
    }


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(reasons.items()))
