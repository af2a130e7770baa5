"""``retro eval lm``: what retrieval gives to language modelling, and how much of it is copying.

Bits per byte of held-out documents with retrieval off, on, and with random neighbours, over all
chunks and over those that overlap their neighbours little (RETRO, section 2.6 and figure 6): a
gain that is gone where nothing can be copied was copying.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics import bootstrap
from eval.report import Report, Table
from index.errors import UserError
from retro.text_data import NOTHING, TextSet
from retro.train_lm import RETRIEVALS, Retrieval, Text, chunk_bits

ALPHAS = (1.0, 0.5, 0.25, 0.125)
"""Largest overlap of the chunks counted; 1 counts all."""

_READ = (
    "Chunks whose longest run of tokens shared with a neighbour that they hear is at most that "
    "share of the chunk. The first chunk of a sequence hears none and is left out. Gain: how much "
    "smaller *on* is than *off*, and than *random*: the latter is what the neighbours give, the "
    "former also what was learned of such text; brackets are 95 % bootstrap intervals over "
    "sequences."
)


def run(text: Text, limit: int | None, *, seed: int = 0, num_resamples: int = 500) -> Report:
    """Measures the held-out sequences of a text set.

    Raises:
        UserError: none is held out.
    """
    data = text.data
    numbers = [int(n) for n in np.flatnonzero(data.held)][:limit]
    if not numbers:
        raise UserError("no held-out sequence to measure; prepare more text")
    bits = {how: chunk_bits(text, numbers, how)[:, 1:] for how in RETRIEVALS}
    size = data.num_bytes[numbers][:, 1:].astype(np.float64)
    shared = overlaps(data, numbers, text.model.config.chunk_size)
    levels = [_level(alpha, bits, size, shared, seed, num_resamples) for alpha in ALPHAS]
    figures: dict[str, Any] = {"num_sequences": len(numbers), "levels": levels}
    gains = {"gain": "gain", "gain_over_random": "over random"}
    columns = ["overlap at most", "chunks", *RETRIEVALS, *gains.values()]
    names = ("alpha", "num_chunks", *RETRIEVALS, *gains)
    rows = [[row[name] for name in names] for row in levels]
    return Report("lm", figures, [Table("Bits per byte", columns, rows, _READ)])


def _level(
    alpha: float,
    bits: dict[Any, NDArray[np.float64]],
    size: NDArray[np.float64],
    shared: NDArray[np.float64],
    seed: int,
    num_resamples: int,
) -> dict[str, Any]:
    counted = (shared <= alpha) & (size > 0)
    sums = {how: (part * counted).sum(1) for how, part in bits.items()}
    total = (size * counted).sum(1)

    def over(other: Retrieval) -> tuple[float, ...]:
        def gain(rows: NDArray[np.int64]) -> float:
            bits = sums[other][rows].sum()
            return float(1 - sums["on"][rows].sum() / bits) if bits else float("nan")

        return tuple(bootstrap(gain, range(len(total)), num_resamples=num_resamples, seed=seed))

    each = {
        how: float(part.sum() / total.sum()) if total.sum() else None for how, part in sums.items()
    }
    gains = {"gain": over("off"), "gain_over_random": over("random")}
    return {"alpha": alpha, "num_chunks": int(counted.sum()), **each, **gains}


def overlaps(data: TextSet, numbers: Sequence[int], chunk_size: int) -> NDArray[np.float64]:
    """Longest run of tokens that chunks 1 … L - 1 share with a neighbour that they hear, as a
    share of a chunk, [len(numbers), L - 1]. Those of chunk u are what chunk u - 1 retrieved."""
    out = np.zeros((len(numbers), data.neighbours.shape[1] - 1))
    for row, number in enumerate(numbers):
        chunks = data.tokens[number].reshape(-1, chunk_size)
        for u in range(1, len(chunks)):
            own = chunks[u][chunks[u] != NOTHING]
            heard = [c for c in data.neighbours[number, u - 1] if c != NOTHING]
            runs = [longest_run(own, data.windows[c].tokens) for c in heard]
            out[row, u - 1] = max(runs, default=0) / chunk_size
    return out


def longest_run(a: NDArray[Any], b: NDArray[Any]) -> int:
    """Length of the longest common substring of two token sequences."""
    best = 0
    before = np.zeros(len(b) + 1, np.int64)
    for token in a:
        now = np.zeros_like(before)
        now[1:] = np.where(b == token, before[:-1] + 1, 0)
        best, before = max(best, int(now.max())), now
    return best
