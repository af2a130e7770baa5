"""Plants contradictions: a copy of the passage in which the answer is another; knows no model.

The index is not built anew: the copy joins the neighbours of one question, as if search had
brought it, right behind the passage that it contradicts (the two differ in the answer alone, so
their ranks would be next to each other).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from retro.conflict import SMALL_NUMBERS, differ
from retro.examples import occurrences

if TYPE_CHECKING:
    from eval.questions import Question
    from index.retriever import Neighbours

PLANTED = "planted:"
"""How the id of a planted document begins."""

_DIGITS = re.compile(r"\d+")
_WORDS = list(SMALL_NUMBERS)
_NAME = 5
"""Words of a name, at most."""
_KINDS = (["who"], ["whose"], ["where"])
"""First words that by themselves say what is asked for."""


def other_answer(
    question: Question, pool: Sequence[Question], rng: np.random.Generator
) -> tuple[str, str] | None:
    """An accepted answer and another one of the same form, or None.

    A number, in digits or as a word, becomes another. A name becomes the answer to the question
    of the ``pool`` that begins most alike ("Which country …"), with as many words; there must be
    one that asks for the same kind of thing, for nobody takes "oscillating" for what was mined, and
    the answer must be short enough to be a name.
    """
    answer = max(question.answers, key=len, default="")
    if match := _DIGITS.search(answer):
        other = str(_other_number(match[0], rng))
        return answer, answer[: match.start()] + other + answer[match.end() :]
    for word in answer.lower().split():
        if word in _WORDS:
            other = _WORDS[(_WORDS.index(word) + int(rng.integers(1, 5))) % len(_WORDS)]
            return word, other
    usable = [
        (_alike(question, other), said)
        for other in pool
        for said in other.answers
        if len(said.split()) == len(answer.split()) <= _NAME and differ(answer, said)
        if not _DIGITS.search(said) and said[0].isupper() == answer[0].isupper()
    ]
    most = max((alike for alike, _ in usable), default=0)
    best = sorted({said for alike, said in usable if alike == most})
    kind = question.question.lower().split()[:1] in _KINDS
    return (answer, best[int(rng.integers(len(best)))]) if most + kind > 1 else None


def changed(text: str, answer: str, other: str) -> str | None:
    """The text with every mention of the answer replaced, or None if there is none."""
    places = list(occurrences(answer, text))
    for start in reversed(places):
        text = text[:start] + other + text[start + len(answer) :]
    return text if places else None


def plant(found: Neighbours, answer: str, other: str) -> Neighbours | None:
    """The neighbours with a changed copy, by another document, behind the first that says the
    answer; the last one is dropped for it. None if no neighbour says it."""
    copies = ((k, changed(text, answer, other)) for k, text in enumerate(found.texts))
    first, copy = next(((k, text) for k, text in copies if text), (-1, None))
    if copy is None:
        return None
    order = sorted([*range(len(found)), first])[: max(len(found), 2)]
    if first + 1 == len(order):  # the only place for it is that of the passage itself
        order = [*order[:-2], first, first]
    picked = _take(found, order)
    place = order.index(first) + 1
    texts, ids = list(picked.texts), list(picked.doc_ids)
    texts[place], ids[place] = copy, PLANTED + ids[place]
    return replace(picked, texts=tuple(texts), doc_ids=tuple(ids))


def _other_number(digits: str, rng: np.random.Generator) -> int:
    """Near enough to be believed: within 40 of a year, within 9 of anything else."""
    step = int(rng.integers(2, 40)) if len(digits) == 4 else int(rng.integers(1, 9))
    return int(digits) - step if int(digits) > step and rng.random() < 0.5 else int(digits) + step


def _alike(one: Question, other: Question) -> int:
    """How many words two questions have in common at their beginning."""
    pairs = zip(one.question.lower().split(), other.question.lower().split(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _take(found: Neighbours, order: Sequence[int]) -> Neighbours:
    """The neighbours in another order; one may come twice."""
    place = np.asarray(order, dtype=np.int64)
    arrays = "chunk_ids starts ends distances lexical scores dense_rank lexical_rank".split()
    tuples = "doc_ids titles texts tokens offsets".split()
    taken: dict[str, Any] = {name: getattr(found, name)[place] for name in arrays}
    taken |= {name: tuple(getattr(found, name)[k] for k in order) for name in tuples}
    return replace(found, **taken)
