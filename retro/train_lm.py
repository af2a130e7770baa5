"""Trains a RETRO model to continue text with the help of neighbours, and measures what they give.

The base decoder stays frozen (RETROfit, section 4.2); cross-attention, and if asked the encoder,
learn. Knows a text set and the model; knows nothing of search.

Axes: B sequences, L chunks, K neighbours, n = L * m tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from retro.loop import Recipe, run
from retro.model import NeighbourContext, RetroForCausalLM
from retro.text_data import NOTHING, TextSet
from retro.windows import Ints, Rows, Windower

Retrieval = Literal["off", "on", "random"]
RETRIEVALS: tuple[Retrieval, ...] = ("off", "on", "random")


@dataclass(frozen=True)
class TextRecipe(Recipe):
    """``noise``: chance of each neighbour to be replaced by a random window, so that the model
    learns not to trust blindly (Retro-li). ``encoder``: whether the encoder learns too."""

    noise: float = 0.1
    encoder: bool = False


@dataclass
class Text:
    """What is trained on and with."""

    model: RetroForCausalLM
    data: TextSet
    windower: Windower

    def rows(self, numbers: Sequence[int], neighbours: Ints) -> Rows:
        """The encoder's rows for sequences with their ``neighbours`` [B, L, K], placed [B, L, K].

        Neighbours of a chunk without any text, and ``NOTHING``, are no rows.
        """
        count = neighbours.shape[1]
        queries = [self.data.queries[n * count + u] for n in numbers for u in range(count)]
        windows = [
            [self.data.table.windows[c] for c in chunk if c != NOTHING]
            for chunk in neighbours.reshape(-1, neighbours.shape[2])
        ]
        rows = self.windower.rows(queries, windows)
        place = rows.place.view(len(numbers), count, -1)
        return replace(rows, place=place).to(self.model.device)

    def loss(self, numbers: Sequence[int], neighbours: Ints | None) -> tuple[Tensor, int]:
        """Sum of -log P of every token but each sequence's first, in nats, and their number.

        Without ``neighbours`` retrieval is off.
        """
        tokens = torch.from_numpy(self.data.tokens[list(numbers)]).long()
        real = tokens >= 0
        ids = tokens.clamp(min=0).to(self.model.device)
        context = None
        if neighbours is not None:
            context = NeighbourContext(self.rows(numbers, neighbours))
            if not self.model.encoder.config.conditioning_size:
                context = self.model.read(context.rows)
        mask = real.long().to(self.model.device)
        logits = self.model(ids, attention_mask=mask, neighbours=context, use_cache=False).logits
        wanted = torch.where(real, tokens, -100)[:, 1:].to(self.model.device)
        total = nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), wanted.flatten(), reduction="sum"
        )
        return total, int((wanted >= 0).sum())

    def noisy(self, neighbours: Ints, share: float, rng: np.random.Generator) -> Ints:
        """``neighbours`` with about a ``share`` of them replaced by windows drawn at random."""
        other = rng.integers(len(self.data.table.windows), size=neighbours.shape)
        swap = (rng.random(neighbours.shape) < share) & (neighbours != NOTHING)
        return np.asarray(np.where(swap, other, neighbours), np.int32)


def train_text(
    text: Text,
    recipe: TextRecipe,
    out: Path,
    evaluate: Callable[[], dict[str, float]] | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Trains with checkpoints; started again on the same folder, it goes on there.

    Without ``recipe.encoder`` the encoder's weights want no gradient from then on.
    """
    model = text.model
    model.encoder.requires_grad_(recipe.encoder)
    model.encoder.tokens.requires_grad_(False)
    modules: list[nn.Module] = [model.cca, *([model.encoder] if recipe.encoder else [])]

    def loss(batch: tuple[int, list[int]]) -> Tensor:
        step, numbers = batch
        rng = np.random.default_rng((recipe.seed, 1, step))
        total, count = text.loss(
            numbers, text.noisy(text.data.neighbours[numbers], recipe.noise, rng)
        )
        return total / max(1, count)

    run(
        model,
        modules,
        lambda begin: _batches(text, recipe, begin),
        loss,
        recipe,
        out,
        evaluate,
        log,
    )


def _batches(text: Text, recipe: TextRecipe, begin: int) -> Iterator[tuple[int, list[int]]]:
    """Endless batches with their numbers, from ``begin`` on; a function of the seed alone."""
    learned, size = np.flatnonzero(~text.data.held), recipe.batch_size
    per_epoch = math.ceil(len(learned) / size)
    for step in range(begin, 10**9):
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng((recipe.seed, 0, epoch)).permutation(learned)
        yield step, [int(n) for n in order[place * size : (place + 1) * size]]


@torch.no_grad()
def bits_per_byte(
    text: Text, numbers: Sequence[int], retrieval: Retrieval, *, batch_size: int = 4
) -> float:
    """-log2 P per UTF-8 byte of the sequences' text, with neighbours, without, or with random ones.

    A sequence's first token is not predicted, and its bytes are counted all the same.
    """
    rng, nats, size = np.random.default_rng(0), 0.0, 0
    for start in range(0, len(numbers), batch_size):
        part = list(numbers[start : start + batch_size])
        found: Ints | None = None if retrieval == "off" else text.data.neighbours[part]
        if retrieval == "random" and found is not None:
            found = text.noisy(found, 1.0, rng)
        total, _ = text.loss(part, found)
        nats += float(total)
        size += int(text.data.num_bytes[part].sum())
    return nats / math.log(2) / max(1, size)
