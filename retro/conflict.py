"""Do two documents give different answers to one question? Knows texts and what was read in each
passage judged alone; knows no model.

A dispute needs all of: another document; a reading of it that is probable by itself; passages that
both hold the question's names, and its other words about as well; and an answer that is of the same
kind, cannot be another spelling or a part of the first, and does not stand in the other side's
passage. Each condition keeps an innocent question from looking disputed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from index.lexical import STOPWORDS, fold
from retro.overlap import Idf, Overlap, Question, holds, sentences_of, stems_of, words_of
from retro.signals import NeighboursLike
from retro.text import normalise_answer, same_answer
from retro.types import Reading, Side

if TYPE_CHECKING:
    from index.retriever import Neighbours

LEAST_PROBABLE = 0.3
"""Least probability, judged alone, with which a passage must answer to be a side."""

EQUAL = 0.9
"""The rival's probability by the answer's own from which two sides count as equals. Of planted
contradictions that are seen at all nearly every one is above; below it disputes are innocent as a
rule (a question has several answers, or the rival answers another one)."""

LEAST_COVERED = 0.9
"""A rival sentence's rarity share of the question, as a part of the answer's own sentence's."""

_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
SMALL_NUMBERS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_TIMES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}


@dataclass(frozen=True)
class Dispute:
    """``ours``, ``rival``: the neighbours that speak for each side. ``strength``: the rival's
    probability by the answer's own, both judged alone, at most 1. ``documents``: how many give
    another answer."""

    ours: int
    rival: int
    strength: float
    documents: int


def find_dispute(
    question: str,
    answer: str,
    source: int,
    found: NeighboursLike,
    readings: Sequence[Reading],
    idf: Idf,
) -> Dispute | None:
    """The strongest dispute of an answer read in neighbour ``source`` (-1: in none), if any whose
    sides are about equal."""
    if source < 0 or not words_of(answer):
        return None
    asked = Question.read(question, idf)
    ours = _spokesman(answer, source, found, readings)
    own = readings[ours]
    if own.probability < LEAST_PROBABLE or _names_missing(asked, found, ours):
        return None
    covered = _sentence_cover(asked, answer, found, ours)
    texts = zip(found.doc_ids, found.texts, strict=True)
    holding = {found.doc_ids[source]} | {d for d, text in texts if _says(text, answer)}
    rivals = [
        k
        for k, reading in enumerate(readings)
        if reading.probability >= LEAST_PROBABLE
        and found.doc_ids[k] not in holding
        and differ(answer, said := _said(found, readings, k))
        and not _says(found.texts[ours], said)
        and _sentence_cover(asked, said, found, k) >= LEAST_COVERED * covered
        and not _names_missing(asked, found, k)
    ]
    if not rivals:
        return None
    best = max(rivals, key=lambda k: readings[k].probability)
    strength = min(1.0, readings[best].probability / own.probability)
    if strength < EQUAL:
        return None
    return Dispute(ours, best, strength, len({found.doc_ids[k] for k in rivals}))


def dispute_signals(dispute: Dispute | None) -> dict[str, float]:
    """What a dispute says, by name; zeros without one."""
    strength, documents = (dispute.strength, dispute.documents) if dispute else (0.0, 0)
    return {"dispute": strength, "num_conflicting": float(documents)}


def dispute_sides(
    dispute: Dispute | None, found: Neighbours, readings: Sequence[Reading]
) -> tuple[Side, ...]:
    """The two passages that disagree most, the answer's own first; none without a dispute."""
    if dispute is None:
        return ()
    return tuple(
        Side(
            answer=_said(found, readings, k),
            doc_id=found.doc_ids[k],
            title=found.titles[k],
            start=int(found.starts[k]) + readings[k].start,
            end=int(found.starts[k]) + readings[k].end,
            probability=round(readings[k].probability, 6),
        )
        for k in (dispute.ours, dispute.rival)
    )


def differ(first: str, second: str) -> bool:
    """Whether two answers of the same kind cannot both be meant by one fact.

    Numbers differ by their values ("1,707" is "1707", "two" is "2"), whatever stands around them;
    words differ if neither side's words are among the other's. A number never contradicts a name.
    """
    a, b = numbers_of(first), numbers_of(second)
    if bool(a) != bool(b):
        return False
    if a:
        return not (a <= b or b <= a)
    ours, theirs = _content(first), _content(second)
    return bool(ours and theirs) and not (ours <= theirs or theirs <= ours)


def agree(first: str, second: str) -> bool:
    """Whether two answers say the same, one perhaps cut longer: alike as strings
    (``retro.text.same_answer``), with no number and no word that sets them apart ("5 metres" and
    "8 metres" are alike)."""
    return same_answer(first, [second]) and not differ(first, second)


def numbers_of(text: str) -> frozenset[float]:
    """The values of all numbers in a text, in digits or words; a multiplier behind one counts."""
    tokens = re.findall(rf"{_NUMBER.pattern}|[^\W\d_]+", fold(text))
    values: list[float] = []
    after_number = False
    for token in tokens:
        value: float | None = SMALL_NUMBERS.get(token)
        if token[0].isdigit():
            value = float(token.replace(",", ""))
        if value is not None:
            values.append(value)
        elif token in _TIMES and after_number:
            values[-1] *= _TIMES[token]
        after_number = value is not None or (token in _TIMES and after_number)
    return frozenset(values)


def _content(text: str) -> frozenset[str]:
    words = [w for w in words_of(normalise_answer(text)) if w not in STOPWORDS]
    return frozenset(stems_of(" ".join(words)))


def _said(found: NeighboursLike, readings: Sequence[Reading], k: int) -> str:
    return found.texts[k][readings[k].start : readings[k].end]


def _says(text: str, answer: str) -> bool:
    return holds(text, words_of(answer))


def _spokesman(answer: str, source: int, found: NeighboursLike, readings: Sequence[Reading]) -> int:
    """The neighbour that gives this answer most probably by itself; at least ``source``."""
    agreeing = [
        k
        for k in range(len(readings))
        if _says(found.texts[k], answer) and not differ(answer, _said(found, readings, k))
    ]
    return max(agreeing or [source], key=lambda k: readings[k].probability)


def _sentence_cover(asked: Question, said: str, found: NeighboursLike, k: int) -> float:
    """Rarity share of the question in the best sentence that says it, the title included."""
    title, words = set(stems_of(found.titles[k])), words_of(said)
    shares = [
        asked.share(title.union(stems_of(sentence)))
        for sentence in sentences_of(found.texts[k])
        if holds(sentence, words)
    ]
    return max(shares, default=0.0)


def _names_missing(asked: Question, found: NeighboursLike, k: int) -> float:
    return Overlap.of(asked, found.titles[k], found.texts[k]).names_missing
