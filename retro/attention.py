"""Chunked cross-attention: the decoder reads the neighbours of the chunk before (RETRO §2.4).

Knows decoder activations and encoded neighbours; knows neither model.

Axes: B sequences, n positions, m chunk size, L chunks, N = k * r encoded neighbour tokens of a
chunk, H decoder width, D encoder width, h heads, e head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNSEEN = -1e4


@dataclass
class EncodedNeighbours:
    """Neighbours of every chunk, encoded once and used by all layers and decoding steps.

    ``states`` [B, L, N, D]; ``tokens`` [B, L, N]: decoder ids, -1 where there is none; ``bias``
    [B, L, N] is added to the attention logits, scaled by each layer (log of how likely a token
    answers; zeros where nothing is known); ``neighbour_len`` is r, so that token j of N stands at
    j % r. ``projected`` keeps each layer's keys and values between decoding steps.
    """

    states: Tensor
    tokens: Tensor
    bias: Tensor
    neighbour_len: int
    projected: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def mask(self) -> Tensor:
        """[B, L, N]: where a token is."""
        return self.tokens >= 0

    def select(self, index: Tensor) -> EncodedNeighbours:
        """The neighbours of the sequences ``index`` (beams, samples)."""
        fields = (self.states[index], self.tokens[index], self.bias[index])
        return EncodedNeighbours(*fields, self.neighbour_len)


class RMSNorm(nn.Module):
    """Root-mean-square norm (RETRO's), computed in float32."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x [..., H] -> [..., H]."""
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return y.to(x.dtype) * self.weight


class ChunkedCrossAttention(nn.Module):
    """What one decoder layer adds from the neighbours; zero before training.

    Position i >= m - 1 belongs to attending chunk u = (i - (m - 1)) // m: the last token of C_u
    and the first m - 1 of C_{u+1}. It attends to the neighbours of C_u. The first m - 1
    positions have none, and what is added there is exactly zero.
    """

    def __init__(
        self, width: int, encoder_width: int, num_heads: int, chunk_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads, self.chunk_size, self.dropout = num_heads, chunk_size, dropout
        self.norm = RMSNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(encoder_width, 2 * width, bias=False)
        self.distance = nn.Linear(width // num_heads, width, bias=False)
        self.bias_scale = nn.Parameter(torch.ones(num_heads))
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, neighbours: EncodedNeighbours, first: int) -> Tensor:
        """x [B, n, H]: activations at positions first … first + n - 1 -> what to add, [B, n, H]."""
        m = self.chunk_size
        skipped = min(max(m - 1 - first, 0), x.shape[1])
        h = self.norm(x[:, skipped:])
        if h.shape[1] == 0:
            return torch.zeros_like(x)
        chunk, lead = divmod(first + skipped - (m - 1), m)
        if lead + h.shape[1] <= m:  # one attending chunk: nothing to pad (decoding, questions)
            added = self._attend(h[:, None], neighbours, chunk, lead)[:, 0]
        else:
            count = -(-(lead + h.shape[1]) // m)
            padded = F.pad(h, (0, 0, lead, count * m - lead - h.shape[1]))
            added = self._attend(padded.unflatten(1, (count, m)), neighbours, chunk, 0)
            added = added.flatten(1, 2)[:, lead : lead + h.shape[1]]
        added = self._drop(self.out(added))
        return F.pad(added, (0, 0, skipped, 0))

    def _attend(self, h: Tensor, found: EncodedNeighbours, chunk: int, offset: int) -> Tensor:
        """h [B, l, t, H], tokens offset … offset + t - 1 of attending chunks chunk … chunk + l - 1
        -> [B, l, t, H]; zero for chunks that have no neighbour, or lie beyond the last."""
        length = max(0, min(h.shape[1], found.states.shape[1] - chunk))
        if length == 0:
            return torch.zeros_like(h)
        h, rest = h[:, :length], h.shape[1] - length
        k, v = (t[:, chunk : chunk + length] for t in self._project(found))
        mask, bias = (t[:, chunk : chunk + length] for t in (found.mask, found.bias))
        q = self.query(h).unflatten(-1, (self.num_heads, -1)).transpose(2, 3)  # B l h t e
        logits = q @ k.transpose(-1, -2) + self._relative(q, found, offset)
        logits = logits / math.sqrt(q.shape[-1])
        logits = logits + self.bias_scale[:, None, None] * bias[:, :, None, None].to(q.dtype)
        logits = logits.masked_fill(~mask[:, :, None, None], UNSEEN)
        y = (logits.softmax(-1) @ v).transpose(2, 3).flatten(3)
        y = y * mask.any(-1)[:, :, None, None]
        return F.pad(y, (0, 0, 0, 0, 0, rest))

    def _project(self, found: EncodedNeighbours) -> tuple[Tensor, Tensor]:
        """Keys and values [B, L, h, N, e] of all neighbours; kept when no gradient is wanted."""
        if (kept := found.projected.get(id(self))) is not None:
            return kept
        k, v = self.key_value(found.states).chunk(2, -1)
        heads = (self.num_heads, -1)
        k, v = (t.unflatten(-1, heads).transpose(2, 3) for t in (k, v))
        if not torch.is_grad_enabled():
            found.projected[id(self)] = (k, v)
        return k, v

    def _relative(self, q: Tensor, found: EncodedNeighbours, offset: int) -> Tensor:
        """Position logits from the distance i - j of an attending token i and a neighbour token j
        (RETRO Appendix B.1.2, where r - 1 is added: here r is the longest neighbour of a batch,
        and nothing may depend on that). q [B, l, h, t, e] -> [B, l, h, t, N]."""
        r, size = found.neighbour_len, q.shape[3]
        i = torch.arange(offset, offset + size, device=q.device)
        j = torch.arange(found.states.shape[2], device=q.device) % r
        index = i[:, None] - j[None] + r - 1  # t N, into the table of distances from 1 - r
        table = sinusoids(1 - r, offset + size, q.shape[-1], q.device).to(q.dtype)
        table = self.distance(table).unflatten(-1, (self.num_heads, -1)).transpose(0, 1)
        scores = q @ table.transpose(-1, -2)  # B l h t distances
        out: Tensor = scores.gather(-1, index.expand(*scores.shape[:3], -1, -1))
        return out

    def _drop(self, y: Tensor) -> Tensor:
        """Dropout with one mask a sequence, shared by its tokens."""
        if not self.training or self.dropout == 0:
            return y
        keep = torch.rand(y.shape[0], 1, y.shape[2], device=y.device) >= self.dropout
        return y * keep.to(y.dtype) / (1 - self.dropout)


def sinusoids(first: int, stop: int, width: int, device: torch.device | None = None) -> Tensor:
    """[stop - first, width]: sines and cosines of distances (Vaswani et al. 2017, §3.5); made where
    they are needed, so that a GPU is not waited for."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(first, stop, device=device)[:, None] * rates[None]
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]
