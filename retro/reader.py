"""The span reader: which words of which neighbour answer, or that none does.

Turns the encoder's states into one distribution over all spans of all neighbours of a chunk and
"not in these neighbours", and that distribution into one over the next token to copy. Knows
tensors only.

Axes: B sequences, K neighbours, M packed rows, S encoder tokens, R decoder tokens of a neighbour,
N = K * R, W longest span, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from retro.windows import Rows

IMPOSSIBLE = -1e4
"""Logit of what cannot be (finite, so that a difference of two is never NaN)."""


@dataclass(frozen=True)
class SpanPosterior:
    """P(span) over all neighbours of each sequence, normalised together with "none".

    ``log_spans`` [B, N, W]: span of w + 1 tokens starting at n. ``log_null`` [B]: "not in these
    neighbours". ``tokens`` [B, N]: decoder ids, -1 where there is none. ``relevance`` [B, K]: the
    logit that neighbour k holds an answer, judged alone.
    """

    log_spans: Tensor
    log_null: Tensor
    tokens: Tensor
    relevance: Tensor

    @property
    def num_neighbours(self) -> int:
        """K, empty places counted."""
        return self.relevance.shape[1]

    def token_mass(self) -> Tensor:
        """[B, N]: probability that the token lies inside the answer span."""
        spans = self.log_spans.exp()
        length = spans.shape[2]
        tails = spans.flip(2).cumsum(2).flip(2)  # P(span from n has more than w tokens)
        mass = torch.zeros_like(spans[:, :, 0])
        for offset in range(length):
            mass[:, offset:] += tails[:, : mass.shape[1] - offset, offset]
        return mass

    def alone(self) -> tuple[Tensor, Tensor, Tensor]:
        """What each neighbour would say, were it the only one, each [B, K].

        ``probability`` that it answers with its likeliest span, or one that overlaps it (the same
        answer, cut differently); that span's ``first`` and ``last`` token. "None" has logit zero,
        so the logits are taken back from the joint posterior, ``row_logits`` need not run again.
        """
        logits = (self.log_spans - self.log_null[:, None, None]).unflatten(
            1, (self.num_neighbours, -1)
        )
        total = torch.logsumexp(logits.flatten(2), 2)
        p = (logits - torch.logaddexp(total, torch.zeros_like(total))[..., None, None]).exp()
        best = p.flatten(2).argmax(2)
        first, last = best // p.shape[3], best // p.shape[3] + best % p.shape[3]
        starts = torch.arange(p.shape[2], device=p.device)[:, None]
        ends = starts + torch.arange(p.shape[3], device=p.device)
        overlaps = (starts <= last[..., None, None]) & (ends >= first[..., None, None])
        return (p * overlaps).sum((2, 3)), first, last

    def select(self, index: Tensor) -> SpanPosterior:
        """The posterior of the sequences ``index``."""
        fields = (self.log_spans, self.log_null, self.tokens, self.relevance)
        return SpanPosterior(*(field[index] for field in fields))


class SpanReader(nn.Module):
    """Scores spans: start + end + their interaction + length + the neighbour's relevance.

    The null hypothesis has logit zero, so a neighbour's relevance is measured against it, alone
    (``row_logits``) as well as among the others (``posterior`` below).
    """

    def __init__(self, width: int, max_span: int = 32, rank: int = 64) -> None:
        super().__init__()
        self.max_span = max_span
        self.start = nn.Linear(width, rank + 1)
        self.end = nn.Linear(width, rank + 1)
        self.length = nn.Parameter(torch.zeros(max_span))
        self.pool = nn.Linear(width, width)
        self.relevance = nn.Linear(width, 1)
        nn.init.normal_(self.start.weight, std=0.02)
        nn.init.normal_(self.end.weight, std=0.02)

    def row_logits(self, states: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """states [M, S, D] -> span logits [M, R, W] (float32) and relevance logits [M].

        The rows' ``prior`` stands in the former: P(span, neighbour) ∝ P(neighbour | search)
        P(span | neighbour), as in REALM (Guu et al. 2020, §3).
        """
        start = _gather(self.start(states).float(), rows.first)
        end = _gather(self.end(states).float(), rows.last)
        pair = start[..., 1:] @ end[..., 1:].transpose(1, 2) / (start.shape[-1] - 1) ** 0.5
        pair = pair + start[..., :1] + end[..., :1].transpose(1, 2)
        relevance = self.relevance(torch.tanh(self.pool(states[:, 0])))[:, 0].float()
        spans, allowed = self._banded(pair, rows)
        spans = spans + self.length.float() + (relevance + rows.prior)[:, None, None]
        return spans.masked_fill(~allowed, IMPOSSIBLE), relevance

    def _banded(self, pair: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """[M, R, R] (start, end) -> [M, R, W] (start, length - 1), and which are possible."""
        size = pair.shape[1]
        starts = torch.arange(size, device=pair.device)[:, None]
        ends = starts + torch.arange(self.max_span, device=pair.device)
        inside = ends < size
        ends = ends.clamp(max=size - 1).expand(pair.shape[0], -1, -1)
        can_end = rows.may_end[:, None, :].expand_as(pair).gather(2, ends)
        return pair.gather(2, ends), can_end & rows.may_start[:, :, None] & inside


def posterior(logits: Tensor, relevance: Tensor, tokens: Tensor, place: Tensor) -> SpanPosterior:
    """logits [M, R, W], relevance [M], tokens [M, R], place [B, K] -> SpanPosterior."""
    here = place >= 0
    index = place.clamp(min=0)
    if logits.shape[0] == 0:
        logits = logits.new_full((1, *logits.shape[1:]), IMPOSSIBLE)
        relevance, tokens = relevance.new_zeros(1), tokens.new_full((1, tokens.shape[1]), -1)
    spans = logits[index].masked_fill(~here[..., None, None], IMPOSSIBLE).flatten(1, 2)
    total = torch.logsumexp(spans.flatten(1), 1)
    log_z = torch.logaddexp(total, torch.zeros_like(total))
    return SpanPosterior(
        log_spans=spans - log_z[:, None, None],
        log_null=-log_z,
        tokens=tokens[index].masked_fill(~here[..., None], -1).flatten(1),
        relevance=relevance[index].masked_fill(~here, IMPOSSIBLE),
    )


def _gather(x: Tensor, index: Tensor) -> Tensor:
    """x [M, S, C], index [M, R] -> [M, R, C]."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def span_loss(spans: SpanPosterior, positive: Tensor) -> Tensor:
    """-log P of the positive spans together, or of "none" where no span is positive. [B].

    positive [B, N, W] bool.
    """
    return positive_loss(spans.log_spans, spans.log_null, positive)


def row_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """The same with every row judged alone. logits, positive [M, R, W] -> [M]."""
    total = torch.logsumexp(logits.flatten(1), 1)
    log_null = -torch.logaddexp(total, torch.zeros_like(total))
    return positive_loss(logits + log_null[:, None, None], log_null, positive)


def positive_loss(log_spans: Tensor, log_null: Tensor, positive: Tensor) -> Tensor:
    """log_spans, positive [B, N, W], log_null [B] -> [B]."""
    found = torch.logsumexp(log_spans.masked_fill(~positive, IMPOSSIBLE).flatten(1), 1)
    return -torch.where(positive.flatten(1).any(1), found, log_null)
