"""Numbers that say whether the neighbours hold the answer; knows text and distances, no model.

Every function is pure and gives a flat ``dict[str, float]``. No value is ever NaN; a question
without neighbours, or one that shares nothing with them, gets the worst value of each. ``SIGNALS``
documents every name: its sign, what it is, and where the idea comes from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from index.lexical import fold

Idf = Callable[[str], float]
"""The inverse document frequency of a word in the database; words never seen have the highest."""


class NeighboursLike(Protocol):
    """What is read of ``index.retriever.Neighbours``: k neighbours of one question, best first."""

    @property
    def doc_ids(self) -> tuple[str, ...]: ...
    @property
    def titles(self) -> tuple[str, ...]: ...
    @property
    def texts(self) -> tuple[str, ...]: ...
    @property
    def distances(self) -> NDArray[Any]: ...
    @property
    def lexical(self) -> NDArray[Any]: ...
    @property
    def dense_top(self) -> NDArray[Any]: ...
    @property
    def lexical_top(self) -> NDArray[Any]: ...
    @property
    def dense_rank(self) -> NDArray[Any]: ...
    @property
    def lexical_rank(self) -> NDArray[Any]: ...


class Signal(NamedTuple):
    """``sign``: +1 higher speaks for an answer, -1 against, 0 context for the other signals."""

    sign: int
    meaning: str
    source: str


_DENSE = "distance to the database: knowing.md, scope"
_QPP = "query performance prediction: NQC, Shtok et al. 2012; WIG, Zhou & Croft 2007"
_FUSION = "agreement of dense and lexical search: knowing.md, sufficiency"
_OVERLAP = "surface overlap: Doostmohammadi et al. 2023; rarity: Sparck Jones 1972"
_SCOPE = "conformal p-value: Vovk et al. 2005; Bates et al. 2023"
_GROUND = "grounding of the answer in its passage: knowing.md, grounding"

SIGNALS: dict[str, Signal] = {
    "dense_top1": Signal(-1, "distance (1 - cosine) of the nearest chunk", _DENSE),
    "dense_mean": Signal(-1, "mean distance of the nearest chunks", _DENSE),
    "dense_gap": Signal(+1, "second distance minus first", _QPP),
    "dense_gap_k": Signal(+1, "last distance minus first", _QPP),
    "dense_spread": Signal(+1, "standard deviation of the nearest distances", _QPP),
    "scope_p": Signal(+1, "share of the database's own distances at least this far", _SCOPE),
    "bm25_per_word": Signal(+1, "best BM25 score by the question's content words", _QPP),
    "bm25_per_rarity": Signal(+1, "best BM25 score by the question's summed rarity", _QPP),
    "bm25_gap": Signal(+1, "(first - second BM25 score) / first", _QPP),
    "bm25_gap_k": Signal(+1, "(first - last BM25 score) / first", _QPP),
    "agreement": Signal(+1, "share of neighbours that both searches found", _FUSION),
    "joint_rank": Signal(+1, "1 / (1 + worse of the two ranks) of the best neighbour", _FUSION),
    "title_share": Signal(+1, "share of neighbours with the commonest title", _FUSION),
    "num_neighbours": Signal(+1, "neighbours found", _DENSE),
    "cover_best": Signal(+1, "rarity share of the question in one neighbour, title too", _OVERLAP),
    "cover_first": Signal(+1, "the same, in the first neighbour", _OVERLAP),
    "cover_mean": Signal(+1, "the same, mean over the neighbours", _OVERLAP),
    "cover_union": Signal(+1, "the same, in all neighbours together", _OVERLAP),
    "cover_gap": Signal(+1, "best minus second best neighbour's share", _OVERLAP),
    "cover_text": Signal(+1, "rarity share in one neighbour's text, title left out", _OVERLAP),
    "cover_text_union": Signal(+1, "the same, in all neighbours together", _OVERLAP),
    "cover_sentence": Signal(+1, "rarity share in one sentence and its title", _OVERLAP),
    "phrase_best": Signal(+1, "share of adjacent content words adjacent in a neighbour", _OVERLAP),
    "missing_sum": Signal(-1, "rarity of the words that the best neighbour lacks", _OVERLAP),
    "missing_max": Signal(-1, "the rarest of them", _OVERLAP),
    "rarest_found": Signal(+1, "1 if any neighbour holds the question's rarest word", _OVERLAP),
    "name_cover": Signal(+1, "rarity share of names and numbers in one neighbour", _OVERLAP),
    "names_missing": Signal(-1, "names and numbers of the question in no neighbour", _OVERLAP),
    "question_words": Signal(0, "content words of the question", _QPP),
    "question_rarity": Signal(0, "mean rarity of the content words", _QPP),
    "answer_len": Signal(-1, "words of the answer", "length baseline: knowing.md, traps"),
    "answer_echo": Signal(-1, "share of the answer's words that the question has", _GROUND),
    "num_supporting": Signal(+1, "neighbours that hold the answer", _GROUND),
    "grounded": Signal(+1, "1 if the answer stands in its neighbour word for word", _GROUND),
    "source_cover": Signal(+1, "rarity share of the question in the answer's neighbour", _GROUND),
    "source_sentence": Signal(+1, "the same, in the answer's sentence and title", _GROUND),
    "source_distance": Signal(-1, "distance of the answer's neighbour", _GROUND),
}
"""Every name that this module can give; model signals come from elsewhere."""

_LEAST = 1e-6  # a rarity above zero, so that shares are defined
_FARTHEST = 1.0  # a distance for "nothing there": orthogonal
_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])|\n+")
_STOP_WORDS = """
a about after also an and are as at be been before being between by can could did do does during
for from had has have he her his how i if in into is it its kind many may might much must name
named no not of on one or our over s shall she should so such t than that the their them then
there these they this those to type under was we were what when where which who whom whose why
will with would you your
"""
_STOP = frozenset(_STOP_WORDS.split())


def _stem(word: str) -> str:
    """The first five letters; measured above suffix stripping and above whole words."""
    return word if word[:1].isdigit() else word[:5]


_STOP_STEMS = frozenset(map(_stem, _STOP))


def _stems(text: str) -> list[str]:
    return [_stem(w) for w in _WORD.findall(fold(text))]


@dataclass(frozen=True)
class _Question:
    """Content words in order as stems, the rarity of each, and which are names or numbers."""

    stems: list[str]
    rarity: dict[str, float]
    names: frozenset[str]

    @classmethod
    def read(cls, text: str, idf: Idf) -> _Question:
        words = _WORD.findall(fold(text))
        kept = [w for w in words if w not in _STOP] or words or [""]
        rarity: dict[str, float] = {}
        for word in kept:
            rarity[_stem(word)] = max(rarity.get(_stem(word), _LEAST), idf(word))
        names = {_stem(fold(w)) for w in _WORD.findall(text) if not w[0].islower()}
        return cls([_stem(w) for w in kept], rarity, frozenset(names & rarity.keys()))

    def weigh(self, words: Iterable[str]) -> float:
        return sum(self.rarity[w] for w in words)

    def share(self, found: Collection[str]) -> float:
        """Rarity-weighted share of the question's words in ``found``, 0..1."""
        return self.weigh(w for w in self.rarity if w in found) / self.weigh(self.rarity)


def retrieval_signals(
    question: str,
    neighbours: NeighboursLike,
    idf: Idf,
    own_distances: Sequence[float] | None = None,
) -> dict[str, float]:
    """All signals that need no answer.

    ``own_distances``: ascending, equally spaced quantiles of the distances that the database has
    to its own held-out text (the index manifest holds them); without them no ``scope_p``.
    """
    asked = _Question.read(question, idf)
    scope = {} if own_distances is None else scope_signals(neighbours.dense_top, own_distances)
    return {
        **dense_signals(neighbours.dense_top),
        **scope,
        **lexical_signals(asked, neighbours.lexical_top),
        **agreement_signals(neighbours),
        **coverage_signals(asked, neighbours),
    }


def dense_signals(distances: NDArray[Any]) -> dict[str, float]:
    """Of the nearest distances, ascending [k]; ``_FARTHEST`` where there is none."""
    near = np.asarray(distances if len(distances) else [_FARTHEST], dtype=np.float64)
    return {
        "dense_top1": float(near[0]),
        "dense_mean": float(near.mean()),
        "dense_gap": float(near[:2][-1] - near[0]),
        "dense_gap_k": float(near[-1] - near[0]),
        "dense_spread": float(near.std()),
    }


def scope_signals(distances: NDArray[Any], own_distances: Sequence[float]) -> dict[str, float]:
    """The p-value of the nearest distance under the database's own: 1 near, 0 farther than any."""
    own = np.asarray(own_distances, dtype=np.float64)
    nearest = float(distances[0]) if len(distances) else np.inf
    return {"scope_p": 1.0 - float(np.interp(nearest, own, np.linspace(0.0, 1.0, len(own))))}


def lexical_signals(asked: _Question, scores: NDArray[Any]) -> dict[str, float]:
    """Of the best BM25 scores, descending [k]."""
    best = np.asarray(scores if len(scores) else [0.0], dtype=np.float64)
    return {
        "bm25_per_word": float(best[0] / len(asked.rarity)),
        "bm25_per_rarity": float(best[0] / asked.weigh(asked.rarity)),
        "bm25_gap": float((best[0] - best[:2][-1]) / max(best[0], _LEAST)),
        "bm25_gap_k": float((best[0] - best[-1]) / max(best[0], _LEAST)),
    }


def agreement_signals(neighbours: NeighboursLike) -> dict[str, float]:
    """Do both searches, and the neighbours among themselves, point to one place?"""
    num = len(neighbours.texts)
    dense, lexical = np.asarray(neighbours.dense_rank), np.asarray(neighbours.lexical_rank)
    worse = np.maximum(dense, lexical)[(dense >= 0) & (lexical >= 0)]
    return {
        "num_neighbours": float(num),
        "agreement": len(worse) / max(num, 1),
        "joint_rank": 1.0 / (1.0 + float(worse.min())) if len(worse) else 0.0,
        "title_share": max(Counter(neighbours.titles).values(), default=0) / max(num, 1),
    }


def coverage_signals(asked: _Question, neighbours: NeighboursLike) -> dict[str, float]:
    """How much of the question, by rarity, the neighbours hold, and what they lack."""
    titles = [set(_stems(title)) for title in neighbours.titles] or [set()]
    stems = [_stems(text) for text in neighbours.texts] or [[]]
    texts = [set(s) for s in stems]
    both = [text | title for text, title in zip(texts, titles, strict=True)]
    shares = [asked.share(words) for words in both]
    best, *rest = sorted(shares, reverse=True)
    everything = set().union(*both)
    lacking = [v for w, v in asked.rarity.items() if w not in both[shares.index(best)]]
    pairs = set(pairwise(asked.stems))
    return {
        "cover_best": best,
        "cover_first": shares[0],
        "cover_mean": sum(shares) / len(shares),
        "cover_union": asked.share(everything),
        "cover_gap": best - (rest[0] if rest else 0.0),
        "cover_text": max(map(asked.share, texts)),
        "cover_text_union": asked.share(set().union(*texts)),
        "cover_sentence": _best_sentence(asked, neighbours.texts, titles),
        "phrase_best": max(_adjacent(pairs, s) for s in stems),
        "missing_sum": float(sum(lacking)),
        "missing_max": max(lacking, default=0.0),
        "rarest_found": float(max(asked.rarity, key=asked.rarity.__getitem__) in everything),
        **_name_signals(asked, both, best),
        "question_words": float(len(asked.rarity)),
        "question_rarity": asked.weigh(asked.rarity) / len(asked.rarity),
    }


def _best_sentence(asked: _Question, texts: Sequence[str], titles: list[set[str]]) -> float:
    shares = [
        asked.share(title.union(_stems(sentence)))
        for text, title in zip(texts, titles, strict=False)
        for sentence in _SENTENCE.split(text)
    ]
    return max(shares, default=0.0)


def _adjacent(pairs: set[tuple[str, str]], stems: list[str]) -> float:
    """Share of the question's adjacent content words that are adjacent here, stop words aside."""
    held = set(pairwise(s for s in stems if s not in _STOP_STEMS))
    return len(pairs & held) / max(len(pairs), 1)


def _name_signals(asked: _Question, held: list[set[str]], fallback: float) -> dict[str, float]:
    """A name that no neighbour holds is the strongest near-miss sign; no names: ``fallback``."""
    rarity = asked.weigh(asked.names)
    best = max(asked.weigh(asked.names & words) for words in held)
    return {
        "name_cover": best / rarity if rarity else fallback,
        "names_missing": float(len(asked.names.difference(*held))),
    }


def answer_signals(
    question: str, answer: str, neighbours: NeighboursLike, idf: Idf, source: int | None = None
) -> dict[str, float]:
    """Signals of one answer from neighbour ``source``; without it, from the first that holds it."""
    asked = _Question.read(question, idf)
    words = _WORD.findall(fold(answer))
    holding = [i for i, text in enumerate(neighbours.texts) if _holds(text, words)]
    if source is None:
        source = holding[0] if holding else None
    spoken = set(_WORD.findall(fold(question)))
    return {
        "answer_len": float(len(words)),
        "answer_echo": sum(w in spoken for w in words) / max(len(words), 1),
        "num_supporting": float(len(holding)),
        "grounded": float(source in holding),
        **_source_signals(asked, words, neighbours, source),
    }


def _source_signals(
    asked: _Question, words: list[str], neighbours: NeighboursLike, source: int | None
) -> dict[str, float]:
    if source is None:
        return {"source_cover": 0.0, "source_sentence": 0.0, "source_distance": _FARTHEST}
    text, title = neighbours.texts[source], set(_stems(neighbours.titles[source]))
    sentences = [title.union(_stems(s)) for s in _SENTENCE.split(text) if _holds(s, words)]
    return {
        "source_cover": asked.share(title.union(_stems(text))),
        "source_sentence": max(map(asked.share, sentences), default=0.0),
        "source_distance": float(neighbours.distances[source]),
    }


def _holds(text: str, words: list[str]) -> bool:
    """Whether these words stand in the text one after the other."""
    return bool(words) and f" {' '.join(words)} " in f" {' '.join(_WORD.findall(fold(text)))} "
