"""``retro eval ablations``: the same questions, the same checkpoint, one part changed at a time.

- *neighbours*: how many, all of them read, and found by meaning, by words or by both.
- *read*: how many of the neighbours found are read, those that match the question best.
- *written by*: who writes the answer. The reader alone (its likeliest span); reader and decoder
  together, as shipped; the decoder by cross-attention without copying; the base decoder with the
  same passages in its prompt (in-context reading); the base decoder without any.
- *trained*: other checkpoints, if some are given: the decoder by cross-attention without copying,
  and together with the reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eval import metrics
from eval.conditions import batches
from eval.questions import GoldDocuments, Question
from eval.report import Cell, Report, Table, watched
from eval.scoring import exact_match, f1
from index.errors import UserError
from index.fusion import LEXICAL_WEIGHT

if TYPE_CHECKING:
    from index.retriever import Neighbours
    from retro.answer import Answerer

NUMBERS = (1, 2, 4, 8, 16)
"""Neighbours tried."""

READ = (1, 2, 4, 6)
"""Numbers of them that are read, where they are fewer than those found."""

FOUND_BY = {"both": LEXICAL_WEIGHT, "meaning": 0.0, "words": 1.0}
"""How much BM25 counts in each kind of search."""

TOGETHER, READER, CROSS, IN_CONTEXT, CLOSED = (
    "reader and decoder",
    "reader alone",
    "decoder by cross-attention",
    "base, passages in its prompt",
    "base, no passages",
)
LONGEST_PROMPT = 2048
"""Tokens of a prompt with passages, at most."""

Write = Callable[[Sequence[Question], "Sequence[Neighbours]"], list[str]]


@dataclass(frozen=True)
class Variant:
    """What is changed: ``part`` of the table, the number of neighbours, how many of them are read
    (None: as many as the answerer reads), how they are found, by whom the answer is written, and
    which checkpoint it is (by default the one that is asked in all other variants)."""

    part: str
    k: int = 8
    num_read: int | None = None
    found_by: str = "both"
    written_by: str = TOGETHER
    checkpoint: str = ""

    @property
    def name(self) -> str:
        """As the table calls it."""
        if self.part == "written by":
            return self.written_by
        if self.part == "trained":
            return f"{self.checkpoint}, {self.written_by}"
        if self.part == "read":
            return f"{self.num_read} of {self.k}"
        return f"{self.k}, by {self.found_by}"


PARTS = ("neighbours", "read", "written by", "trained")


def variants(k: int, others: Collection[str] = (), parts: Collection[str] = PARTS) -> list[Variant]:
    """All that are asked of some ``parts``; ``k`` neighbours where their number is not what
    changes; ``others``: names of further checkpoints."""
    numbers = [Variant("neighbours", n, n) for n in sorted({*NUMBERS, k})]
    kinds = [Variant("neighbours", k, k, kind) for kind in FOUND_BY if kind != "both"]
    read = [Variant("read", k, n) for n in READ if n < k]
    writers = (READER, TOGETHER, CROSS, IN_CONTEXT, CLOSED)
    written = [Variant("written by", k, written_by=who) for who in writers]
    trained = [
        Variant("trained", k, written_by=who, checkpoint=name)
        for name in others
        for who in (CROSS, TOGETHER)
    ]
    return [one for one in (*numbers, *kinds, *read, *written, *trained) if one.part in parts]


@dataclass(frozen=True)
class Asked:
    """One question in one variant, and the seconds that its batch took a question."""

    variant: Variant
    question: Question
    said: str
    seconds: float


def run(
    answerer: Answerer,
    questions: Sequence[Question],
    *,
    others: Mapping[str, Answerer] | None = None,
    parts: Collection[str] = PARTS,
    k: int = 8,
    batch_size: int = 8,
    seed: int = 0,
    num_resamples: int = 500,
) -> Report:
    """Asks every answerable question in every variant of some ``parts``; the report.

    ``others``: further checkpoints over the same index, by name.

    Raises:
        UserError: no question has answers, or there is no variant of these parts.
    """
    known = [question for question in questions if question.answerable]
    if not known:
        raise UserError("no question in --data has answers")
    tried = variants(k, (others or {}).keys(), parts)
    if not tried:
        raise UserError(f"nothing to compare in {', '.join(parts)}; give checkpoints: --decoder")
    gold = GoldDocuments(answerer.retriever.store)
    asked = ask(answerer, known, tried, batch_size, others)
    rows = list(watched(asked, len(known) * len(tried), "asked"))
    groups = [gold.group(question) for question in known]
    found = [
        figures([row for row in rows if row.variant == one], groups, seed, num_resamples)
        for one in tried
    ]
    shown = {"num": len(known), "k": k, "variants": found}
    return Report("ablations", shown, tables(found), remarks=[_ABOUT])


def ask(
    answerer: Answerer,
    questions: Sequence[Question],
    tried: Sequence[Variant],
    batch_size: int,
    others: Mapping[str, Answerer] | None = None,
) -> Iterator[Asked]:
    """Each batch in all variants before the next; the answerer is left as it was."""
    retriever = answerer.retriever
    before = (retriever.lexical_weight, answerer.num_read)
    writers = {name: Writers(one) for name, one in {"": answerer, **(others or {})}.items()}
    try:
        for some in batches(questions, batch_size):
            for one in tried:
                retriever.lexical_weight = FOUND_BY[one.found_by]
                answerer.num_read = one.num_read or before[1]
                begin = time.perf_counter()
                found = answerer.find([q.question for q in some], one.k)
                said = writers[one.checkpoint].by[one.written_by](some, found)
                seconds = (time.perf_counter() - begin) / len(some)
                for question, text in zip(some, said, strict=True):
                    yield Asked(one, question, text, seconds)
    finally:
        retriever.lexical_weight, answerer.num_read = before


class Writers:
    """Who may write an answer, each given questions and their neighbours."""

    def __init__(self, answerer: Answerer) -> None:
        self.answerer, self.drafter = answerer, answerer.drafter
        self.by: dict[str, Write] = {
            TOGETHER: self.together,
            READER: self.reader,
            CROSS: self.cross,
            IN_CONTEXT: self.in_context,
            CLOSED: self.closed,
        }

    def together(self, questions: Sequence[Question], found: Sequence[Neighbours]) -> list[str]:
        """The draft's text, as it is shipped."""
        drafts = self.answerer.drafts([q.question for q in questions], found)
        return ["" if draft is None else draft.text for draft in drafts]

    def reader(self, questions: Sequence[Question], found: Sequence[Neighbours]) -> list[str]:
        """The likeliest string of all spans."""
        copy = self._context(questions, found).copy
        assert copy is not None
        return self._texts(copy.likeliest())

    @torch.no_grad()
    def cross(self, questions: Sequence[Question], found: Sequence[Neighbours]) -> list[str]:
        """The decoder's own words, the neighbours heard by cross-attention."""
        context = replace(self._context(questions, found), copy=None)
        passages = context.likeliest(self.drafter.model.config.context_neighbours)
        asked = [q.question for q in questions]
        ids, mask, context.first = self.drafter.prompter.prompts(asked, passages)
        return self._generated(ids, mask, neighbours=context)

    @torch.no_grad()
    def closed(self, questions: Sequence[Question], found: Sequence[Neighbours]) -> list[str]:
        """The base decoder's own words."""
        ids, mask, _ = self.drafter.prompter.prompts([q.question for q in questions])
        return self._generated(ids, mask)

    @torch.no_grad()
    def in_context(self, questions: Sequence[Question], found: Sequence[Neighbours]) -> list[str]:
        """The same with the passages, best last, before the question; one question at a time."""
        out = []
        for question, neighbours in zip(questions, found, strict=True):
            ids, _, _ = self.drafter.prompter.prompts([question.question])
            passages = "\n\n".join(reversed(neighbours.texts)) + "\n\n"
            before = self.drafter.prompter.tokenizer(passages, add_special_tokens=False)
            kept = before["input_ids"][-(LONGEST_PROMPT - ids.shape[1]) :]
            whole = torch.cat([torch.tensor([kept], dtype=ids.dtype), ids], 1)
            out += self._generated(whole, torch.ones_like(whole))
        return out

    @torch.no_grad()
    def _context(self, questions: Sequence[Question], found: Sequence[Neighbours]) -> Any:
        asked = [q.question for q in questions]
        chosen = self.answerer.chosen(found)
        return self.drafter.context(asked, [c.windows for c in chosen], [c.priors for c in chosen])

    def _generated(self, ids: torch.Tensor, mask: torch.Tensor, **more: Any) -> list[str]:
        model: Any = self.drafter.model
        ids, mask = ids.to(model.device), mask.to(model.device)
        out = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=model.config.max_span,
            do_sample=False,
            pad_token_id=model.eos,
            **more,
        )
        return self._texts(out[:, ids.shape[1] :])

    def _texts(self, tokens: torch.Tensor) -> list[str]:
        """The first line of each row of tokens, up to its end."""
        eos, tokenizer = self.drafter.model.eos, self.drafter.prompter.tokenizer
        said = []
        for row in tokens.tolist():
            kept = row[: row.index(eos)] if eos in row else row
            text = tokenizer.decode([t for t in kept if t >= 0], skip_special_tokens=True)
            said.append(text.strip().partition("\n")[0])
        return said


def figures(
    rows: Sequence[Asked], groups: Sequence[str], seed: int, num_resamples: int
) -> dict[str, Any]:
    """EM and F1 of one variant, with intervals over articles, and the time."""
    exact = np.array([exact_match(row.said, row.question.answers) for row in rows])
    overlap = np.array([f1(row.said, row.question.answers) for row in rows])
    options: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}

    def mean(values: Any) -> list[float]:
        return list(metrics.bootstrap(lambda some: float(values[some].mean()), groups, **options))

    one = rows[0].variant
    return {
        "part": one.part,
        "name": one.name,
        "em": mean(exact),
        "f1": mean(overlap),
        "seconds": float(np.mean([row.seconds for row in rows])),
    }


def tables(found: Sequence[dict[str, Any]]) -> list[Table]:
    """One table a part."""
    out = []
    for part in dict.fromkeys(row["part"] for row in found):
        some = [row for row in found if row["part"] == part]
        cells: list[list[Cell]] = [
            [row["name"], row["em"], row["f1"], row["seconds"]] for row in some
        ]
        out.append(Table(part.capitalize(), [part, "EM", "F1", "seconds a question"], cells, _NOTE))
    return out


_NOTE = "Answered whatever the confidence; brackets: 95 % bootstrap interval over articles."
_ABOUT = (__doc__ or "").split("\n\n", 1)[1].strip()
