"""Questions that need two facts: the name that leads from the first to the second.

What one passage says ("Faun is a film by Alexander Korda") is needed to find the other ("Zoltan
Korda, his brother, ..."). So the reader is asked for the *bridge* first, the question is asked
again with the bridge named, and search finds the second passage: retrieval in turns, as in GoldEn
(Qi et al. 2019) and multi-hop dense retrieval (Xiong et al. 2021), without a second model. How a
reader learns both forms: ``retro.hops``. Knows words and readings; knows no model and no index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retro.overlap import words_of
from retro.types import Reading

READ_FOR_BRIDGES = 4
"""Neighbours, best first, in which a bridge is looked for."""

LEAST_PROBABLE = 0.3
"""Least probability of a bridge, judged on its neighbour alone."""


@dataclass(frozen=True)
class Bridge:
    """A name read in neighbour number ``source``: characters ``start`` to ``end`` of its text.
    ``probability``: that it leads on, judged on that neighbour alone."""

    name: str
    source: int
    start: int
    end: int
    probability: float


def first_hop(question: str) -> str:
    """What a passage is asked for the bridge with."""
    return f"{question} (?)"


def second_hop(question: str, bridge: str) -> str:
    """The question with its bridge named: what is searched and read then."""
    return f"{question} ({bridge})"


def best_bridge(question: str, texts: Sequence[str], readings: Sequence[Reading]) -> Bridge | None:
    """The likeliest bridge read in the neighbours' texts, if it is probable and says something that
    the question does not."""
    asked = set(words_of(question))
    found = [
        Bridge(name, i, r.start, r.end, r.probability)
        for i, (text, r) in enumerate(zip(texts, readings, strict=True))
        if r.probability >= LEAST_PROBABLE and set(words_of(name := text[r.start : r.end])) - asked
    ]
    return max(found, key=lambda bridge: bridge.probability, default=None)
