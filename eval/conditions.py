"""Asks each question with and without its passage; knows how to take facts away, judges nothing.

Unanswerable questions of other sets differ in style from answerable ones, and a model can learn
the style. So every question is paired with itself: the same words, with the facts in the database
and with the facts taken out. Only the retrieval is told to look away (``exclude=``), where
what is absent does not count for how common a word is either; the index is not built anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eval.questions import GoldDocuments, Question
from eval.scoring import RIGHT_F1, exact_match, f1

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever
    from retro.types import Answer

T = TypeVar("T")

PRESENT = "present"
ARTICLE_REMOVED = "article_removed"
PASSAGE_REMOVED = "passage_removed"
UNANSWERABLE = "unanswerable"

CONDITIONS = {
    PRESENT: "answerable, the whole database",
    ARTICLE_REMOVED: "the same questions, all documents with the passage's title taken out",
    PASSAGE_REMOVED: "the same questions, the passage itself taken out, and as in the one before "
    "what holds the answer's sentence word for word",
    UNANSWERABLE: "questions their passage does not answer, the whole database",
}


class Answering(Protocol):
    """What is asked of ``retro.answer.Answerer`` (and of the stand-in of the tests)."""

    @property
    def retriever(self) -> Retriever: ...

    def find(self, questions: Sequence[str], k: int = 8) -> list[Neighbours]: ...

    def find_in(self, doc_id: str, question: str) -> Neighbours: ...

    def answer_batch(
        self,
        questions: Sequence[str],
        *,
        ids: Sequence[str] | None = None,
        k: int = 8,
        exclude: Sequence[Collection[str]] | None = None,
        neighbours: Sequence[Neighbours] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[Answer]: ...


@dataclass(frozen=True)
class Prediction:
    """One question under one condition, and what was answered. ``group``: its article."""

    question: Question
    condition: str
    answer: Answer
    group: str

    @property
    def exact(self) -> float:
        """Exact match of the candidate, abstained or not."""
        return exact_match(self.answer.candidate, self.question.answers)

    @property
    def f1(self) -> float:
        """Token F1 of the candidate, abstained or not."""
        return f1(self.answer.candidate, self.question.answers)

    @property
    def right(self) -> dict[str, bool]:
        """Is the candidate right: strictly (``em``) and leniently (``f1``).

        Without an accepted answer none is, not even the empty one: it is no answer.
        """
        known = self.question.answerable
        return {"em": known and self.exact == 1.0, "f1": known and self.f1 >= RIGHT_F1}

    def to_dict(self) -> dict[str, Any]:
        """One row of ``predictions.jsonl``: the answer of the contract without the long texts."""
        row = self.answer.to_dict()
        evidence = [{k: v for k, v in e.items() if k != "text"} for e in row["evidence"]]
        wanted = {"condition": self.condition, "group": self.group}
        scores = {"answers": list(self.question.answers), "em": self.exact, "f1": self.f1}
        return wanted | row | scores | {"evidence": evidence}


def pair_with_itself(
    answerer: Answering,
    questions: Sequence[Question],
    gold: GoldDocuments,
    *,
    k: int = 8,
    batch_size: int = 16,
) -> Iterator[Prediction]:
    """Every answerable question under three conditions, every unanswerable one as it is.

    ``questions`` must have their passage in the index (``gold.passage``). A batch comes out under
    all conditions before the next one starts, so a run that is cut short still has pairs.
    """
    for batch in batches(questions, batch_size):
        answerable = [question for question in batch if question.answerable]
        unanswerable = [question for question in batch if not question.answerable]
        states = [
            (PRESENT, answerable, [frozenset[str]() for _ in answerable]),
            (ARTICLE_REMOVED, answerable, taken_away(ARTICLE_REMOVED, answerable, gold)),
            (PASSAGE_REMOVED, answerable, taken_away(PASSAGE_REMOVED, answerable, gold)),
            (UNANSWERABLE, unanswerable, [frozenset[str]() for _ in unanswerable]),
        ]
        for condition, some, exclude in states:
            yield from asked(answerer, some, condition, gold, k=k, exclude=exclude)


def taken_away(
    condition: str, questions: Sequence[Question], gold: GoldDocuments
) -> list[frozenset[str]]:
    """The documents that count as absent, a question each; ``gold`` knows these questions."""
    whole = {ARTICLE_REMOVED: gold.article, PASSAGE_REMOVED: gold.passage}[condition]
    return [whole(question) | gold.copies(question) for question in questions]


def num_predictions(questions: Sequence[Question]) -> int:
    """How many predictions ``pair_with_itself`` gives."""
    return sum(3 if question.answerable else 1 for question in questions)


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def each_asked(
    answerer: Answering,
    questions: Sequence[Question],
    condition: str,
    gold: GoldDocuments,
    *,
    k: int,
    batch_size: int,
) -> Iterator[Prediction]:
    """All questions under one condition, ``batch_size`` together, against the whole database."""
    for some in batches(questions, batch_size):
        yield from asked(answerer, some, condition, gold, k=k)


def asked(
    answerer: Answering,
    questions: Sequence[Question],
    condition: str,
    gold: GoldDocuments,
    **how: Any,
) -> list[Prediction]:
    """Asks some questions together under one condition; ``how`` goes to ``answer_batch``."""
    if not questions:
        return []
    texts, ids = [q.question for q in questions], [q.id for q in questions]
    answers = answerer.answer_batch(texts, ids=ids, **how)
    return [
        Prediction(question, condition, answer, gold.group(question))
        for question, answer in zip(questions, answers, strict=True)
    ]
