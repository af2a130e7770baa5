"""Trains a RETRO model to answer: first its encoder to read, then its decoder to use what is read.

Two stages, one loop. ``reader``: the neighbour encoder and the span reader learn which words of
which neighbour answer, or that none does. ``answer``: cross-attention and gate learn to write the
answer from what was read, the base decoder frozen (RETROfit) unless asked. Knows examples and the
model; knows nothing of search or of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from retro.ahead import ahead
from retro.examples import Example, Sampler, WindowTable
from retro.loop import Evaluate, Recipe, run
from retro.model import AnswerScores, RetroForCausalLM
from retro.processes import mean, share, tell, total
from retro.prompts import Prompter
from retro.reader import SpanReader, posterior, row_loss, span_loss
from retro.text import exact_match, f1
from retro.tuning import Base, tune
from retro.windows import Rows, Windower

Batch = list[tuple[int, list[int]]]
"""Example numbers, each with the windows it is trained with."""

AHEAD = 16
"""Batches that are made while a GPU computes."""

POOL = 40
"""Batches sorted by length together: little padding, and still shuffled."""


@dataclass(frozen=True)
class TrainConfig(Recipe):
    """One stage's recipe. ``removed``: share of questions whose gold window is taken away.
    ``first_layer``: the lowest encoder layer that stage ``reader`` trains (those below need no
    backward pass). Of a model that begins from nothing, ``encoder_layers``: how many of the
    pretrained encoder's layers are kept (None: all), and ``encoder_lora``: the rank of the adapters
    that learn in their place (0: they learn themselves). ``base``: how the base decoder learns in
    stage ``answer`` (``retro.tuning``), ``context_neighbours``: how many neighbours then stand in
    its context (None: as many as the model had)."""

    stage: str = "reader"
    num_neighbours: int = 2
    removed: float = 0.12
    first_layer: int = 0
    encoder_layers: int | None = None
    encoder_lora: int = 0
    base: Base = "frozen"
    context_neighbours: int | None = None

    def encoder_changes(self) -> dict[str, int]:
        """Fields of ``EncoderConfig`` for a model that begins from nothing."""
        changes = {"lora_rank": self.encoder_lora, "lora_from": self.first_layer}
        if self.encoder_layers is not None:
            changes["num_hidden_layers"] = self.encoder_layers
        return changes


@dataclass(frozen=True)
class Drawn:
    """A batch as a loss takes it: the encoder's ``rows``, and which spans of them answer,
    ``positive`` [M, R, W] bool."""

    batch: Batch
    rows: Rows
    positive: Tensor

    def to(self, device: torch.device) -> Drawn:
        """The same on another device."""
        positive = self.positive.to(device, non_blocking=device.type == "cuda")
        return Drawn(self.batch, self.rows.to(device), positive)

    def pinned(self) -> Drawn:
        """The same in memory that a GPU can copy from by itself."""
        return Drawn(self.batch, self.rows.pinned(), self.positive.pin_memory())


@dataclass
class Reading:
    """What a stage trains on and with."""

    model: RetroForCausalLM
    examples: Sequence[Example]
    table: WindowTable
    windower: Windower
    prompter: Prompter
    sampler: Sampler

    @cached_property
    def with_blank(self) -> list[int]:
        """The model's ``with_blank`` in main memory: a GPU is not asked token by token."""
        return self.model.with_blank.tolist()

    def drawn(self, batch: Batch) -> Drawn:
        """A batch as a loss takes it, in main memory."""
        queries = [self.examples[n].query for n, _ in batch]
        windows = [[self.table.windows[c] for c in chunks] for _, chunks in batch]
        rows = self.windower.rows(queries, windows)
        return Drawn(batch, rows, self._positive(batch, rows))

    def _positive(self, batch: Batch, rows: Rows) -> Tensor:
        """[M, R, W] bool: the annotated spans of every row."""
        longest = self.model.reader.max_span
        out = torch.zeros(*rows.tokens.shape, longest, dtype=torch.bool)
        row = 0
        for number, chunks in batch:
            for chunk in chunks:
                for first, last in self.examples[number].gold.get(chunk, ()):
                    if last - first < longest:
                        out[row, first, last - first] = True
                row += 1
        return out


def reader_loss(reading: Reading, drawn: Drawn) -> Tensor:
    """-log P(gold spans or none), over all neighbours together, and half of it row by row."""
    model = reading.model
    drawn = drawn.to(model.device)
    rows = drawn.rows
    states = model.encoder(rows.ids, rows.mask, rows.segments)
    together, alone = span_losses(model.reader, states, rows, drawn.positive)
    return mean(together) + 0.5 * mean(alone)


def span_losses(
    reader: SpanReader, states: Tensor, rows: Rows, positive: Tensor
) -> tuple[Tensor, Tensor]:
    """-log P of the annotated spans or "none", over each question's neighbours together [B], and
    of each row alone [M]; states [M, S, D], positive [M, R, W]."""
    logits, relevance = reader.row_logits(states, rows)
    place = rows.place[:, 0]
    spans = posterior(logits, relevance, rows.tokens, place)
    placed = positive[place.clamp(min=0)] & (place >= 0)[..., None, None]
    return span_loss(spans, placed.flatten(1, 2)), row_loss(logits, positive)


def answer_loss(reading: Reading, drawn: Drawn) -> Tensor:
    """-log P(answer tokens) of the mixture, and half of it of the decoder alone, per token."""
    scores = answer_scores(reading, drawn)
    return -(scores.mixed.sum() + 0.5 * scores.decoder.sum()) / total(scores.mask.sum())


def answer_scores(reading: Reading, drawn: Drawn) -> AnswerScores:
    """What the model gives each token of a batch's answers.

    An answer is spelled as it stands in the (first) gold window of the batch's row, so that
    the copy head can reach it. The encoder is not trained here.
    """
    model, rows = reading.model, drawn.rows.to(reading.model.device)
    with torch.no_grad():
        states = model.encoder(rows.ids, rows.mask, rows.segments)
        context = model.read_states(rows, states)
    questions = [reading.examples[n].question for n, _ in drawn.batch]
    passages = context.likeliest(model.config.context_neighbours)
    ids, mask, context.first = reading.prompter.prompts(questions, passages)
    answers = [_spelled(reading, number, chunks) for number, chunks in drawn.batch]
    target = reading.prompter.answers(answers)
    device = model.device
    with sdpa_kernel(SDPBackend.MATH) if device.type == "cuda" else nullcontext():
        # Left padding sees nothing, of which a fused kernel's gradient may be no number.
        return model.score(ids.to(device), mask.to(device), target.to(device), context)


def _spelled(reading: Reading, number: int, chunks: Sequence[int]) -> Sequence[int]:
    example = reading.examples[number]
    for chunk in chunks:
        for first, last in example.gold.get(chunk, ()):
            window = reading.table.windows[chunk]
            head = reading.with_blank[int(window.tokens[first])]
            return [head, *(int(t) for t in window.tokens[first + 1 : last + 1])]
    raise ValueError(f"example {example.id} has no gold window in its batch")


LOSSES: dict[str, Callable[[Reading, Drawn], Tensor]] = {
    "reader": reader_loss,
    "answer": answer_loss,
}


def stage_modules(model: RetroForCausalLM, config: TrainConfig) -> list[torch.nn.Module]:
    """The modules that a stage trains; what lies below them is frozen."""
    if config.stage != "reader":
        return [model.cca, model.gate, *tune(model, config.base)]
    if not config.first_layer or model.encoder.config.lora_rank:
        return [model.encoder, model.reader]
    model.encoder.requires_grad_(False)
    learning = list(model.encoder.layers[config.first_layer :])
    for layer in learning:
        layer.requires_grad_(True)
    return [*learning, model.reader]


def train(
    reading: Reading,
    config: TrainConfig,
    out: Path,
    evaluate: Evaluate | None = None,
    log: Callable[[str], None] = tell,
) -> None:
    """Runs one stage, with checkpoints; started again on the same folder, it goes on where its
    last checkpoint stood, with the same batches."""
    compute = LOSSES[config.stage]
    gpu = reading.model.device.type == "cuda"

    def make(batch: Batch) -> Drawn:
        drawn = reading.drawn(list(share(batch)))
        return drawn.pinned() if gpu else drawn

    run(
        reading.model,
        stage_modules(reading.model, config),
        lambda begin: ahead(map(make, batches(reading, config, begin)), AHEAD if gpu else 0),
        lambda drawn: compute(reading, drawn),
        config,
        out,
        evaluate,
        log,
    )


def batches(reading: Reading, config: TrainConfig, begin: int = 0) -> Iterator[Batch]:
    """Endless batches from number ``begin`` on; a function of the seed alone."""
    size, step = config.batch_size * POOL, 0
    for epoch in range(10**6):
        order = np.random.default_rng((config.seed, epoch)).permutation(len(reading.examples))
        for start in range(0, len(order), size):
            for batch in _pool(reading, config, order[start : start + size], epoch):
                step += 1
                if step > begin:
                    yield batch


def _pool(reading: Reading, config: TrainConfig, numbers: Any, epoch: int) -> list[Batch]:
    drawn = [(int(n), reading.sampler.draw(int(n), epoch)) for n in numbers]
    drawn = [pair for pair in drawn if _teaches(reading, config, *pair)]
    drawn.sort(key=lambda pair: _length(reading, *pair))
    size = config.batch_size
    out = [drawn[i : i + size] for i in range(0, len(drawn), size)]
    np.random.default_rng((config.seed, epoch, int(numbers[0]))).shuffle(out)
    return out


def _teaches(reading: Reading, config: TrainConfig, number: int, chunks: Sequence[int]) -> bool:
    """Whether there is anything to read, and where answers are written, one to write."""
    gold = reading.examples[number].gold
    return bool(chunks) and (config.stage == "reader" or any(c in gold for c in chunks))


def _length(reading: Reading, number: int, chunks: Sequence[int]) -> int:
    longest = max(len(reading.table.windows[c].encoder_ids) for c in chunks)
    return longest + len(reading.examples[number].query)


@torch.no_grad()
def reading_quality(
    reading: Reading, examples: Sequence[Example], neighbours: Sequence[Sequence[int]]
) -> dict[str, float]:
    """EM and F1 (percent) of the best span over the given windows, and P("none") on average."""
    model, hits, overlap, null = reading.model, 0, 0.0, 0.0
    for begin in range(0, len(examples), 8):
        part, chunks = examples[begin : begin + 8], neighbours[begin : begin + 8]
        windows = [[reading.table.windows[c] for c in row] for row in chunks]
        rows = reading.windower.rows([e.query for e in part], windows).to(model.device)
        spans = model.read(rows).spans
        assert spans is not None
        null += float(spans.log_null.exp().sum())
        best = spans.log_spans.flatten(1).argmax(1).tolist()
        for example, row, index in zip(part, chunks, best, strict=True):
            answer = _span_text(reading.table, row, index, rows.tokens.shape[1], model)
            hits += exact_match(answer, example.answers)
            overlap += f1(answer, example.answers)
    count = max(1, len(examples))
    return {"em": 100 * hits / count, "f1": 100 * overlap / count, "null": null / count}


@torch.no_grad()
def answering_quality(
    reading: Reading, examples: Sequence[Example], neighbours: Sequence[Sequence[int]]
) -> dict[str, float]:
    """-log P per token of the examples' answers, from the given windows, one of them gold: of the
    mixture (``loss``) and of the decoder without copying."""
    own, rows = replace(reading, examples=examples), list(enumerate(map(list, neighbours)))
    mixed = decoder = count = 0.0
    for begin in range(0, len(rows), 8):
        scores = answer_scores(own, own.drawn(rows[begin : begin + 8]))
        mixed -= float(scores.mixed.sum())
        decoder -= float(scores.decoder.sum())
        count += float(scores.mask.sum())
    return {"loss": mixed / max(1.0, count), "decoder": decoder / max(1.0, count)}


def _span_text(
    table: WindowTable, chunks: Sequence[int], index: int, width: int, model: RetroForCausalLM
) -> str:
    first, extra = divmod(index, model.reader.max_span)
    number, token = divmod(first, width)
    if number >= len(chunks):
        return ""
    window = table.windows[chunks[number]]
    if token + extra >= len(window.tokens):
        return ""
    return table.texts[chunks[number]][window.starts[token] : window.ends[token + extra]]
