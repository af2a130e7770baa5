"""Numbers that say whether the neighbours hold the answer; knows text and distances, no model.

Every function is pure and gives a flat ``dict[str, float]``. No value is ever NaN; a question
without neighbours, or one that shares nothing with them, gets the worst value of each. ``SIGNALS``
documents every name: its sign, what it is, and where the idea comes from. None grows with the
size of the database, so that what one index taught holds for another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from retro.naming import misnamed
from retro.overlap import LEAST, Idf, Overlap, Question, holds, sentences_of, stems_of, words_of


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


_DENSE = "distance to the nearest neighbours: Sun et al. 2022"
_QPP = "query performance prediction: NQC, Shtok et al. 2012; WIG, Zhou & Croft 2007"
_FUSION = "agreement of dense and lexical search on a neighbour, of the neighbours on a document"
_OVERLAP = "surface overlap: Doostmohammadi et al. 2023; rarity: Sparck Jones 1972"
_SCOPE = "conformal p-value: Vovk et al. 2005; Bates et al. 2023"
_NAMING = "two passages that differ in their headings alone: retro.naming"
_GROUND = "grounding of the answer in its passage: Rashkin et al. 2023"

SIGNALS: dict[str, Signal] = {
    "dense_top1": Signal(-1, "distance (1 - cosine) of the nearest chunk", _DENSE),
    "dense_mean": Signal(-1, "mean distance of the nearest chunks", _DENSE),
    "dense_gap": Signal(+1, "second distance minus first", _QPP),
    "dense_spread": Signal(+1, "standard deviation of the nearest distances", _QPP),
    "scope_p": Signal(+1, "share of the database's own distances at least this far", _SCOPE),
    "bm25_per_rarity": Signal(+1, "best BM25 score by the question's summed rarity", _QPP),
    "bm25_gap": Signal(+1, "(first - second BM25 score) / first", _QPP),
    "bm25_spread": Signal(+1, "standard deviation / mean of the best BM25 scores", _QPP),
    "num_neighbours": Signal(+1, "neighbours found", _DENSE),
    "agreement": Signal(+1, "share of neighbours that both searches found", _FUSION),
    "joint_rank": Signal(+1, "1 / (1 + worse of the two ranks) of the best neighbour", _FUSION),
    "title_share": Signal(+1, "share of neighbours with the commonest title", _FUSION),
    "match_best": Signal(+1, "overlap and nearness of the best matching neighbour", _FUSION),
    "match_gap": Signal(+1, "the same minus the best match in another document", _FUSION),
    "match_names_missing": Signal(-1, "rarity share of names that it lacks", _OVERLAP),
    "match_missing": Signal(-1, "content words of the question that it lacks", _OVERLAP),
    "match_phrase": Signal(+1, "share of adjacent content words adjacent in it", _OVERLAP),
    "cover_best": Signal(+1, "rarity share of the question in one neighbour, title too", _OVERLAP),
    "cover_mean": Signal(+1, "the same, mean over the neighbours", _OVERLAP),
    "cover_union": Signal(+1, "the same, in all neighbours together", _OVERLAP),
    "cover_sentence": Signal(+1, "the same, in one sentence and its title", _OVERLAP),
    "rarest_found": Signal(+1, "1 if any neighbour holds the question's rarest word", _OVERLAP),
    "question_words": Signal(0, "content words of the question", _QPP),
    "answer_len": Signal(-1, "words of the answer", "length baseline"),
    "answer_echo": Signal(-1, "share of the answer's words that the question has", _GROUND),
    "num_supporting": Signal(+1, "neighbours that hold the answer", _GROUND),
    "grounded": Signal(+1, "1 if the answer stands in its neighbour word for word", _GROUND),
    "source_cover": Signal(+1, "rarity share of the question in the answer's neighbour", _GROUND),
    "source_sentence": Signal(+1, "the same, in the answer's sentence and title", _GROUND),
    "source_distance": Signal(-1, "distance of the answer's neighbour", _GROUND),
    "misnamed": Signal(-1, "1 if the question names another neighbour's heading", _NAMING),
}
"""Every name that this module can give; what the model says is in ``MODEL_SIGNALS``.

``match_best`` is the strongest single one: that *one* neighbour is near and holds the words. A name
in the question that no neighbour holds is the strongest sign of a near miss.
"""

_POSTERIOR = "span posterior over all neighbours and none: Clark & Gardner 2018; Devlin et al. 2019"
_SEQUENCE = "sequence likelihood: Malinin & Gales 2021"
_DROPOUT = "Monte-Carlo dropout: Gal & Ghahramani 2016; BALD: Houlsby et al. 2011"
_UNHEARD = "names that no document holds: index.spelling"
_CONFLICT = "passages judged alone that contradict each other: retro.conflict"

MODEL_SIGNALS: dict[str, Signal] = {
    "null_probability": Signal(-1, "probability that no neighbour answers", _POSTERIOR),
    "span_probability": Signal(+1, "probability of the answer, its mentions added up", _POSTERIOR),
    "span_agreement": Signal(+1, "the same, given that there is an answer", _POSTERIOR),
    "span_entropy": Signal(-1, "entropy over spans and none, nats", _POSTERIOR),
    "relevance_top": Signal(+1, "highest logit that a neighbour answers, judged alone", _POSTERIOR),
    "relevance_gap": Signal(+1, "that minus the second highest", _POSTERIOR),
    "num_agreeing": Signal(+1, "neighbours in which the answer was read", _POSTERIOR),
    "backing": Signal(+1, "probability of the answer by that of the likeliest one", _POSTERIOR),
    "answer_log_probability": Signal(+1, "mean log-probability of the answer's tokens", _SEQUENCE),
    "decoder_log_probability": Signal(+1, "the same from the decoder alone", _SEQUENCE),
    "evidence_pmi": Signal(+1, "mean log-probability gained by the neighbours", _SEQUENCE),
    "copy_mass": Signal(0, "mean gate: share that was copied", _SEQUENCE),
    "answer_entropy": Signal(-1, "mean entropy of the next token, nats", _SEQUENCE),
    "answer_margin": Signal(+1, "probability of the first token minus the runner-up's", _SEQUENCE),
    "mc_probability_mean": Signal(+1, "span_probability, mean of the dropout samples", _DROPOUT),
    "mc_probability_std": Signal(-1, "its standard deviation", _DROPOUT),
    "mc_null_mean": Signal(-1, "null_probability, mean of the dropout samples", _DROPOUT),
    "mc_entropy": Signal(-1, "entropy of the mean span posterior, nats", _DROPOUT),
    "mc_bald": Signal(-1, "mutual information of span and dropout mask, nats", _DROPOUT),
    "mc_flip_rate": Signal(-1, "share of samples whose best span is another answer", _DROPOUT),
    "dispute": Signal(-1, "strength of another document's other answer, by this one's", _CONFLICT),
    "num_conflicting": Signal(-1, "documents that give another answer, judged alone", _CONFLICT),
    "unheard": Signal(-1, "1 if no document has a name that the question holds", _UNHEARD),
}
"""Every name that ``retro.drafting`` and, from its readings, ``retro.conflict`` give; and that of
what the index says of the question's own words."""

CERTAINTY = ("span_probability", "null_probability", "span_entropy", "answer_entropy")
"""How sure the reader and the decoder are: what tells right from wrong where the facts are there.

A collection has a few dozen cases with the facts and a wrong answer; with all signals they would be
learned by heart (out of fold, both log-loss and AUROC are worse).
"""

DISCOUNTS = ("backing", "dispute", "num_conflicting", "misnamed", "unheard")
"""What takes from what the head gives (``Answerer.confidence``), and is not to be learned twice."""

SCOPE = "scope_p"
"""What only a database of several documents can tell."""

SEARCHED = (
    "dense_top1 dense_mean dense_gap dense_spread scope_p bm25_per_rarity bm25_gap bm25_spread "
    "num_neighbours agreement joint_rank title_share match_gap"
).split()
"""What tells how well a search of the database went. Of a document that somebody chose they say how
long it is, or nothing."""

_FARTHEST = 1.0  # a distance for "nothing there": orthogonal


def retrieval_signals(
    question: str,
    neighbours: NeighboursLike,
    idf: Idf,
    own_distances: Sequence[float] = (),
) -> dict[str, float]:
    """All signals that need no answer.

    ``own_distances``: ascending, equally spaced quantiles of the distances that the database has
    to its own held-out text (the index manifest holds them); without any, as of a database of one
    document, no ``scope_p``.
    """
    asked = Question.read(question, idf)
    scope = scope_signals(neighbours.dense_top, own_distances) if own_distances else {}
    return {
        **dense_signals(neighbours.dense_top),
        **scope,
        **lexical_signals(asked, neighbours.lexical_top),
        **agreement_signals(neighbours),
        **match_signals(asked, neighbours),
    }


def dense_signals(distances: NDArray[Any]) -> dict[str, float]:
    """Of the nearest distances, ascending [k]; ``_FARTHEST`` where there is none."""
    near = np.asarray(distances if len(distances) else [_FARTHEST], dtype=np.float64)
    return {
        "dense_top1": float(near[0]),
        "dense_mean": float(near.mean()),
        "dense_gap": float(near[:2][-1] - near[0]),
        "dense_spread": float(near.std()),
    }


def scope_signals(distances: NDArray[Any], own_distances: Sequence[float]) -> dict[str, float]:
    """The p-value of the nearest distance under the database's own: 1 near, 0 farther than any."""
    own = np.asarray(own_distances, dtype=np.float64)
    nearest = float(distances[0]) if len(distances) else np.inf
    return {SCOPE: 1.0 - float(np.interp(nearest, own, np.linspace(0.0, 1.0, len(own))))}


def lexical_signals(asked: Question, scores: NDArray[Any]) -> dict[str, float]:
    """Of the best BM25 scores, descending [k]."""
    best = np.asarray(scores if len(scores) else [0.0], dtype=np.float64)
    return {
        "bm25_per_rarity": float(best[0] / sum(asked.rarity.values())),
        "bm25_gap": float((best[0] - best[:2][-1]) / max(best[0], LEAST)),
        "bm25_spread": float(best.std() / max(best.mean(), LEAST)),
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


def match_signals(asked: Question, neighbours: NeighboursLike) -> dict[str, float]:
    """How much of the question, by rarity, the neighbours hold, and what the best one lacks."""
    overlaps = _overlaps(asked, neighbours)
    scores = _match_scores(overlaps, neighbours)
    best = overlaps[int(np.argmax(scores))] if overlaps else Overlap.of(asked, "", "")
    return {
        "match_best": max(scores, default=-1.0),
        "match_gap": _gap(neighbours.doc_ids, scores),
        "match_names_missing": best.names_missing,
        "match_missing": float(len(asked.rarity) - len(best.held)),
        "match_phrase": best.phrase,
        **_cover_signals(asked, overlaps or [best]),
        "question_words": float(len(asked.rarity)),
    }


def _overlaps(asked: Question, neighbours: NeighboursLike) -> list[Overlap]:
    rows = zip(neighbours.titles, neighbours.texts, strict=True)
    return [Overlap.of(asked, title, text) for title, text in rows]


def _match_scores(overlaps: list[Overlap], neighbours: NeighboursLike) -> list[float]:
    """Nearness and overlap of each neighbour in one number, from -1 to about 5.

    Round weights, set on articles of SQuAD's training part; the AUROC is flat around them.
    """
    similarity = 1.0 - np.asarray(neighbours.distances, dtype=np.float64)
    lexical = np.asarray(neighbours.lexical, dtype=np.float64)
    nearness = 2.0 * similarity + 0.5 * lexical / max(lexical.max(initial=0.0), LEAST)
    return [
        float(near) + o.cover + o.sentence + 0.3 * o.phrase - o.names_missing
        for near, o in zip(nearness, overlaps, strict=True)
    ]


def _gap(doc_ids: Sequence[str], scores: list[float]) -> float:
    """Best score minus the best one of any other document."""
    best: dict[str, float] = {}
    for doc_id, score in zip(doc_ids, scores, strict=True):
        best[doc_id] = max(score, best.get(doc_id, score))
    top = sorted(best.values(), reverse=True)[:2]
    return top[0] - top[-1] if top else 0.0


def _cover_signals(asked: Question, overlaps: list[Overlap]) -> dict[str, float]:
    everything = frozenset().union(*(o.held for o in overlaps))
    return {
        "cover_best": max(o.cover for o in overlaps),
        "cover_mean": sum(o.cover for o in overlaps) / len(overlaps),
        "cover_union": asked.share(everything),
        "cover_sentence": max(o.sentence for o in overlaps),
        "rarest_found": float(asked.rarest in everything),
    }


def answer_signals(
    question: str, answer: str, neighbours: NeighboursLike, idf: Idf, source: int | None = None
) -> dict[str, float]:
    """Signals of one answer from neighbour ``source``; without it, from the first that holds it."""
    asked = Question.read(question, idf)
    words = words_of(answer)
    holding = [i for i, text in enumerate(neighbours.texts) if holds(text, words)]
    if source is None:
        source = holding[0] if holding else None
    spoken = set(words_of(question))
    return {
        "answer_len": float(len(words)),
        "answer_echo": sum(w in spoken for w in words) / max(len(words), 1),
        "num_supporting": float(len(holding)),
        "grounded": float(source in holding),
        **_source_signals(asked, words, neighbours, source),
        "misnamed": float(
            source is not None
            and misnamed(question, neighbours.titles, neighbours.texts, source, idf)
        ),
    }


def _source_signals(
    asked: Question, words: list[str], neighbours: NeighboursLike, source: int | None
) -> dict[str, float]:
    if source is None:
        return {"source_cover": 0.0, "source_sentence": 0.0, "source_distance": _FARTHEST}
    text, title = neighbours.texts[source], set(stems_of(neighbours.titles[source]))
    sentences = [title.union(stems_of(s)) for s in sentences_of(text) if holds(s, words)]
    return {
        "source_cover": asked.share(title.union(stems_of(text))),
        "source_sentence": max(map(asked.share, sentences), default=0.0),
        "source_distance": float(neighbours.distances[source]),
    }
