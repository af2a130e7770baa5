"""How a question is put to the decoder: left-padded, so that it closes a chunk (RETRO §4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

TEMPLATE = "Question: {question}\nAnswer:"


class Prompter:
    """Tokenises questions and answers for one decoder."""

    def __init__(self, tokenizer: Any, eos: int, chunk_size: int) -> None:
        self.tokenizer, self.eos, self.chunk_size = tokenizer, eos, chunk_size

    def prompts(
        self, questions: Sequence[str], passages: Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, Tensor, int]:
        """Ids and mask [B, n], and the position m - n of their first column in the chunk.

        The prompt's last token is the chunk's last, so the answer starts the next chunk. Padding
        that all prompts share is not computed: it is only counted. A question too long for one
        chunk loses its middle words: its neighbours and the encoder still see all of it.
        ``passages``: tokens that stand on lines of their own before the question (RETRO++), in
        the chunks before its own, which have no neighbours: the position is negative then.
        """
        texts = [TEMPLATE.format(question=" ".join(q.split())) for q in questions]
        found = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        found = [self._shortened(tokens) for tokens in found]
        if passages is not None:
            line = self.tokenizer("\n", add_special_tokens=False)["input_ids"]
            both = zip(passages, found, strict=True)
            found = [[*given, *line, *own] if given else own for given, own in both]
        size = max(map(len, found))
        ids = torch.full((len(texts), size), self.eos)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(found):
            ids[row, -len(tokens) :] = torch.tensor(tokens)
            mask[row, -len(tokens) :] = 1
        return ids, mask, self.chunk_size - size

    def _shortened(self, tokens: list[int]) -> list[int]:
        if len(tokens) <= self.chunk_size:
            return tokens
        half = self.chunk_size // 2
        return tokens[:half] + tokens[-(self.chunk_size - half) :]

    def answers(self, answers: Sequence[Sequence[int]]) -> Tensor:
        """[B, T]: answer tokens, each row ended by ``eos`` and padded by -1."""
        out = torch.full((len(answers), max(map(len, answers)) + 1), -1)
        for row, tokens in enumerate(answers):
            out[row, : len(tokens)] = torch.tensor(list(tokens))
            out[row, len(tokens)] = self.eos
        return out
