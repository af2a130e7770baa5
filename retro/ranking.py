"""Ranks the neighbours of a question by how likely each holds its answer, before any is read.

Search finds neighbours by nearness and by words, fast, among millions; a ranker looks at the texts
of the few that it found. A small network on what can be counted there, trained listwise: the
softmax over a question's neighbours against those that hold the answer (ListNet: Cao et al. 2007,
§4). Knows no encoder and no reader.

Axes: k neighbours of a question, F features, U hidden units.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index.dedupe import text_digest
from index.disk import write_atomically
from index.errors import UserError
from index.lexical import fold
from retro.naming import headed_by, spelled_out
from retro.overlap import LEAST, Idf, Overlap, Passage, Question, stems_of
from retro.records import stored

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever

Floats = NDArray[np.float64]

VERSION = 1
DEPTH = 64
"""Neighbours of a question that are ranked, of which the first ones are kept."""
HEADED = {1: 2.0, 0: 0.0, -1: -20.0}
"""What is added to the score of a neighbour by what it is headed by (``retro.naming.headed_by``);
scores differ by less than twenty. Bonuses of 1.5 and 3 gave the same answers."""
SPELLED = 5.0
"""What is added where an abbreviation is spelled out whose meaning is asked: of 359 such questions
of SQuAD's, six passages hold the answers to 348 then, else to 338
(``benchmarks/abbreviations.py``)."""
OUTSIDE = 100
"""Rank of a neighbour that one of the two searches did not list."""

FEATURES = (
    "nearness",  # cosine, minus the best neighbour's
    "words",  # BM25 as a share of the best neighbour's
    "fused",  # the search's own score, minus the best one
    "dense_rank",  # logarithms of the places in the two lists
    "lexical_rank",
    "cover",  # shares of the question's words, by rarity: held by title and text,
    "sentence",  # by the best sentence with the title,
    "sentence_alone",  # without it,
    "pair",  # by the best two sentences in a row,
    "mean_sentence",  # by a sentence on the average,
    "title",  # by the title
    "titled",  # share of the title's words that the question holds
    "phrase",  # share of the question's adjacent words that are adjacent here
    "names_missing",  # share of the question that are names which it lacks
    "all_names",  # whether it has all names
    "rarest",  # whether it has the rarest word
    "at_start",  # whether it begins its document
    "sentences",  # logarithms of how many there are
    "length",
    "siblings",  # neighbours of the same document
    "document",  # their mean score by search, minus the best neighbour's
    "date",  # asked for one of this kind: its best sentence has one that the question has not
    "number",
    "person",
    "place",
)
"""What is counted of a neighbour. All of it is measured against the question's other neighbours or
is a share, so that it means the same with another embedder and in a database of another size."""

_KINDS = {
    "date": re.compile(r"\b(when|(what|which) (year|date|day|month|century|decade))\b"),
    "number": re.compile(r"\b(how (many|much|old|long|far|large|big|tall|high)|percent\w*)\b"),
    "person": re.compile(r"\b(who|whom|whose)\b"),
    "place": re.compile(r"\b(where|(what|which) (city|country|state|town|place|continent))\b"),
}
_YEAR = re.compile(r"\b(?:1\d|20)\d\d\b")
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"\b[^\W\d_a-z]\w+")


@dataclass(frozen=True)
class Ranker:
    """Features [k, F] in, log-probabilities [k] out, but for a constant of the question: ``linear``
    [F], and beside it one hidden layer (``hidden`` [U, F], ``bias`` [U], ``out`` [U]).

    Features are standardised with ``mean`` and ``deviation`` [F] first. ``statistics`` holds what
    was measured while fitting, ``data_hash`` names the questions it was fitted on.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    linear: tuple[float, ...]
    hidden: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    out: tuple[float, ...]
    data_hash: str = ""
    statistics: dict[str, float] = field(default_factory=dict)

    def score(self, counted: Floats) -> Floats:
        """What ``features`` gives [k, F] -> [k], higher is likelier."""
        x = (counted - np.array(self.mean)) / np.array(self.deviation)
        hidden = np.array(self.hidden).reshape(len(self.bias), len(FEATURES))
        added: Floats = np.tanh(x @ hidden.T + self.bias) @ np.array(self.out)
        scores: Floats = x @ np.array(self.linear) + added
        return scores

    def find(
        self,
        retriever: Retriever,
        questions: Sequence[str],
        k: int,
        exclude: Sequence[Collection[str]] | None = None,
    ) -> list[Neighbours]:
        """The ``k`` likeliest of the ``DEPTH`` neighbours that search finds for each question;
        ``exclude`` as ``Retriever.search_batch`` takes it."""
        found = retriever.search_batch(questions, max(DEPTH, k), exclude)
        return [
            self.rank(question, n, retriever.vocabulary(n.absent).idf, k)
            for question, n in zip(questions, found, strict=True)
        ]

    def rank(self, question: str, found: Neighbours, idf: Idf, k: int | None = None) -> Neighbours:
        """The ``k`` likeliest neighbours (default: all), likeliest first, with this score; those
        that describe the identifier that was asked about, or spell out the abbreviation, have more
        of it, and those that describe another identifier come last.
        Of several that say the same word for word, as versions of one document do, the likeliest
        is one of the ``k``: one text in ten copies would be ten votes, and leave no place."""
        added = np.array([HEADED[by] for by in headed_by(question, found.titles)])
        added += SPELLED * np.array(spelled_out(question, found.texts), dtype=float)
        scores = (self.score(features(question, found, idf)) + added).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        if k is not None:
            order = _distinct(order, found.texts)[:k]
        return replace(found.select(order.tolist()), scores=scores[order])

    def save(self, file: Path) -> None:
        """Writes JSON, whole or not at all."""
        told = {"version": VERSION, "features": FEATURES, **asdict(self)}
        write_atomically(file, json.dumps(told, allow_nan=False) + "\n")

    @classmethod
    def load(cls, file: Path) -> Ranker:
        """Raises UserError when the file is missing, broken, or of another version."""
        with stored(file, "a ranker", "fit it again: retro train ranker") as held:
            if (held["version"], tuple(held["features"])) != (VERSION, FEATURES):
                raise UserError(
                    f"{file}: a ranker of other features than this program counts; fit it again: "
                    "retro train ranker"
                )
            mean, deviation, linear = (
                _numbers(held[name], len(FEATURES)) for name in ("mean", "deviation", "linear")
            )
            rows = held["hidden"]
            return cls(
                mean=mean,
                deviation=deviation,
                linear=linear,
                hidden=tuple(_numbers(row, len(FEATURES)) for row in rows),
                bias=_numbers(held["bias"], len(rows)),
                out=_numbers(held["out"], len(rows)),
                data_hash=str(held["data_hash"]),
                statistics=dict(held["statistics"]),
            )


def _distinct(order: NDArray[np.int64], texts: Sequence[str]) -> NDArray[np.int64]:
    """Those whose text is not that of an earlier one."""
    first: dict[bytes, int] = {}
    for place in order.tolist():
        first.setdefault(text_digest(texts[place]), place)
    return np.fromiter(first.values(), np.int64, len(first))


def _numbers(values: Sequence[float], count: int) -> tuple[float, ...]:
    """Raises ValueError when they are not ``count`` finite numbers."""
    numbers = tuple(map(float, values))
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"not {count} numbers")
    return numbers


def features(question: str, found: Neighbours, idf: Idf) -> Floats:
    """[k, F], columns as ``FEATURES`` names them."""
    asked = Question.read(question, idf)
    kinds = [kind for kind, said in _KINDS.items() if said.search(fold(question))]
    if not len(found):
        return np.zeros((0, len(FEATURES)))
    texts = zip(found.titles, found.texts, strict=True)
    read = [_read(asked, title, text, kinds) for title, text in texts]
    columns = _searched(found) | {name: [row[name] for row in read] for name in read[0]}
    return np.array([columns[name] for name in FEATURES], dtype=float).T


def _searched(found: Neighbours) -> dict[str, Any]:
    """What search says of the neighbours."""
    cosines = 1.0 - np.asarray(found.distances, dtype=float)
    scores, bm25 = (np.asarray(x, dtype=float) for x in (found.scores, found.lexical))
    ranks = (np.asarray(x) for x in (found.dense_rank, found.lexical_rank))
    dense, lexical = (np.log1p(np.where(r < 0, OUTSIDE, r)) for r in ranks)
    best = scores.max()
    total: Counter[str] = Counter()
    for doc_id, score in zip(found.doc_ids, scores, strict=True):
        total[doc_id] += score
    siblings = Counter(found.doc_ids)
    return {
        "nearness": cosines - cosines.max(),
        "words": bm25 / max(bm25.max(initial=0.0), LEAST),
        "fused": scores - best,
        "dense_rank": dense,
        "lexical_rank": lexical,
        "at_start": np.asarray(found.starts) == 0,
        "siblings": np.log([siblings[d] for d in found.doc_ids]),
        "document": np.array([total[d] / siblings[d] - best for d in found.doc_ids]),
    }


def _read(asked: Question, title: str, text: str, kinds: Sequence[str]) -> dict[str, float]:
    """What is counted in one neighbour's title and text."""
    passage = Passage.read(title, text)
    overlap = Overlap.within(asked, passage)
    words, titled, shares = asked.rarity.keys(), passage.titled, overlap.shares
    alone = [asked.share(set(stems)) for stems in passage.stems]
    pairs = [asked.share(titled.union(a, b)) for a, b in pairwise(passage.stems)]
    best = passage.sentences[int(np.argmax(shares))]
    return {
        "cover": overlap.cover,
        "sentence": overlap.sentence,
        "sentence_alone": max(alone),
        "pair": max(pairs, default=overlap.sentence),
        "mean_sentence": sum(shares) / len(shares),
        "title": asked.share(titled),
        "titled": len(titled & words) / max(1, len(titled)),
        "phrase": overlap.phrase,
        "names_missing": overlap.names_missing,
        "all_names": bool(asked.names) and asked.names <= overlap.held,
        "rarest": asked.rarest in overlap.held,
        "sentences": np.log(len(passage.sentences)),
        "length": np.log1p(sum(map(len, passage.stems))),
        **{kind: kind in kinds and _has_new(kind, best, words) for kind in _KINDS},
    }


def _has_new(kind: str, sentence: str, asked: Collection[str]) -> bool:
    """Whether the sentence has a date, number or name that the question doesn't."""
    pattern = {"date": _YEAR, "number": _NUMBER}.get(kind, _NAME)
    return any(stem not in asked for x in pattern.findall(sentence) for stem in stems_of(x))
