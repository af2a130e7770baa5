"""Layers in 8-bit integers say nearly the same, and of every token by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from index.devices import Integers
from retro import eight_bit
from retro.eight_bit import LARGEST_WEIGHT, EightBitLinear, in_eight_bits
from retro.encoder import EncoderConfig, NeighbourEncoder

KINDS = list(LARGEST_WEIGHT)
BLOCK = max(eight_bit.BLOCK.values())


def linear(width_in: int, width_out: int, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(width_in, width_out).eval()


def rounded(x: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    unit = x.abs().amax(1, keepdim=True) / largest
    return (x / unit).round(), unit


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(1, 2 * BLOCK + 3), st.integers(0, 99))
def test_products_are_those_of_the_rounded_factors(kind: Integers, tokens: int, seed: int) -> None:
    exact = linear(24, 16, seed)
    x = torch.randn(tokens, 24) * 10.0 ** torch.randint(-3, 4, (tokens, 1))
    given_x, unit = rounded(x, 127)
    weight, units = rounded(exact.weight.detach(), LARGEST_WEIGHT[kind])
    expected = given_x @ weight.T * unit * units.T + exact.bias.detach()
    torch.testing.assert_close(EightBitLinear(exact, kind)(x), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_products_are_summed_exactly(kind: Integers) -> None:
    """AVX2 adds two products of bytes in 16 bits: with larger weights it would stop short."""
    exact = linear(3072, 32)
    exact.weight.data.copy_(torch.ones(32, 3072) * torch.tensor([1.0, -1.0]).repeat(16)[:, None])
    exact.bias.data.zero_()
    x = torch.stack([torch.ones(3072), -torch.ones(3072)])
    torch.testing.assert_close(EightBitLinear(exact, kind)(x), exact(x).detach())


@pytest.mark.parametrize(("kind", "most"), [("vnni", 0.015), ("avx2", 0.02)])
def test_the_error_is_about_a_percent_whatever_the_scale_of_a_token(
    kind: Integers, most: float
) -> None:
    exact = linear(768, 256)
    x = torch.randn(300, 768) * 10.0 ** torch.arange(300).remainder(7)[:, None]
    exact.bias.data.zero_()
    there = exact(x)
    off = (EightBitLinear(exact, kind)(x) - there).norm(dim=1) / there.norm(dim=1)
    assert off.max() < most


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_multiplied_alike_in_any_company(kind: Integers) -> None:
    layer = EightBitLinear(linear(64, 48).bfloat16(), kind)
    x = torch.randn(3, BLOCK // 2, 64, dtype=torch.bfloat16)
    together = layer(x)
    assert together.dtype == torch.bfloat16
    assert together.shape == (3, BLOCK // 2, 48)
    alone = torch.stack([layer(row) for row in x.flatten(0, 1).split(1)])
    assert torch.equal(together.flatten(0, 1), alone.flatten(0, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_and_zeros_give_the_bias(kind: Integers) -> None:
    exact = linear(8, 4)
    layer = EightBitLinear(exact, kind)
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
        in_eight_bits(encoder, "avx2")
        after = encoder(ids, seen, torch.zeros_like(ids))
    assert not any(isinstance(part, nn.Linear) for part in encoder.modules())
    assert not torch.equal(before, after)
    assert (after - before).norm() / before.norm() < 0.02
