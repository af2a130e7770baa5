"""Does another passage repeat a sentence with something else in one place? Knows words alone.

Of a rule that was changed, a figure that was corrected, a page that was copied and edited, a folder
of documents often holds both versions: the same sentence twice, with two answers.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import NamedTuple

from retro.overlap import Word, sentence_places, words_in

LEAST_SHARED = 5
"""Words around the place that both sentences must have, in the same order."""

SHARED = 0.8
"""Those words as a share of all around the place, in the longer of the two sentences."""

LONGEST = 8
"""Words that may stand in the place, or twice as many as stand there in the first sentence."""


class _Found(NamedTuple):
    shared: int
    start: int
    end: int


def restated(text: str, start: int, end: int, other: str) -> tuple[int, int] | None:
    """The characters of ``other`` that stand there in the place of ``text[start:end]``: what is
    around them in one sentence of ``other`` is what is around that place in its own sentence.
    None if there is no such sentence. What stands in the place may be the same."""
    around = [(a, b) for a, b in sentence_places(text) if a < end and b > start]
    if not around:
        return None
    ours = words_in(text, around[0][0], around[-1][1])
    place = [i for i, word in enumerate(ours) if word.start < end and word.end > start]
    if not place:
        return None
    found = [
        match
        for a, b in sentence_places(other)
        if (match := _match(ours, place[0], place[-1] + 1, words_in(other, a, b)))
    ]
    best = max(found, default=None)
    return best and (best.start, best.end)


def _match(ours: list[Word], first: int, last: int, theirs: list[Word]) -> _Found | None:
    """What stands in ``theirs`` for ``ours[first:last]``: the words just before and behind are the
    same, and so are most of the others."""
    matcher = SequenceMatcher(None, [w.folded for w in ours], [w.folded for w in theirs], False)
    same = {
        block.a + i: block.b + i
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    } | {-1: -1, len(ours): len(theirs)}
    if first - 1 not in same or last not in same:
        return None
    begin, stop = same[first - 1] + 1, same[last]
    if not 0 < stop - begin <= max(LONGEST, 2 * (last - first)):
        return None
    shared = sum(0 <= i < first or last <= i < len(ours) for i in same)
    most = max(len(ours) - (last - first), len(theirs) - (stop - begin))
    if shared < max(LEAST_SHARED, SHARED * most):
        return None
    return _Found(shared, theirs[begin].start, theirs[stop - 1].end)
