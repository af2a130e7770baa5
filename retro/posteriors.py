"""Fits what span readers are drawn from (``retro.sampling``): a Laplace posterior, or an ensemble.

The encoder stays as it is and is run once a batch. Knows batches of examples and the span reader.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from retro.optim import MasterAdamW, schedule
from retro.processes import tell
from retro.reader import SpanReader
from retro.train_qa import Batch, Reading, span_losses
from retro.windows import Rows

LAST = (
    "start.weight",
    "start.bias",
    "end.weight",
    "end.bias",
    "relevance.weight",
    "relevance.bias",
    "length",
)
"""The reader's weights in the last linear layers: those over which the posterior is taken."""

PRIORS = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7)
"""Prior precisions tried."""

DRAWS = 16
"""Samples with which a prior precision is judged."""

WARMUP = 0.1
"""Share of an ensemble's steps in which its learning rate rises."""

Encoded = tuple[Tensor, Rows, Tensor]
"""Encoder states [M, S, D] of a batch, its rows and their annotated spans [M, R, W]."""


def laplace(
    reading: Reading,
    batches: Sequence[Batch],
    own: Reading,
    checked: Sequence[Batch],
    num_learned: int,
    seed: int = 0,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Standard deviations of the last weights' posterior, and what they were chosen by.

    A diagonal Gaussian around the trained weights, its precision the empirical Fisher information
    of ``num_learned`` questions, estimated on ``batches``, plus a prior's; the prior's precision is
    the one under which the mean of the samples' predictions is likeliest on the batches
    ``checked`` of ``own`` examples (Daxberger et al. 2021, §2 and §3.3).
    """
    reader = copy.deepcopy(reading.model.reader).float().eval()
    squares = {name: torch.zeros_like(p) for name, p in reader.named_parameters() if name in LAST}
    count = 0
    for states, rows, positive in encoded(reading, batches):
        for single in _each(states, rows, positive):
            reader.zero_grad()
            span_losses(reader, *single)[0].sum().backward()
            for name, p in reader.named_parameters():
                if name in squares and p.grad is not None:
                    squares[name] += p.grad**2
            count += 1
    held = list(encoded(own, checked))
    generator = torch.Generator().manual_seed(seed)
    noise = [_noise(squares, generator) for _ in range(DRAWS)]
    losses = {}
    for prior in PRIORS:
        deviations = _deviations(squares, num_learned / count, prior)
        losses[prior] = _mean_loss(reader, deviations, noise, held)
    best = min(losses, key=losses.__getitem__)
    told = {"prior_precision": best, "loss": losses[best], "num_fisher": float(count)}
    told["loss_without"] = _mean_loss(reader, {}, [{}], held)
    return _deviations(squares, num_learned / count, best), told


def ensemble(
    reading: Reading,
    batches: Iterable[Batch],
    *,
    num_members: int,
    steps: int,
    lr: float = 1e-3,
    seed: int = 0,
) -> list[dict[str, Tensor]]:
    """Weights of span readers that begin from unlike random numbers and learn from unlike
    questions: each draws how often it counts a question (Poisson with mean one, the online
    bootstrap of Oza & Russell 2001)."""
    width, longest = reading.model.reader.pool.in_features, reading.model.reader.max_span
    rank = reading.model.reader.start.out_features - 1
    members = []
    for number in range(num_members):
        torch.manual_seed(seed * 1_000_003 + number)
        members.append(SpanReader(width, longest, rank))
    optimiser = MasterAdamW([p for m in members for p in m.parameters()], lr)
    generator = torch.Generator().manual_seed(seed)
    taken = encoded(reading, itertools.islice(batches, steps))
    for step, batch in enumerate(taken):
        losses = []
        for member in members:
            together, alone = span_losses(member, *batch)
            counts = torch.poisson(torch.ones_like(together), generator=generator)
            losses.append((counts * together).mean() + 0.5 * alone.mean())
        total = torch.stack(losses).sum()
        total.backward()
        optimiser.step(schedule(step, steps, int(WARMUP * steps) + 1))
        if (step + 1) % 20 == 0:
            tell(f"step {step + 1}/{steps}  loss a member {total.item() / num_members:.3f}")
    return [{n: v.detach().bfloat16() for n, v in m.state_dict().items()} for m in members]


def encoded(reading: Reading, batches: Iterable[Batch]) -> Iterator[Encoded]:
    """What the encoder makes of batches, in float32, without gradients."""
    for batch in batches:
        drawn = reading.drawn(batch).to(reading.model.device)
        rows = drawn.rows
        with torch.no_grad():
            states = reading.model.encoder(rows.ids, rows.mask, rows.segments).float()
        yield states, rows, drawn.positive


def _each(states: Tensor, rows: Rows, positive: Tensor) -> Iterator[Encoded]:
    """The questions of a batch one by one."""
    for place in rows.place[:, 0]:
        index = place[place >= 0]
        alone = {k: v[index] for k, v in vars(rows).items() if k != "place"}
        yield (
            states[index],
            Rows(**alone, place=torch.arange(len(index))[None, None]),
            positive[index],
        )


def _noise(like: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    return {n: torch.randn(v.shape, generator=generator) for n, v in like.items()}


def _deviations(squares: dict[str, Tensor], scale: float, prior: float) -> dict[str, Tensor]:
    return {name: (scale * value + prior) ** -0.5 for name, value in squares.items()}


@torch.no_grad()
def _mean_loss(
    reader: SpanReader,
    deviations: dict[str, Tensor],
    noise: Sequence[dict[str, Tensor]],
    batches: Sequence[Encoded],
) -> float:
    """-log of the samples' mean probability of what is right, a question."""
    moved = copy.deepcopy(reader)
    weights = dict(moved.named_parameters())
    drawn: list[list[Tensor]] = []
    for one in noise:
        for name, deviation in deviations.items():
            weights[name].copy_(reader.get_parameter(name) + deviation * one[name])
        drawn.append([span_losses(moved, *batch)[0] for batch in batches])
    log_p = -torch.stack([torch.cat(losses) for losses in drawn])
    return float(-(log_p.logsumexp(0) - torch.tensor(float(len(drawn))).log()).mean())
