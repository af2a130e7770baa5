"""Fits the ranker of neighbours on questions that an index answers; knows no reader.

Axes: n questions, k neighbours searched for each, F features, U hidden units.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from index.disk import claim
from index.errors import UserError
from index.retriever import Neighbours, Retriever
from retro.examples import numbers_by_text, read_jsonl
from retro.overlap import Idf
from retro.ranking import DEPTH, FEATURES, Ranker, features
from retro.text import contains_answer
from retro.train_setup import held_out_titles, present_documents

HIDDEN = 32
EPOCHS, BATCH, RATE, DECAY = 8, 128, 5e-3, 1e-2
LOWERED = 0.25
"""Share of the questions that are asked as people type: in lower case, without a question mark."""
TESTED = 0.1
"""Share of the titles that are kept to measure it."""
SEARCHED = 256


@dataclass(frozen=True)
class Lists:
    """Neighbours of n questions: ``counted`` float32 [n, k, F]; ``holds`` bool [n, k], windows of
    the question's passage with an accepted answer; ``counts`` bool [n, k], neighbours that are
    there and are not another document's that holds an answer: these are neither right nor wrong."""

    counted: NDArray[np.float32]
    holds: NDArray[np.bool_]
    counts: NDArray[np.bool_]

    @classmethod
    def of(cls, counted: Sequence[Any], holds: Sequence[Any], counts: Sequence[Any]) -> Self:
        return cls(
            np.array(counted, np.float32).reshape(-1, DEPTH, len(FEATURES)),
            np.array(holds, bool).reshape(-1, DEPTH),
            np.array(counts, bool).reshape(-1, DEPTH),
        )

    def part(self, rows: NDArray[Any]) -> Lists:
        return Lists(self.counted[rows], self.holds[rows], self.counts[rows])


@dataclass(frozen=True)
class Asked:
    """One question; ``documents``: the ids of its passage, None where nobody has said which one it
    is. Then whatever holds an accepted answer is taken to answer (Mintz et al. 2009)."""

    question: str
    answers: tuple[str, ...]
    title: str
    documents: Collection[str] | None

    def typed(self, rng: np.random.Generator) -> Asked:
        """The same, sometimes in lower case and without a question mark."""
        if rng.random() >= LOWERED:
            return self
        return replace(self, question=self.question.lower().rstrip(" ?"))


def fit(
    index: Path, data: Sequence[Path], out: Path, *, limit: int, hold_out: int, seed: int
) -> None:
    """Writes the ranker file ``out``, and prints the share of questions of which one of the first
    neighbours holds an answer, as search orders them and as the ranker does, on titles of which it
    has learned nothing.

    ``limit``: questions of each file. Those whose passage is not in the index are left out.

    Raises:
        UserError: none is left, or ``out`` cannot be written.
    """
    claim(out.parent)
    retriever = Retriever.open(index)
    asked = _questions(retriever, data, limit=limit, hold_out=hold_out, seed=seed)
    titles = [one.title or one.question for one in asked]
    tested = np.isin(titles, list(held_out_titles(titles, round(TESTED * len(set(titles))))))
    lists = _lists(retriever, asked)
    ranker = fit_ranker(lists.part(np.flatnonzero(~tested)), seed)
    kept = lists.part(np.flatnonzero(tested))
    by_ranker = ranker.score(kept.counted.astype(np.float64))
    statistics = {"num_questions": float(len(asked)), "num_tested": float(tested.sum())}
    for name, scores in (("searched", _as_searched(kept)), ("ranked", by_ranker)):
        statistics |= {f"{name}_{n}": share for n, share in recall(kept, scores).items()}
    told = json.dumps([[one.question, *one.answers] for one in asked]).encode()
    replace(ranker, data_hash=hashlib.sha256(told).hexdigest(), statistics=statistics).save(out)
    for name, value in statistics.items():
        print(f"{name} {value:.4g}")


def fit_ranker(lists: Lists, seed: int, epochs: int = EPOCHS) -> Ranker:
    """Minimises -log P(a neighbour that holds the answer) under the softmax over those that count;
    questions without such a neighbour teach nothing.

    Raises:
        UserError: there is no question with one.
    """
    lists = lists.part(np.flatnonzero(lists.holds.any(1)))
    if not len(lists.holds):
        raise UserError("no neighbour holds an answer; check that the index holds the passages")
    torch.manual_seed(seed)
    told = lists.counted[lists.counts].astype(np.float64)
    mean, deviation = told.mean(0), told.std(0) + 1e-6
    x = torch.from_numpy(((lists.counted - mean) / deviation).astype(np.float32))
    holds, counts = torch.from_numpy(lists.holds), torch.from_numpy(lists.counts)
    net = _Net()
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for batch in _batches(len(x), epochs):
        loss = _loss(net(x[batch]), holds[batch], counts[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.ranker(mean, deviation)


def recall(lists: Lists, scores: NDArray[Any], most: Sequence[int] = (1, 6, 8)) -> dict[int, float]:
    """Share of questions of which one of the first neighbours by ``scores`` [n, k] holds an answer,
    by how many are looked at."""
    there = np.isfinite(lists.counted[..., 0])
    order = np.argsort(-np.where(there, scores, -np.inf), axis=1, kind="stable")
    holds = np.take_along_axis(lists.holds, order, 1)
    return {n: float(holds[:, :n].any(1).mean()) if len(holds) else 0.0 for n in most}


def _as_searched(lists: Lists) -> NDArray[Any]:
    return -np.broadcast_to(np.arange(DEPTH), lists.holds.shape)


def _questions(
    retriever: Retriever, data: Sequence[Path], *, limit: int, hold_out: int, seed: int
) -> list[Asked]:
    """At most ``limit`` answerable questions of each file."""
    documents = present_documents(retriever)
    passages = {text: documents[n].id for text, n in numbers_by_text(documents).items()}
    rng = np.random.default_rng(seed)
    asked: list[Asked] = []
    for file in data:
        rows = [row for row in read_jsonl(file) if row.get("answers")]
        held = held_out_titles((str(row.get("title", "")) for row in rows), hold_out)
        known = [row for row in rows if not row.get("title") or row["title"] not in held]
        found = [one for row in known if (one := _asked(row, passages))]
        asked += [found[i].typed(rng) for i in rng.permutation(len(found))[:limit]]
    if not asked:
        raise UserError(
            "no question has an answer, and its passage in the index or none; check --data"
        )
    return asked


def _asked(row: dict[str, Any], passages: Mapping[str, str]) -> Asked | None:
    """A question without a passage, or with one that is a document of the index."""
    text = row.get("context")
    own = passages.get(text.strip()) if text else None
    if text and own is None:
        return None
    documents = None if own is None else {own}
    return Asked(row["question"], tuple(row["answers"]), str(row.get("title") or ""), documents)


def _lists(retriever: Retriever, asked: Sequence[Asked]) -> Lists:
    told: list[tuple[Any, Any, Any]] = []
    for begin in range(0, len(asked), SEARCHED):
        part = asked[begin : begin + SEARCHED]
        found = retriever.search_batch([one.question for one in part], DEPTH)
        told += [_list(*pair, retriever.vocabulary().idf) for pair in zip(part, found, strict=True)]
        print(f"\rsearched {len(told):,}/{len(asked):,}", end="", flush=True)
    print()
    return Lists.of(*zip(*told, strict=True))


def _list(asked: Asked, found: Neighbours, idf: Idf) -> tuple[Any, Any, Any]:
    """One question's row of ``Lists``."""
    counted = np.full((DEPTH, len(FEATURES)), np.nan, np.float32)
    holds, counts = np.zeros(DEPTH, bool), np.zeros(DEPTH, bool)
    own = [asked.documents is None or doc_id in asked.documents for doc_id in found.doc_ids]
    answering = [contains_answer(text, asked.answers) for text in found.texts]
    counted[: len(found)] = features(asked.question, found, idf)
    holds[: len(found)] = np.logical_and(own, answering)
    counts[: len(found)] = np.logical_or(own, np.logical_not(answering))
    return counted, holds, counts


def _batches(count: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count).split(BATCH)


def _loss(scores: Tensor, holds: Tensor, counts: Tensor) -> Tensor:
    """scores, holds, counts [B, k] -> the mean over B."""
    total = torch.logsumexp(scores.masked_fill(~counts, -torch.inf), 1)
    right = torch.logsumexp(scores.masked_fill(~holds, -torch.inf), 1)
    return (total - right).mean()


class _Net(nn.Module):
    """``Ranker`` while it learns; what is added to the linear part starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(len(FEATURES), 1, bias=False)
        self.hidden = nn.Linear(len(FEATURES), HIDDEN)
        self.out = nn.Linear(HIDDEN, 1, bias=False)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, k, F] -> scores [B, k]."""
        x = x.nan_to_num()  # places where no neighbour is
        out: Tensor = (self.linear(x) + self.out(torch.tanh(self.hidden(x))))[..., 0]
        return out

    @torch.no_grad()
    def ranker(self, mean: NDArray[Any], deviation: NDArray[Any]) -> Ranker:
        """What was learned, rounded to five digits."""
        return Ranker(
            mean=_rounded(mean),
            deviation=_rounded(deviation),
            linear=_rounded(self.linear.weight[0]),
            hidden=tuple(_rounded(row) for row in self.hidden.weight),
            bias=_rounded(self.hidden.bias),
            out=_rounded(self.out.weight[0]),
        )


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{float(value):.5g}") for value in values)
