"""Linear layers that multiply 8-bit integers, where a processor does so faster; knows no model.

Both factors are rounded: a weight by the largest of its output, once, and an input by the largest
of its token, as it comes (dynamic quantisation; token-wise as in Yao et al. 2022, ZeroQuant,
§4.1). Their products are summed exactly, so that a token's output does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from index.devices import Integers

BLOCK: dict[Integers, int] = {"vnni": 128, "avx2": 512}
"""Tokens at a time: what is computed between two products stays in the processor's cache."""

LARGEST = 127
"""What the largest number of a token becomes."""

LARGEST_WEIGHT: dict[Integers, int] = {"vnni": 127, "avx2": 64}
"""What the largest weight of an output becomes. AVX2 adds two products in 16 bits, which hold at
most 32,767: 2 x 255 x 64 is below that, and the sum is exact."""


class EightBitLinear(nn.Module):
    """``linear``, rounded, to be multiplied by the instructions ``integers``. What goes in and out
    has the number format that it had before."""

    def __init__(self, linear: nn.Linear, integers: Integers) -> None:
        super().__init__()
        weight, scale = _rounded(linear.weight.detach().float(), LARGEST_WEIGHT[integers])
        self.out_features = len(weight)
        self._block = BLOCK[integers]
        self._product = _PRODUCTS[integers](weight, scale[:, 0].contiguous())
        bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach()
        self._bias = bias.float()  # [out]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        flat = x.flatten(0, -2)
        out = x.new_empty(len(flat), self.out_features)
        for start in range(0, len(flat), self._block):
            block = slice(start, start + self._block)
            rounded, unit = _rounded(flat[block].float(), LARGEST)
            torch.addcmul(self._bias, self._product(rounded), unit, out=out[block])
        return out.view(*x.shape[:-1], self.out_features)


def in_eight_bits(module: nn.Module, integers: Integers) -> None:
    """Rounds all linear layers inside ``module``, which can't learn any more."""
    for name, part in list(module.named_children()):
        if isinstance(part, nn.Linear):
            setattr(module, name, EightBitLinear(part, integers))
        else:
            in_eight_bits(part, integers)


def _rounded(x: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """x [n, width] -> int8 [n, width] and what a unit of each row is worth, [n, 1]."""
    most = torch.maximum(x.amax(1, keepdim=True), -x.amin(1, keepdim=True))
    unit = most.clamp_(min=1e-12) / largest
    return (x / unit).round_().to(torch.int8), unit


Product = Callable[[Tensor], Tensor]
"""Tokens [n, in] int8 -> [n, out] float32: by weights and what a unit of these is worth."""


def _vnni(weight: Tensor, scale: Tensor) -> Product:
    def product(rounded: Tensor) -> Tensor:
        return torch._int_mm(rounded, weight.T) * scale

    return product


def _avx2(weight: Tensor, scale: Tensor) -> Product:
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros = torch.zeros(len(weight), dtype=torch.int32)

    def product(rounded: Tensor) -> Tensor:
        unsigned = rounded.view(torch.uint8).bitwise_xor(128)  # each more by 128
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(unsigned, 1.0, 128, packed, scale, zeros, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        return product

    return product


_PRODUCTS: dict[Integers, Callable[[Tensor, Tensor], Product]] = {"vnni": _vnni, "avx2": _avx2}
