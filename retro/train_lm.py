"""Trains a RETRO model to continue text with the help of neighbours, and measures what they give.

The base decoder stays frozen (RETROfit, section 4.2) unless asked; cross-attention, the pointer,
and if asked the encoder, learn. Knows a text set and the model; knows nothing of search.

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
from numpy.typing import NDArray
from torch import Tensor, nn

from index.errors import UserError
from retro.context import NeighbourContext
from retro.loop import Recipe, run
from retro.model import RetroForCausalLM
from retro.processes import share, tell, total
from retro.retrofit import load_windower
from retro.text_data import NOTHING, TextSet
from retro.tuning import Base, tune
from retro.windows import Ints, Rows, Windower

Retrieval = Literal["off", "on", "random"]
RETRIEVALS: tuple[Retrieval, ...] = ("off", "on", "random")


@dataclass(frozen=True)
class TextRecipe(Recipe):
    """``noise``: chance of each neighbour to be replaced by a random window, so that the model
    learns not to trust blindly (Retro-li). ``pointer``: whether text may be copied from the
    neighbours (``retro.pointer``). ``cross_attention``: whether it learns; ``encoder``: whether
    that does; ``base``: how the base does (``retro.tuning``)."""

    noise: float = 0.1
    pointer: bool = True
    cross_attention: bool = True
    encoder: bool = False
    base: Base = "frozen"


@dataclass
class Text:
    """What is trained on and with."""

    model: RetroForCausalLM
    data: TextSet
    windower: Windower

    @classmethod
    def of(cls, model: RetroForCausalLM, data: TextSet) -> Text:
        """With the tokenizers that the set was made with.

        Raises:
            UserError: it was cut into chunks of another size than the model's.
        """
        if data.chunk_size != (size := model.config.chunk_size):
            raise UserError(
                f"the text is cut into chunks of {data.chunk_size} tokens, the model wants {size}: "
                "prepare it from an index with such chunks"
            )
        return cls(model, data, load_windower(data.encoder, data.base))

    def rows(self, numbers: Sequence[int], neighbours: Ints) -> Rows:
        """The encoder's rows for sequences with their ``neighbours`` [B, L, K], placed [B, L, K].

        Neighbours of a chunk without any text, and ``NOTHING``, are no rows.
        """
        count = neighbours.shape[1]
        queries = [self.data.queries[n * count + u] for n in numbers for u in range(count)]
        windows = [
            [self.data.windows[c] for c in chunk if c != NOTHING]
            for chunk in neighbours.reshape(-1, neighbours.shape[2])
        ]
        rows = self.windower.rows(queries, windows)
        place = rows.place.view(len(numbers), count, -1)
        return replace(rows, place=place).to(self.model.device)

    def nats(self, numbers: Sequence[int], neighbours: Ints | None) -> tuple[Tensor, Tensor]:
        """-log P of every token but each sequence's first in nats, [B, n - 1], zero at padding,
        and which are tokens, [B, n - 1]. Without ``neighbours`` retrieval is off.
        """
        tokens = torch.from_numpy(self.data.tokens[list(numbers)]).long()
        real = tokens >= 0
        ids = tokens.clamp(min=0).to(self.model.device)
        context = None
        if neighbours is not None:
            context = NeighbourContext(self.rows(numbers, neighbours))
        mask = real.long().to(self.model.device)
        told = real[:, 1:].to(self.model.device)
        nats = -self.model.log_probs(ids, mask, context)
        return nats.masked_fill(~told, 0.0), told

    def noisy(self, neighbours: Ints, share: float, rng: np.random.Generator) -> Ints:
        """``neighbours`` with about a ``share`` of them replaced by windows drawn at random."""
        other = rng.integers(len(self.data.windows), size=neighbours.shape)
        swap = (rng.random(neighbours.shape) < share) & (neighbours != NOTHING)
        return np.asarray(np.where(swap, other, neighbours), np.int32)


def train_text(
    text: Text,
    recipe: TextRecipe,
    out: Path,
    evaluate: Callable[[], dict[str, float]] | None = None,
    log: Callable[[str], None] = tell,
) -> None:
    """Trains with checkpoints; started again on the same folder, it goes on there.

    What does not learn wants no gradient from then on.

    Raises:
        UserError: nothing is left to learn.
    """
    model = text.model
    model.cca.requires_grad_(recipe.cross_attention)
    model.encoder.requires_grad_(recipe.encoder)
    model.encoder.tokens.requires_grad_(False)
    learning = {model.cca: recipe.cross_attention, model.encoder: recipe.encoder}
    learning |= {model.pointer: True} if model.pointer is not None else {}
    modules = [module for module, learns in learning.items() if learns] + tune(model, recipe.base)
    if not modules:
        raise UserError("nothing learns: leave out --no-cross-attention or --no-pointer")

    def loss(batch: tuple[int, list[int]]) -> Tensor:
        step, numbers = batch
        rng = np.random.default_rng((recipe.seed, 1, step))
        noisy = text.noisy(text.data.neighbours[numbers], recipe.noise, rng)
        mine = list(share(range(len(numbers))))
        nats, real = text.nats([numbers[i] for i in mine], noisy[mine])
        return nats.sum() / total(real.sum().to(nats.device)).clamp(min=1)

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
def chunk_bits(
    text: Text, numbers: Sequence[int], retrieval: Retrieval, *, batch_size: int = 4
) -> NDArray[np.float64]:
    """-log2 P of each chunk of the sequences, [len(numbers), L]; their first tokens, which nothing
    precedes, count for nothing. Neighbours are the stored ones, none, or random windows."""
    rng = np.random.default_rng(0)
    size = text.model.config.chunk_size
    out = []
    for start in range(0, len(numbers), batch_size):
        part = list(numbers[start : start + batch_size])
        found: Ints | None = None if retrieval == "off" else text.data.neighbours[part]
        if retrieval == "random" and found is not None:
            found = text.noisy(found, 1.0, rng)
        nats, _ = text.nats(part, found)
        padded = nn.functional.pad(nats, (1, 0)).double()
        out.append(padded.unflatten(1, (-1, size)).sum(-1).cpu().numpy() / math.log(2))
    return np.concatenate(out)


def bits_per_byte(text: Text, numbers: Sequence[int], retrieval: Retrieval) -> float:
    """Bits of all chunks over the UTF-8 bytes of their text (RETRO, section 2.6)."""
    bits = chunk_bits(text, numbers, retrieval).sum()
    return float(bits / max(1, text.data.num_bytes[list(numbers)].sum()))
