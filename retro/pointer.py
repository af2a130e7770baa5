"""A pointer into the neighbours of a text: what they say where they say what was just written.

The next token's distribution is a mixture of the decoder's and of one over the neighbours' own
tokens (pointer sentinel mixture, Merity et al. 2017, arXiv 1609.07843, §2; over retrieved text, as
in kNN-LM, Khandelwal et al. 2020). A neighbour's token is pointed at the more, the more of the
tokens before it are the last ones written, and the likelier the decoder finds it. That takes a
gate and a few numbers to learn, where cross-attention takes millions.

Answers to questions are copied otherwise (``retro.copying``): as whole spans that were read.

Axes: B sequences, n positions, m chunk size, N tokens of a chunk's neighbours, H decoder width,
V vocabulary, D longest run compared.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retro.attention import UNSEEN, EncodedNeighbours

MATCHED = 4
"""D: tokens before a neighbour's that are compared with the last ones written."""

NOTHING = -1


class NeighbourPointer(nn.Module):
    """Mixes what may be copied from the neighbours into the decoder's distribution.

    It begins near what encyclopaedic text teaches it (a few numbers move little in a short
    training at a rate that suits matrices), but for the gate's view of the hidden states.
    """

    def __init__(self, width: int, chunk_size: int) -> None:
        super().__init__()
        self.chunk_size = chunk_size
        self.likely = nn.Parameter(torch.tensor([0.4]))
        self.matched = nn.Parameter(torch.full((MATCHED,), 2.0))
        self.gate = nn.Linear(width + MATCHED + 3, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.weight[:, width:], 0.8)
        nn.init.constant_(self.gate.bias, -4.5)

    def forward(
        self,
        logits: Tensor,
        hidden: Tensor,
        written: Tensor,
        found: EncodedNeighbours,
        first: int,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Log of the mixture, [B, n, V] (float32); of ``targets`` [B, n] alone, [B, n], if they are
        given: then no second tensor as large as the logits is made.

        logits [B, n, V] and hidden [B, n, H] of the last n positions; ``written`` [B, at least n]:
        all tokens up to the last of them. ``first``: where the first of the n stands, counted
        from the beginning of the chunk whose neighbours are the first in ``found``. Where a
        position hears no neighbour the decoder's distribution is given back.
        """
        total = logits.float().logsumexp(-1, keepdim=True)
        tokens = self._heard(found.tokens, first, logits.shape[1])
        candidates = logits.gather(2, tokens.clamp(min=0)).float() - total
        weights, gate = self._pointed(candidates, hidden, written, tokens, found.neighbour_len)
        if targets is None:
            log_p = logits.float() - total
            copied = torch.zeros_like(log_p).scatter_add(2, tokens.clamp(min=0), weights)
            return _mixture(log_p, copied, gate[..., None])
        log_p = logits.gather(2, targets[..., None]).float() - total
        copied = (weights * (tokens == targets[..., None])).sum(-1)
        return _mixture(log_p[..., 0], copied, gate)

    def _pointed(
        self,
        candidates: Tensor,
        hidden: Tensor,
        written: Tensor,
        tokens: Tensor,
        neighbour_len: int,
    ) -> tuple[Tensor, Tensor]:
        """How much each neighbour's token is pointed at, [B, n, N], and the log-odds of copying
        [B, n]; ``candidates`` [B, n, N]: the decoder's log-probabilities of ``tokens``."""
        here = tokens >= 0
        runs = self._runs(written, tokens, neighbour_len)
        scores = self.likely.float() * candidates + runs @ self.matched.float()
        scores = scores.masked_fill(~here, UNSEEN)
        weights = scores.softmax(-1) * here
        gate = self._gate(hidden, scores, weights, candidates.masked_fill(~here, UNSEEN), runs)
        return weights, gate.masked_fill(~here.any(-1), UNSEEN)

    def _heard(self, tokens: Tensor, first: int, n: int) -> Tensor:
        """[B, n, N]: the tokens of the neighbours that each position hears, from [B, L, N]; as in
        cross-attention, position i those of chunk (i - (m - 1)) // m."""
        position = torch.arange(first, first + n, device=tokens.device)
        chunk = torch.div(position - (self.chunk_size - 1), self.chunk_size, rounding_mode="floor")
        inside = (chunk >= 0) & (chunk < tokens.shape[1])
        heard = tokens[:, chunk.clamp(0, max(0, tokens.shape[1] - 1))]
        return heard.masked_fill(~inside[:, None], NOTHING)

    @staticmethod
    def _runs(written: Tensor, heard: Tensor, neighbour_len: int) -> Tensor:
        """[B, n, N, D]: 1 where the d + 1 tokens before a neighbour's, in the same neighbour, are
        the last d + 1 written."""
        n = heard.shape[1]
        each = heard.unflatten(2, (-1, neighbour_len))
        same = torch.ones_like(each, dtype=torch.bool)
        runs = []
        for back in range(MATCHED):
            last = F.pad(written, (back, 0), value=NOTHING)[:, : written.shape[1]][:, -n:]
            before = F.pad(each, (back + 1, 0), value=NOTHING)[..., :neighbour_len]
            same = same & (before == last[..., None, None]) & (before >= 0)
            runs.append((same & (each >= 0)).flatten(2))
        return torch.stack(runs, -1).float()

    def _gate(
        self, hidden: Tensor, scores: Tensor, weights: Tensor, candidates: Tensor, runs: Tensor
    ) -> Tensor:
        """[B, n]: log-odds of copying."""
        h = F.rms_norm(hidden.float(), hidden.shape[-1:])
        told = [weights.amax(-1), scores.logsumexp(-1) / 5, candidates.amax(-1) / 5]
        features = torch.cat([h, runs.amax(2), torch.stack(told, -1)], -1)
        return F.linear(features, self.gate.weight.float(), self.gate.bias.float())[..., 0]


def _mixture(log_p: Tensor, copied: Tensor, gate: Tensor) -> Tensor:
    """log((1 - g) exp(log_p) + g copied), elementwise, for g = sigmoid(gate)."""
    kept = log_p + F.logsigmoid(-gate)
    tiny = torch.finfo(copied.dtype).tiny
    mixed = torch.logaddexp(kept, copied.clamp(min=tiny).log() + F.logsigmoid(gate))
    return torch.where(copied > 0, mixed, kept)
