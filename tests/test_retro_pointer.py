"""Text copied from its neighbours: the mixture of the definition, heard no earlier than allowed."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_retro_context import prompt
from torch import Tensor

from retro.attention import EncodedNeighbours
from retro.context import NeighbourContext
from retro.model import RetroForCausalLM
from retro.pointer import MATCHED, NeighbourPointer

WIDTH, VOCAB, M, R = 6, 9, 4, 5


def pointer(seed: int = 0) -> NeighbourPointer:
    torch.manual_seed(seed)
    made = NeighbourPointer(WIDTH, M)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.5)
    return made


def neighbours(tokens: Tensor) -> EncodedNeighbours:
    """tokens [B, L, N]."""
    empty = torch.zeros(*tokens.shape, 1)
    return EncodedNeighbours(empty, tokens, empty[..., 0], R)


def slow(
    made: NeighbourPointer, logits: Tensor, hidden: Tensor, ids: list[int], heard: list[list[int]]
) -> Tensor:
    """The mixture [V] behind ``ids``, one neighbour token at a time. ``heard``: K neighbours."""
    log_p = logits.log_softmax(-1)
    scores, runs, tokens = [], [], []
    for neighbour in heard:
        for j, token in enumerate(neighbour):
            if token < 0:
                continue
            pairs = zip(neighbour[:j][::-1], ids[::-1], strict=False)
            run = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
            run = min(run, MATCHED)
            runs.append([1.0 if d < run else 0.0 for d in range(MATCHED)])
            tokens.append(token)
            scores.append(made.likely[0] * log_p[token] + made.matched[:run].sum())
    if not tokens:
        return log_p
    score = torch.stack(scores)
    weights = score.softmax(0)
    h = hidden / (hidden.pow(2).mean() + torch.finfo(hidden.dtype).eps).sqrt()
    told = [weights.max(), score.logsumexp(0) / 5, log_p[tokens].max() / 5]
    features = torch.cat([h, torch.tensor(runs).amax(0), torch.stack(told)])
    gate = torch.sigmoid(made.gate.weight[0] @ features + made.gate.bias[0])
    out = (1 - gate) * log_p.exp()
    for token, weight in zip(tokens, weights, strict=True):
        out[token] = out[token] + gate * weight
    return out.log()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_it_is_the_mixture_of_the_definition(data: st.DataObject) -> None:
    """Few tokens, so that runs match; chunks with one neighbour or none, a partial last chunk."""
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    chunks, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    first, n = data.draw(st.integers(0, M - 1)), data.draw(st.integers(1, 11))
    before = data.draw(st.integers(0, 3))
    tokens = torch.randint(-1, 3, (2, chunks, k, R), generator=draw)
    tokens = tokens.masked_fill((tokens < 0).cumsum(-1) > 0, -1)  # what is missing is at the end
    ids = torch.randint(0, 3, (2, before + n), generator=draw)
    logits = torch.randn(2, n, VOCAB, generator=draw)
    hidden = torch.randn(2, n, WIDTH, generator=draw)
    made = pointer(data.draw(st.integers(0, 9)))
    given_ = (logits, hidden, ids, neighbours(tokens.flatten(2)), first)
    with torch.no_grad():
        mixed = made(*given_)
        torch.testing.assert_close(mixed.exp().sum(-1), torch.ones(2, n), atol=1e-5, rtol=0)
        targets = torch.randint(0, VOCAB, (2, n), generator=draw)
        alone = made(*given_, targets)
        torch.testing.assert_close(alone, mixed.gather(2, targets[..., None])[..., 0])
        for b in range(2):
            for i in range(n):
                u = (first + i - (M - 1)) // M
                heard = tokens[b, u].tolist() if 0 <= u < chunks else []
                written = ids[b, : before + i + 1].tolist()
                expected = slow(made, logits[b, i], hidden[b, i], written, heard)
                torch.testing.assert_close(mixed[b, i], expected, atol=2e-5, rtol=1e-4)


def test_what_stood_behind_the_same_words_becomes_likelier() -> None:
    made = NeighbourPointer(WIDTH, M)
    tokens = torch.tensor([[[[5, 6, 7, 8, -1]]]]).flatten(2)
    ids = torch.tensor([[1, 2, 5, 6]])
    flat = torch.zeros(1, 4, VOCAB)
    with torch.no_grad():
        p = made(flat, torch.ones(1, 4, WIDTH), ids, neighbours(tokens), 0)[0, -1].exp()
    assert p[7] == p.max() > 1 / VOCAB
    assert p[8] > p[1]  # copied, though what stands before it was not written


def model() -> RetroForCausalLM:
    return tiny.model(pointer=True)


PLACE = [[[0, 1], [2, 3]], [[4, -1], [5, 6]]]


def text(made: RetroForCausalLM) -> tuple[Tensor, NeighbourContext]:
    """Of few tokens, so that some stand behind the same ones in both."""
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 4, (2, 2 * M + 3), generator=draw).to(made.device)
    rows = tiny.rows(PLACE, seed=3)
    few = torch.where(rows.tokens < 0, -1, rows.tokens % 3 + 1)
    return ids, NeighbourContext(replace(rows, tokens=few))


@torch.no_grad()
def test_log_probs_loss_and_logits_say_the_same() -> None:
    made = model()
    ids, found = text(made)
    logits = made(ids, neighbours=found).logits
    told = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    torch.testing.assert_close(made.log_probs(ids, torch.ones_like(ids), found), told)
    loss = made(ids, neighbours=found, labels=ids).loss
    assert loss.item() == pytest.approx(-told.mean().item(), rel=1e-5)


@torch.no_grad()
def test_without_neighbours_the_base_is_the_base() -> None:
    made = model()
    ids, found = text(made)
    assert torch.equal(made(ids).logits, made.base(ids).logits)
    assert not torch.allclose(made(ids, neighbours=found).logits[:, M:], made(ids).logits[:, M:])
    heard = made(ids, neighbours=text(made)[1]).logits[:, : M - 1]
    torch.testing.assert_close(heard, made(ids).logits[:, : M - 1].log_softmax(-1))


@torch.no_grad()
def test_a_token_that_comes_later_changes_nothing_before_it() -> None:
    made = model()
    ids, found = text(made)
    other = ids.clone()
    other[:, M + 2] = (other[:, M + 2] + 1) % 50
    one, two = (made(each, neighbours=found).logits for each in (ids, other))
    torch.testing.assert_close(one[:, : M + 2], two[:, : M + 2])
    assert not torch.allclose(one[:, M + 2], two[:, M + 2])


def test_it_is_learned_and_kept(tmp_path: Any) -> None:
    made = model().train()
    ids, found = text(made)
    made.log_probs(ids, torch.ones_like(ids), found).mean().backward()
    assert made.pointer is not None
    assert all(p.grad.isfinite().all() and p.grad.any() for p in made.pointer.parameters())
    made.eval().save_pretrained(tmp_path)
    again = RetroForCausalLM.from_pretrained(tmp_path).eval()
    assert again.pointer is not None
    assert torch.equal(again.pointer.gate.weight, made.pointer.gate.weight)


def test_a_pointer_needs_tokens() -> None:
    made = model()
    ids, found = text(made)
    embedded = made.get_input_embeddings()(ids)
    with pytest.raises(ValueError, match="pass input_ids or written"):
        made(inputs_embeds=embedded, neighbours=found)
    logits = made(inputs_embeds=embedded, neighbours=text(made)[1], written=ids).logits
    torch.testing.assert_close(logits, made(ids, neighbours=text(made)[1]).logits)


def test_a_question_is_not_answered_by_the_pointer() -> None:
    """What a question's neighbours say is read and copied as spans (``retro.copying``)."""
    plain, made = tiny.model(), model()
    rows = tiny.rows([[[0, 1]]])
    ids = prompt(5)
    with torch.no_grad():
        outs = [each(ids, neighbours=each.read(rows)).logits for each in (plain, made)]
    assert torch.equal(*outs)
    assert math.isfinite(outs[0].sum().item())
