"""Chunked cross-attention against a slow loop written from RETRO's equations (§2.4, B.1.2)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retro.attention import ChunkedCrossAttention, EncodedNeighbours, RMSNorm, sinusoids

WIDTH, ENCODED, HEADS = 8, 6, 2


def layer(m: int, seed: int = 0, dropout: float = 0.0) -> ChunkedCrossAttention:
    """Random everywhere: the output projection too, which starts at zero."""
    torch.manual_seed(seed)
    made = ChunkedCrossAttention(WIDTH, ENCODED, HEADS, m, dropout).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.5)
    return made.eval()


def neighbours(
    batch: int, chunks: int, k: int, r: int, seed: int = 0, hidden: float = 0.3
) -> EncodedNeighbours:
    draw = torch.Generator().manual_seed(seed)
    shape = (batch, chunks, k * r)
    return EncodedNeighbours(
        torch.randn(*shape, ENCODED, generator=draw, dtype=torch.float64),
        -(torch.rand(shape, generator=draw) < hidden).long(),  # token 0, or none
        torch.randn(shape, generator=draw, dtype=torch.float64),
        r,
    )


def slow(cca: ChunkedCrossAttention, x: Tensor, found: EncodedNeighbours, first: int) -> Tensor:
    """One position, one head and one neighbour token at a time."""
    m, r, width = cca.chunk_size, found.neighbour_len, WIDTH // HEADS
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for column in range(x.shape[1]):
            i = first + column
            if i < m - 1:
                continue  # the first m - 1 tokens have no neighbours: identity
            u, place = (i - (m - 1)) // m, (i - (m - 1)) % m
            if u >= found.states.shape[1] or not found.mask[b, u].any():
                continue
            h = x[b, column]
            h = h / torch.sqrt((h * h).mean() + cca.norm.eps) * cca.norm.weight
            heads = []
            for head in range(HEADS):
                part = slice(head * width, (head + 1) * width)
                q = cca.query.weight[part] @ h
                k = cca.key_value.weight[:WIDTH][part] @ found.states[b, u].T
                v = cca.key_value.weight[WIDTH:][part] @ found.states[b, u].T
                weights = torch.zeros(k.shape[1], dtype=torch.float64)
                for j in torch.nonzero(found.mask[b, u])[:, 0].tolist():
                    where = cca.distance.weight[part] @ wave(place - j % r, width)
                    logit = q @ (k[:, j] + where) / math.sqrt(width)
                    weights[j] = torch.exp(logit + cca.bias_scale[head] * found.bias[b, u, j])
                heads.append(v @ (weights / weights.sum()))
            out[b, column] = cca.out.weight @ torch.cat(heads)
    return out


def wave(distance: int, width: int) -> Tensor:
    """The sinusoidal embedding of one distance: sine and cosine side by side."""
    values = []
    for pair in range(0, width, 2):
        angle = distance / 10_000 ** (pair / width)
        values += [math.sin(angle), math.cos(angle)]
    return torch.tensor(values, dtype=torch.float64)


@torch.no_grad()
@settings(max_examples=40)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 4),
    k=st.integers(1, 2),
    r=st.integers(1, 3),
    chunks=st.integers(1, 3),
    first=st.integers(0, 7),
    seed=st.integers(0, 99),
)
def test_equals_the_equations(
    n: int, m: int, k: int, r: int, chunks: int, first: int, seed: int
) -> None:
    """Any length, so also a partial last chunk; any first position, so also decoding steps; more
    chunks of tokens than of neighbours, and the other way round."""
    cca, found = layer(m, seed), neighbours(2, chunks, k, r, seed)
    x = torch.randn(2, n, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(
        cca(x, found, first), slow(cca, x, found, first), rtol=1e-4, atol=1e-5
    )  # norm and distances are float32


def test_a_chunks_last_token_reads_its_own_neighbours_and_the_one_before_does_not() -> None:
    cca, found = layer(m=4), neighbours(1, 2, 1, 3, hidden=0)
    added = cca(torch.randn(1, 8, WIDTH, dtype=torch.float64), found, 0)[0]
    assert not added[:3].any()
    assert added[3:].abs().sum(1).min() > 0
    other = EncodedNeighbours(found.states.clone(), found.tokens, found.bias, 3)
    other.states[:, 1] += 1.0
    torch.manual_seed(0)
    changed = _changed(cca, found, other)
    assert changed == [7]  # the last token of the second chunk, where i = 2m - 1


def _changed(cca: ChunkedCrossAttention, a: EncodedNeighbours, b: EncodedNeighbours) -> list[int]:
    x = torch.randn(1, 8, WIDTH, dtype=torch.float64)
    difference = (cca(x, a, 0) - cca(x, b, 0))[0].abs().sum(1)
    return torch.nonzero(difference)[:, 0].tolist()


@pytest.mark.parametrize("position", range(11))
def test_no_gradient_from_the_future(position: int) -> None:
    """Position i hears of the neighbours of the one chunk u = (i - m + 1) // m, and of no token
    but itself (mixing tokens is self-attention's work)."""
    m = 4
    cca, found = layer(m), neighbours(1, 3, 2, 3, hidden=0)
    found.states.requires_grad_()
    x = torch.randn(1, 11, WIDTH, dtype=torch.float64, requires_grad=True)
    (cca(x, found, 0)[0, position] ** 2).sum().backward()
    heard = found.states.grad.abs().sum((0, 2, 3))
    expected = [u == (position - m + 1) // m and position >= m - 1 for u in range(3)]
    assert (heard > 0).tolist() == expected
    tokens = x.grad[0].abs().sum(1) > 0
    assert tokens.tolist() == [i == position and position >= m - 1 for i in range(11)]


def test_a_masked_neighbour_token_has_no_gradient_and_no_effect() -> None:
    cca, found = layer(3), neighbours(2, 2, 2, 4, hidden=0.5)
    found.states.requires_grad_()
    x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    (cca(x, found, 0) ** 2).sum().backward()
    grad = found.states.grad.abs().sum(-1)
    assert not grad[~found.mask].any()
    assert (grad[found.mask] > 0).any()


def test_a_chunk_without_any_neighbour_adds_exactly_nothing() -> None:
    cca, found = layer(3), neighbours(2, 2, 1, 4, hidden=0)
    found.tokens[0, 1] = -1
    added = cca(torch.randn(2, 8, WIDTH, dtype=torch.float64), found, 0)
    assert not added[0, 5:].any()
    assert added[0, 2:5].abs().min() > 0
    assert added[1, 2:].abs().sum(1).min() > 0


def test_sequences_of_a_batch_do_not_hear_each_other() -> None:
    cca, found = layer(3), neighbours(3, 2, 2, 4)
    found.states.requires_grad_()
    x = torch.randn(3, 8, WIDTH, dtype=torch.float64, requires_grad=True)
    added = cca(x, found, 0)
    (added[1] ** 2).sum().backward()
    assert x.grad[[0, 2]].abs().sum() == found.states.grad[[0, 2]].abs().sum() == 0
    alone = cca(x[1:2], found.select(torch.tensor([1])), 0)
    torch.testing.assert_close(alone[0], added[1])


def test_padding_of_neighbours_to_a_longer_length_changes_nothing() -> None:
    """Distances were counted from the longest neighbour of the batch, so that what a question
    was answered depended on whom it shared the batch with."""
    cca, found = layer(3), neighbours(1, 2, 2, 4, hidden=0)
    padded = EncodedNeighbours(*(_padded(t, 4, 7) for t in vars(found).values() if _is(t)), 7)
    x = torch.randn(1, 8, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(cca(x, padded, 0), cca(x, found, 0))


def _is(value: object) -> bool:
    return isinstance(value, Tensor)


def _padded(t: Tensor, old: int, new: int) -> Tensor:
    """Each neighbour's ``old`` tokens made ``new`` long: zeros, and no token."""
    t = t.unflatten(2, (-1, old))
    nothing = 0 if t.is_floating_point() else -1
    more = t.new_full((*t.shape[:3], new - old, *t.shape[4:]), nothing)
    return torch.cat([t, more], 3).flatten(2, 3)


def test_adds_exactly_nothing_before_training() -> None:
    cca = ChunkedCrossAttention(WIDTH, ENCODED, HEADS, 3, 0.1).double()
    assert not cca(torch.randn(2, 7, WIDTH, dtype=torch.float64), neighbours(2, 2, 1, 4), 0).any()


def test_steps_with_kept_keys_equal_one_pass() -> None:
    cca, found = layer(3), neighbours(2, 3, 2, 4)
    x = torch.randn(2, 10, WIDTH, dtype=torch.float64)
    whole = cca(x, found, 0)
    with torch.no_grad():
        steps = [cca(x[:, i : i + 1], found, i) for i in range(10)]
    assert len(found.projected) == 1
    torch.testing.assert_close(torch.cat(steps, 1), whole)


def test_dropout_draws_one_mask_a_sequence_and_keeps_the_mean() -> None:
    cca, found = layer(3, dropout=0.25), neighbours(400, 1, 1, 2, hidden=0)
    found.states[:], found.bias[:] = found.states[:1], found.bias[:1]
    x = torch.randn(1, 5, WIDTH, dtype=torch.float64).expand(400, -1, -1)
    still = cca(x, found, 0)
    dropped = cca.train()(x, found, 0)
    kept = (dropped != 0)[:, 2:]
    assert (kept == kept[:, :1]).all()  # all tokens of a sequence lose the same features
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.04)
    torch.testing.assert_close(dropped[:, 2:][kept], (still[:, 2:] / 0.75)[kept])


def test_rms_norm_has_unit_mean_square() -> None:
    y = RMSNorm(16)(100 * torch.randn(5, 16))
    torch.testing.assert_close(y.pow(2).mean(-1), torch.ones(5))


def test_sinusoids_are_those_of_the_equations() -> None:
    table = sinusoids(-3, 5, 6)
    assert table.shape == (8, 6)
    expected = torch.stack([wave(d, 6) for d in range(-3, 5)]).float()
    torch.testing.assert_close(table, expected)
