"""Continues text while it searches an index: joins a retriever and a model, keeps what was read.

Knows the index's search, the tokenizers and the model's ``generate``; holds no arithmetic. Search
happens whenever a chunk is complete (``retro.context``), the prompt's own chunks included.

    from index.retriever import Retriever
    from retro.generation import Generator
    from retro.retrofit import load

    generator = Generator.of(load(), Retriever.open(Path("my-index")))
    [found] = generator.generate(["The Danube rises in"], max_new_tokens=128)
    print(found.text)
    for chunk in found.retrieved:
        print(chunk.query, chunk.neighbours.doc_ids, chunk.neighbours.distances)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from index.errors import UserError
from retro.context import Chunk, chunks_of
from retro.model import RetroForCausalLM
from retro.retrofit import load_windower
from retro.windows import Rows, Windower

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever


@dataclass(frozen=True)
class Retrieved:
    """What one chunk found for the next: the chunk's text, and its neighbours with their chunk
    and document ids, titles, texts and distances, best first."""

    query: str
    neighbours: Neighbours


@dataclass(frozen=True)
class Continuation:
    """What was written behind one prompt, without its end token, and what was read for it, in
    the order of the chunks."""

    text: str
    tokens: tuple[int, ...]
    retrieved: tuple[Retrieved, ...]


class IndexSearch:
    """The ``retrieve`` of ``RetroForCausalLM.generate``: chunks of tokens -> encoder rows.

    ``found`` keeps each chunk's neighbours. Documents in ``exclude`` count as absent.
    """

    def __init__(
        self, retriever: Retriever, windower: Windower, k: int, exclude: Collection[str] = ()
    ) -> None:
        self.retriever, self.windower, self.k, self.exclude = retriever, windower, k, exclude
        self.found: dict[Chunk, Retrieved] = {}

    def __call__(self, chunks: Sequence[Chunk]) -> Rows:
        """C chunks -> rows with ``place`` [C, 1, K]; one without any text finds nothing."""
        self._search([chunk for chunk in dict.fromkeys(chunks) if chunk not in self.found])
        queries, windows = [], []
        for found in map(self.found.get, chunks):
            queries.append(self.windower.chunk(found.query if found else ""))
            near = found.neighbours if found else None
            windows.append(self.windower.windows(near.texts, near.titles) if near else [])
        return self.windower.rows(queries, windows)

    def _search(self, chunks: Sequence[Chunk]) -> None:
        texts = {c: self.windower.decoder.decode(c, skip_special_tokens=True) for c in chunks}
        texts = {chunk: text for chunk, text in texts.items() if text.strip()}
        found = self.retriever.search_batch(
            list(texts.values()), self.k, [self.exclude] * len(texts)
        )
        for (chunk, text), neighbours in zip(texts.items(), found, strict=True):
            self.found[chunk] = Retrieved(text, neighbours)


def padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Prompts of tokens, padded in front: ids and mask, both [B, n]."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for b, row in enumerate(prompts):
        ids[b, width - len(row) :], mask[b, width - len(row) :] = torch.tensor(row), 1
    return ids, mask


@dataclass(frozen=True)
class Generator:
    """A model, an index and the tokenizers between them."""

    model: RetroForCausalLM
    retriever: Retriever
    windower: Windower

    @classmethod
    def of(cls, model: RetroForCausalLM, retriever: Retriever) -> Generator:
        """With the tokenizers that the model's configuration names."""
        names = (model.config.encoder_name, model.config.base_name)
        return cls(model, retriever, load_windower(*names))

    def generate(
        self,
        prompts: Sequence[str],
        *,
        k: int = 2,
        exclude: Collection[str] = (),
        **options: Any,
    ) -> list[Continuation]:
        """One continuation a prompt (several with ``num_return_sequences``, one after another).

        ``k``: neighbours a chunk (RETRO trains with 2); 0: the base alone writes.
        ``exclude``: documents treated as absent. ``options`` go to ``transformers``' ``generate``
        (``max_new_tokens``, ``do_sample``, ``num_beams``, ``streamer`` …).

        Raises:
            UserError: a prompt is empty.
        """
        decoder = self.windower.decoder
        tokens = [decoder(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
        if not all(tokens):
            raise UserError(f"prompt {tokens.index([]) + 1} is empty; give text to go on from")
        return self.continued(tokens, k=k, exclude=exclude, **options)

    def continued(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        k: int = 2,
        exclude: Collection[str] = (),
        **options: Any,
    ) -> list[Continuation]:
        """The same for prompts that are tokens."""
        ids, mask = (t.to(self.model.device) for t in padded(prompts, self.model.eos))
        search = IndexSearch(self.retriever, self.windower, k, exclude)
        out = self.model.generate(
            ids,
            attention_mask=mask,
            retrieve=search if k else None,
            pad_token_id=self.model.eos,
            **options,
        )
        mask = mask.repeat_interleave(len(out) // len(prompts), 0)
        return [
            self._continuation(*row, ids.shape[1], search) for row in zip(out, mask, strict=True)
        ]

    def _continuation(
        self, ids: Tensor, mask: Tensor, prompt_len: int, search: IndexSearch
    ) -> Continuation:
        written = ids[prompt_len:].tolist()
        if self.model.eos in written:
            written = written[: written.index(self.model.eos)]
        prompt = ids[:prompt_len][mask > 0].tolist()
        chunks = chunks_of(prompt, written, self.model.config.chunk_size)
        text = self.windower.decoder.decode(written, skip_special_tokens=True)
        # The last chunk may have been completed by the last token: nobody was left to hear.
        read = tuple(search.found[chunk] for chunk in chunks if chunk in search.found)
        return Continuation(text, tuple(written), read)
