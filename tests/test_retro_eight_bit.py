"""Layers in 8-bit integers say nearly the same, and of every token by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from retro.eight_bit import BLOCK, EightBitLinear, in_eight_bits
from retro.encoder import EncoderConfig, NeighbourEncoder


def linear(width_in: int, width_out: int, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(width_in, width_out).eval()


@given(st.integers(1, 2 * BLOCK + 3), st.integers(0, 99))
def test_products_are_those_of_the_rounded_factors(tokens: int, seed: int) -> None:
    exact = linear(24, 16, seed)
    x = torch.randn(tokens, 24) * 10.0 ** torch.randint(-3, 4, (tokens, 1))
    unit = x.abs().amax(1, keepdim=True) / 127
    units = exact.weight.abs().amax(1, keepdim=True) / 127
    rounded = (x / unit).round() @ (exact.weight / units).round().T
    expected = rounded * unit * units.T + exact.bias
    torch.testing.assert_close(EightBitLinear(exact)(x), expected.detach())


def test_the_error_is_about_a_percent_whatever_the_scale_of_a_token() -> None:
    exact = linear(768, 256)
    x = torch.randn(300, 768) * 10.0 ** torch.arange(300).remainder(7)[:, None]
    exact.bias.data.zero_()
    there = exact(x)
    off = (EightBitLinear(exact)(x) - there).norm(dim=1) / there.norm(dim=1)
    assert off.max() < 0.015


def test_a_token_is_multiplied_alike_in_any_company() -> None:
    layer = EightBitLinear(linear(64, 48).bfloat16())
    x = torch.randn(3, BLOCK, 64, dtype=torch.bfloat16)
    together = layer(x)
    assert together.dtype == torch.bfloat16
    assert together.shape == (3, BLOCK, 48)
    alone = torch.stack([layer(row) for row in x.flatten(0, 1).split(1)])
    assert torch.equal(together.flatten(0, 1), alone.flatten(0, 1))


def test_nothing_and_zeros_give_the_bias() -> None:
    exact = linear(8, 4)
    layer = EightBitLinear(exact)
    assert layer(torch.zeros(0, 8)).shape == (0, 4)
    torch.testing.assert_close(layer(torch.zeros(2, 8)), exact.bias.detach().expand(2, 4))


@pytest.mark.parametrize("rank", [0, 2])
def test_an_encoder_in_eight_bits_reads_nearly_alike(rank: int) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=50,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        lora_rank=rank,
    )
    encoder = NeighbourEncoder(config).eval()
    ids, seen = torch.randint(1, 50, (3, 9)), torch.ones(3, 9, dtype=torch.bool)
    with torch.no_grad():
        before = encoder(ids, seen, torch.zeros_like(ids))
        encoder.fold()
        in_eight_bits(encoder)
        after = encoder(ids, seen, torch.zeros_like(ids))
    assert not any(isinstance(part, nn.Linear) for part in encoder.modules())
    assert not torch.equal(before, after)
    assert (after - before).norm() / before.norm() < 0.02
