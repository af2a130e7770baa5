"""Do two documents give different answers to one question? Knows texts and what was read in each
passage judged alone; knows no model.

A dispute needs all of: another document; an answer in it that is of the same kind and cannot be
another spelling or a part of the first; the question's words about as well around both. And either
its passage repeats the answer's own sentence with the other answer in its place
(``retro.restated``) and lacks no more of the question's names; or the other answer is read there
with about equal probability, both passages hold all of those names, and neither side says what the
other does. Each condition keeps an innocent question from looking disputed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from index.lexical import STOPWORDS, fold
from retro.naming import set_apart
from retro.overlap import Idf, Overlap, Question, holds, sentences_of, stems_of, words_of
from retro.restated import restated
from retro.signals import NeighboursLike
from retro.text import normalise_answer, one_line, same_answer
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


class DraftLike(Protocol):
    """What is known of an answer (``retro.drafting.Draft``)."""

    @property
    def text(self) -> str: ...

    @property
    def source(self) -> int: ...

    @property
    def spans(self) -> Sequence[tuple[int, int] | None]: ...

    @property
    def readings(self) -> Sequence[Reading]: ...


@dataclass(frozen=True)
class Dispute:
    """``ours``, ``rival``: the neighbours that speak for each side; ``said``, ``denied``: where in
    them, and how probably, judged alone. ``strength``: the second probability by the first, at most
    1. ``documents``: how many give another answer."""

    ours: int
    rival: int
    said: Reading
    denied: Reading
    documents: int

    @property
    def strength(self) -> float:
        return min(1.0, self.denied.probability / self.said.probability)

    @property
    def sides(self) -> dict[int, Reading]:
        """What is said where, the answer's own side first."""
        return {self.ours: self.said, self.rival: self.denied}


def find_dispute(
    question: str, draft: DraftLike, found: NeighboursLike, idf: Idf
) -> Dispute | None:
    """The strongest dispute of an answer that stands in a neighbour, if any whose sides are about
    equal."""
    if draft.source < 0 or not words_of(draft.text):
        return None
    ours = _spokesman(draft, found)
    said = draft.readings[ours]
    if said.probability < LEAST_PROBABLE:
        return None
    asked = Question.read(question, idf)
    covered = _sentence_cover(asked, draft.text, found, ours)
    rivals = [
        (k, reading)
        for k, reading in _others(question, asked, draft, found, ours)
        if differ(draft.text, other := _cut(found.texts[k], reading))
        and _sentence_cover(asked, other, found, k) >= LEAST_COVERED * covered
    ]
    if not rivals:
        return None
    rival, denied = max(rivals, key=lambda one: one[1].probability)
    dispute = Dispute(ours, rival, said, denied, len({found.doc_ids[k] for k, _ in rivals}))
    return dispute if dispute.strength >= EQUAL else None


def _others(
    question: str, asked: Question, draft: DraftLike, found: NeighboursLike, ours: int
) -> Iterator[tuple[int, Reading]]:
    """What neighbours of other documents say of what was asked: in the answer's own sentence, as
    probably as it is said there; or by themselves."""
    own, place = found.texts[draft.source], draft.spans[draft.source]
    texts = list(zip(found.doc_ids, found.texts, strict=True))
    holding = {doc_id for doc_id, text in texts if _says(text, draft.text)}
    missing = _names_missing(asked, found, ours)
    for k, (doc_id, text) in enumerate(texts):
        reading = draft.readings[k]
        if doc_id in (found.doc_ids[draft.source], found.doc_ids[ours]):
            continue
        if set_apart(question, found.titles[ours], f"{found.titles[k]} {text}"):
            continue
        if place and (other := restated(own, *place, text)):
            if _names_missing(asked, found, k) <= missing:
                yield k, Reading(*other, draft.readings[ours].probability)
        elif (
            reading.probability >= LEAST_PROBABLE
            and doc_id not in holding
            and not _says(found.texts[ours], _cut(text, reading))
            and not (missing or _names_missing(asked, found, k))
        ):
            yield k, reading


def dispute_signals(dispute: Dispute | None) -> dict[str, float]:
    """What a dispute says, by name; zeros without one."""
    strength, documents = (dispute.strength, dispute.documents) if dispute else (0.0, 0)
    return {"dispute": strength, "num_conflicting": float(documents)}


def dispute_sides(dispute: Dispute | None, found: Neighbours) -> tuple[Side, ...]:
    """The two passages that disagree most, the answer's own first; none without a dispute."""
    if dispute is None:
        return ()
    return tuple(
        Side(
            answer=_cut(found.texts[k], reading),
            doc_id=found.doc_ids[k],
            title=found.titles[k],
            start=int(found.starts[k]) + reading.start,
            end=int(found.starts[k]) + reading.end,
            probability=round(reading.probability, 6),
        )
        for k, reading in dispute.sides.items()
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


def _cut(text: str, reading: Reading) -> str:
    return one_line(text[reading.start : reading.end])


def _says(text: str, answer: str) -> bool:
    return holds(text, words_of(answer))


def _spokesman(draft: DraftLike, found: NeighboursLike) -> int:
    """The neighbour that gives this answer most probably by itself; at least its own."""
    agreeing = [
        k
        for k, (text, reading) in enumerate(zip(found.texts, draft.readings, strict=True))
        if _says(text, draft.text) and not differ(draft.text, _cut(text, reading))
    ]
    return max(agreeing or [draft.source], key=lambda k: draft.readings[k].probability)


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
