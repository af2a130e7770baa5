"""Neighbours found while a text grows: as if every step began anew, each encoded once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import tiny
import torch
from torch import Tensor

from retro.context import (
    Chunk,
    ChunkRetrieval,
    NeighbourContext,
    arranged,
    chunks_of,
    in_chunks,
    of_each_row,
)
from retro.model import RetroForCausalLM
from retro.windows import Rows

M = 4
"""Tokens of a chunk in ``tiny.model``."""
END = 0


class Source:
    """Retrieves for a chunk what its tokens say: two neighbours, or one, or none."""

    def __init__(self) -> None:
        self.asked: list[Chunk] = []

    def __call__(self, chunks: Sequence[Chunk]) -> Rows:
        self.asked += chunks
        return joined([self.of(chunk) for chunk in chunks])

    @staticmethod
    def of(chunk: Chunk) -> Rows:
        """The rows of one chunk, with ``place`` [1, 1, K]."""
        count = (2, 1, 2, 0)[sum(chunk) % 4]
        rows = tiny.rows([[[0, 1]]], seed=sum(chunk))
        kept = {name: value[:count] for name, value in vars(rows).items() if name != "place"}
        return Rows(**kept, place=torch.arange(count).view(1, 1, count))


def joined(parts: Sequence[Rows], chunks: int = 1) -> Rows:
    """Rows of [1, 1, K] each as one, with ``place`` [C / chunks, chunks, most K]."""
    most = max([1, *(part.place.shape[2] for part in parts)])
    place, begin = torch.full((len(parts), most), -1), 0
    for number, part in enumerate(parts):
        count = part.place.shape[2]
        place[number, :count] = torch.arange(begin, begin + count)
        begin += count
    names = [name for name in vars(parts[0]) if name != "place"]
    packed = {name: torch.cat([vars(part)[name] for part in parts]) for name in names}
    return Rows(**packed, place=place.view(-1, chunks, most))


def prompt(length: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(1, len(tiny.decoder_tokenizer()), (1, length), generator=draw)


def slowly(made: RetroForCausalLM, tokens: Tensor, prompt_len: int) -> Tensor:
    """Next-token logits [V] of one sequence, all done anew: cut into chunks so that the prompt
    closes one, the first one short; each retrieves; one pass with no cache."""
    parts = (part.tolist() for part in (tokens[0, :prompt_len], tokens[0, prompt_len:]))
    chunks = chunks_of(*parts, M)
    rows = joined([Source.of(chunk) for chunk in chunks], len(chunks))
    context = NeighbourContext(rows, first=-prompt_len % M)
    if not made.encoder.config.conditioning_size:
        states = made.encoder(rows.ids, rows.mask, rows.segments)
        context.encoded = arranged(states, rows, None)
    return made(tokens, neighbours=context, use_cache=False).logits[0, -1]


def generated(made: RetroForCausalLM, source: Source, ids: Tensor, **options: object) -> Tensor:
    settings = {"max_new_tokens": 3 * M + 1, "do_sample": False, "pad_token_id": END}
    return made.generate(ids, retrieve=source, **settings | options)


@torch.no_grad()
@pytest.mark.parametrize("pointer", [False, True])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize(("family", "length"), [("llama", 1), ("gpt2", M), ("gpt_neox", M + 3)])
def test_each_written_token_is_that_of_a_pass_done_anew(
    family: str, length: int, conditioned: bool, pointer: bool
) -> None:
    encoder = {"conditioning_size": 32 if conditioned else 0}
    made = tiny.model(family, pointer=pointer, encoder=encoder)
    ids, source = prompt(length, seed=length), Source()
    outs = [
        generated(made, source, ids, use_cache=cached, min_new_tokens=3 * M + 1)
        for cached in (True, False)
    ]
    assert torch.equal(*outs)
    for end in range(length, outs[0].shape[1]):
        logits = slowly(made, outs[0][:, :end], length)
        logits[END] = -torch.inf  # min_new_tokens forbids it
        assert logits.argmax() == outs[0][0, end], end
    assert len(source.asked) == 2 * (3 + len(range(0, length, M)))


@torch.no_grad()
def test_a_chunk_retrieves_once_and_its_neighbours_are_encoded_once() -> None:
    made, source = tiny.model(), Source()
    encoded: list[int] = []
    made.encoder.layers[0].register_forward_hook(lambda _, args, __: encoded.append(len(args[0])))
    out = generated(made, source, prompt(M + 2), min_new_tokens=3 * M + 1)[0].tolist()
    chunks = chunks_of(out[: M + 2], out[M + 2 :], M)
    assert source.asked == chunks  # the prompt's two, and three that were written
    assert sum(encoded) == sum(Source.of(chunk).place.shape[2] for chunk in chunks)


@torch.no_grad()
@pytest.mark.parametrize("conditioned", [False, True])
def test_left_padding_and_company_change_nothing(conditioned: bool) -> None:
    made = tiny.model(encoder={"conditioning_size": 32 if conditioned else 0})
    lengths, width = [9, 2, 4], 9
    alone = [generated(made, Source(), prompt(n, seed=n), min_new_tokens=9) for n in lengths]
    padded = [torch.nn.functional.pad(prompt(n, seed=n), (width - n, 0)) for n in lengths]
    mask = torch.arange(width) >= width - torch.tensor(lengths)[:, None]
    source = Source()
    together = generated(
        made, source, torch.cat(padded), attention_mask=mask.long(), min_new_tokens=9
    )
    for b, length in enumerate(lengths):
        assert torch.equal(together[b, width - length :], alone[b][0])
    assert () not in source.asked  # padding asks for nothing


@torch.no_grad()
@pytest.mark.parametrize("conditioned", [False, True])
def test_beams_hear_what_their_own_text_retrieved(conditioned: bool) -> None:
    made = tiny.model(encoder={"conditioning_size": 32 if conditioned else 0})
    ids = prompt(3)
    out = generated(
        made,
        Source(),
        ids,
        num_beams=3,
        num_return_sequences=3,
        min_new_tokens=3 * M,
        max_new_tokens=3 * M,
        length_penalty=0.0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    for sequence, score in zip(out.sequences, out.sequences_scores, strict=True):
        total = torch.zeros(())
        for end in range(3, len(sequence)):
            logits = slowly(made, sequence[None, :end], 3)
            total += logits.log_softmax(-1)[sequence[end]]
        assert score.item() == pytest.approx(total.item(), rel=1e-4)


@torch.no_grad()
def test_what_stands_behind_an_end_token_retrieves_nothing() -> None:
    made, source, stop = tiny.model(), Source(), 7
    retrieval = ChunkRetrieval(source, made._encode, M, stop)
    prompts = torch.tensor([[1, stop, 2, 3], [4, 5, 6, 9]])  # an end in a prompt ends nothing
    retrieval.context(prompts, None, 0)
    written = torch.tensor(
        [[9, stop, stop, stop, stop, stop, stop, stop], [9, 1, 2, 4, 4, 5, 6, 9]]
    )
    found = retrieval.context(torch.cat([prompts, written], 1), None, 0)
    prompts_ = [(1, stop, 2, 3), (4, 5, 6, 9)]
    assert source.asked == [*prompts_, (9,), (9, 1, 2, 4), (4, 5, 6, 9)]
    assert found.encoded.mask.any(-1).tolist() == [[True, True, False], [True, True, True]]


def test_a_prompts_last_token_closes_a_chunk() -> None:
    assert chunks_of([1, 2, 3, 4], [5, 6, 7, 8, 9], 4) == [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert chunks_of([1, 2, 3, 4, 5], [6], 4) == [(1,), (2, 3, 4, 5)]
    assert chunks_of([1], [], 4) == [(1,)]


def test_chunks_of_a_tensor_and_of_their_rows() -> None:
    x = torch.arange(1, 8).view(1, 7)
    assert in_chunks(x, 2, 3, 3).tolist() == [[[0, 0, 1], [2, 3, 4], [5, 6, 7]]]
    assert in_chunks(x, 0, 4, 2).tolist() == [[[1, 2, 3, 4], [5, 6, 7, 0]]]
    place = torch.tensor([[[3, 0], [1, -1]], [[-1, -1], [2, 4]]])
    owners = torch.tensor([[10, 11], [20, 21]])
    assert of_each_row(place, 5, owners)[0].tolist() == [10, 11, 21, 10, 21]
