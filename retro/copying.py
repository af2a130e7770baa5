"""Copying an answer token by token from the span posterior.

The posterior over spans is a distribution over answer *strings*; read left to right it says
exactly how likely each next token is: the mass of the spans that begin with what has been
written, go on and have that token next, and for the end token, of those that are complete.
Mentions of one answer in several neighbours add up.

Axes: B sequences, N neighbour tokens, W longest span, T answer tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retro.reader import IMPOSSIBLE, SpanPosterior

TINY = 1e-9


@dataclass(frozen=True)
class CopyTables:
    """Span masses given that there is an answer.

    ``ends`` [B, N, W]: span from n has exactly w + 1 tokens; ``tails``: at least w + 1.
    ``tokens`` [B, N] as they stand; ``heads`` [B, N]: as an answer's first token, which is
    spelled with a leading blank wherever the vocabulary has that spelling.
    """

    ends: Tensor
    tails: Tensor
    tokens: Tensor
    heads: Tensor

    @classmethod
    def of(cls, spans: SpanPosterior, with_blank: Tensor) -> CopyTables:
        """``with_blank`` [V]: each token's spelling with a leading blank, or itself."""
        # Not log(1 - P(none)): P(none) is often 1 in float32. Without any span all masses are 0.
        answered = spans.log_spans.flatten(1).logsumexp(1).clamp(min=IMPOSSIBLE / 2)
        ends = (spans.log_spans - answered[:, None, None]).exp()
        tails = ends.flip(2).cumsum(2).flip(2)
        heads = torch.where(spans.tokens >= 0, with_blank[spans.tokens.clamp(min=0)], -1)
        return cls(ends, tails, spans.tokens, heads)

    def at(self, step: int) -> Tensor:
        """[B, N]: the token that a span from n has at ``step``; -1 past the last."""
        if step == 0:
            return self.heads
        size = self.tokens.shape[1]
        shifted = torch.full_like(self.tokens, -1)
        if step < size:
            shifted[:, : size - step] = self.tokens[:, step:]
        return shifted

    def alive(self, prefix: Tensor) -> Tensor:
        """[B, N]: whether a span from n begins with ``prefix`` [B, t]."""
        alive = self.tokens >= 0
        for step in range(prefix.shape[1]):
            alive = alive & (self.at(step) == prefix[:, step, None])
        return alive

    def next_token(self, prefix: Tensor, eos: int, vocab_size: int) -> tuple[Tensor, Tensor]:
        """Distribution [B, V] of the token after ``prefix`` [B, t], and its mass before
        normalisation [B]: zero where no span begins with the prefix."""
        step = prefix.shape[1]
        alive = self.alive(prefix).to(self.ends.dtype)
        out = self.ends.new_zeros(alive.shape[0], vocab_size)
        if step < self._width:
            token = self.at(step)
            going = alive * self.tails[:, :, step] * (token >= 0)
            out.scatter_add_(1, token.clamp(min=0), going)
        if 0 < step <= self._width:
            out[:, eos] += (alive * self.ends[:, :, step - 1]).sum(1)
        mass = out.sum(1)
        return out / mass.clamp(min=TINY)[:, None], mass

    def targets(self, answer: Tensor, eos: int) -> tuple[Tensor, Tensor]:
        """Probability of each answer token given those before, and whether copying was alive.

        answer [B, T], ended by ``eos`` and padded by -1. Returns two [B, T] tensors.
        """
        alive = (self.tokens >= 0).to(self.ends.dtype)
        probabilities, masses = [], []
        for step in range(answer.shape[1]):
            wanted = answer[:, step, None]
            stop = (alive * self.ends[:, :, step - 1]).sum(1) if 0 < step <= self._width else 0.0
            going, token = torch.zeros_like(alive), self.at(step)
            if step < self._width:
                going = alive * self.tails[:, :, step] * (token >= 0)
            same = (token == wanted).to(alive.dtype)
            mass = going.sum(1) + stop
            stopped = going.new_zeros(()) + stop
            hit = torch.where(wanted[:, 0] == eos, stopped, (going * same).sum(1))
            probabilities.append(hit / mass.clamp(min=TINY))
            masses.append(mass)
            alive = alive * same
        return torch.stack(probabilities, 1), torch.stack(masses, 1)

    def likeliest(self, num_spans: int = 16) -> Tensor:
        """[B, T]: the likeliest answer string of each sequence, padded by -1.

        The mentions of a string add up, so this need not be the likeliest span. Only the
        ``num_spans`` likeliest spans are looked at.
        """
        found = []
        for b in range(self.ends.shape[0]):
            top = self.ends[b].flatten().topk(min(num_spans, self.ends[b].numel()))
            masses: dict[tuple[int, ...], float] = {}
            for mass, index in zip(top.values.tolist(), top.indices.tolist(), strict=True):
                if mass == 0:
                    break
                start, extra = divmod(index, self._width)
                rest = self.tokens[b, start + 1 : start + extra + 1].tolist()
                string = (int(self.heads[b, start]), *rest)
                masses[string] = masses.get(string, 0.0) + mass
            found.append(max(masses, key=masses.__getitem__, default=()))
        out = self.tokens.new_full((len(found), max(map(len, found))), -1)
        for b, string in enumerate(found):
            out[b, : len(string)] = torch.tensor(string)
        return out

    @property
    def _width(self) -> int:
        return self.ends.shape[2]

    def complete(self, answer: Tensor) -> Tensor:
        """[B, N]: mass of the spans that are exactly ``answer`` [B, T], without its end token;
        padded by -1 at the end."""
        lengths = (answer >= 0).sum(1)
        mass = torch.zeros_like(self.ends[:, :, 0])
        alive = self.tokens >= 0
        for step in range(min(answer.shape[1], self._width)):
            alive = alive & (self.at(step) == answer[:, step, None])
            done = (lengths == step + 1)[:, None]
            mass = torch.where(done & alive, self.ends[:, :, step], mass)
        return mass


def blank_spellings(tokenizer: object, vocab_size: int) -> Tensor:
    """[vocab_size]: for each token of a byte-level vocabulary the token that spells the same
    with a leading blank, or the token itself where there is none."""
    vocab: dict[str, int] = tokenizer.get_vocab()  # type: ignore[attr-defined]
    table = torch.arange(vocab_size)
    for text, token in vocab.items():
        for blank in ("\u0120", "\u2581"):  # byte-level BPE, SentencePiece
            spelled = vocab.get(blank + text, vocab_size)
            if not text.startswith(blank) and max(token, spelled) < vocab_size:
                table[token] = spelled
    return table
