"""Comparing short answers as strings, the way SQuAD does; knows no model and no index."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

RIGHT_F1 = 0.5
"""F1 from which an answer counts as right where exact match is too strict ("the 1990s")."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise_answer(text: str) -> str:
    """Lower case, no punctuation, no articles, single blanks (SQuAD's official normalisation)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def one_line(text: str) -> str:
    """A text whose lines may be broken anywhere, with single blanks."""
    return " ".join(text.split())


def accepted_answers(given: Any) -> list[str]:
    """The ``answers`` of a question's row: a string is one answer, nothing is none at all.

    Raises:
        ValueError: they are anything but strings.
    """
    answers = [given] if isinstance(given, str) else given or []
    if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
        raise ValueError("'answers' must be a list of strings ([]: the documents do not tell)")
    return answers


def exact_match(answer: str, references: Sequence[str]) -> bool:
    """Whether the answer equals one of the references after normalisation."""
    return normalise_answer(answer) in {normalise_answer(r) for r in references}


def f1(answer: str, references: Sequence[str]) -> float:
    """Best word-overlap F1 of the answer with one of the references, 0..1 (SQuAD's official)."""
    return max((_f1(answer, reference) for reference in references), default=0.0)


def _f1(answer: str, reference: str) -> float:
    ours, theirs = normalise_answer(answer).split(), normalise_answer(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def contains_answer(passage: str, answers: Sequence[str]) -> bool:
    """True if a normalised answer stands in the normalised passage as whole words."""
    padded = f" {normalise_answer(passage)} "
    return any(f" {words} " in padded for answer in answers if (words := normalise_answer(answer)))


def same_answer(answer: str, references: Sequence[str]) -> bool:
    """Whether the answer is one of the references, cut longer or shorter: F1 of at least
    ``RIGHT_F1``, or one of the two stands in the other as whole words."""
    return (
        f1(answer, references) >= RIGHT_F1
        or contains_answer(answer, references)
        or any(contains_answer(reference, [answer]) for reference in references)
    )
