"""The ranker: which of the passages that were found are worth reading.

A small encoder reads every passage with its question and gives it one logit (a cross-encoder:
Nogueira & Cho 2019). "None of them" has logit zero, so that logits say as much of one question as
of another. Knows tokens and tensors; knows no search.

Axes: B questions, K passages of one, M packed rows, S encoder tokens, D encoder width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from index.errors import UserError
from retro.encoder import EncoderConfig, NeighbourEncoder
from retro.reader import posterior, span_loss
from retro.windows import Rows, marks

UNKNOWN = ("[UNK]", "<unk>")

SHARED = 0.9
"""The least share of the reader's tokens that a ranker must know."""


class Ranker(nn.Module):
    """One logit a row, from the mean of its states, as sentence encoders are trained.

    It reads the reader's rows: ``own_ids`` [vocabulary of the reader] are its ids of their tokens.
    """

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.encoder = NeighbourEncoder(config)
        self.logit = nn.Linear(config.hidden_size, 1)
        nn.init.normal_(self.logit.weight, std=0.02)  # of zeros no adapter would have a gradient
        nn.init.zeros_(self.logit.bias)
        self.own_ids: Tensor
        self.register_buffer("own_ids", torch.zeros(vocab_size, dtype=torch.long))

    def forward(self, rows: Rows) -> Tensor:
        """[M], float32."""
        x = self.encoder.embed(self.own_ids[rows.ids], rows.segments)
        run = self.encoder.run if self.training else self.encoder.run_by_length
        seen = rows.mask[..., None]
        total = run(x, rows.mask).masked_fill(~seen, 0).float().sum(1)
        mean = total / seen.sum(1).clamp(min=1)
        out: Tensor = self.logit(mean.to(x.dtype))[:, 0].float()
        return out


def ranking_loss(logits: Tensor, gold: Tensor, place: Tensor) -> Tensor:
    """-log P of the gold passages together, or of "none" where no passage is gold, [B]: the span
    reader's loss of passages with a single span each.

    logits, gold (bool) [M], place [B, K].
    """
    tokens = place.new_zeros(len(logits), 1)
    passages = posterior(logits[:, None, None], logits, tokens, place)
    right = gold[place.clamp(min=0)] & (place >= 0)
    return span_loss(passages, right[..., None])


def shared_ids(reader: Any, ranker: Any, vocab_size: int) -> Tensor:
    """The ranker's id of each of the reader's tokens, [vocab_size]; given both tokenizers.

    Raises:
        UserError: too many of the reader's tokens are none of the ranker's.
    """
    ours, theirs = reader.get_vocab(), ranker.get_vocab()
    renamed = dict(zip(marks(ours), marks(theirs), strict=True))
    unknown = next((theirs[name] for name in UNKNOWN if name in theirs), 0)
    out = torch.full((vocab_size,), unknown, dtype=torch.long)
    known = 0
    for token, number in ours.items():
        own = theirs.get(renamed.get(token, token))
        known += own is not None
        if own is not None and number < vocab_size:
            out[number] = own
    if known < SHARED * len(ours):
        raise UserError(
            f"the ranker knows {known:,} of the encoder's {len(ours):,} tokens; choose a ranker "
            "and an encoder with the same word pieces"
        )
    return out
