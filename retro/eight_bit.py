"""Linear layers that multiply 8-bit integers, where a processor does so faster; knows no model.

Both factors are rounded: a weight by the largest of its output, once, and an input by the largest
of its token, as it comes (dynamic quantisation; token-wise as in Yao et al. 2022, ZeroQuant,
§4.1). Their products are summed exactly, so that a token's output does not depend on the others.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

BLOCK = 128
"""Tokens at a time: what is computed between two products stays in the processor's cache."""

LARGEST = 127.0


class EightBitLinear(nn.Module):
    """``linear``, rounded. What goes in and out has the number format that it had before."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = _rounded(linear.weight.detach().float())
        self.weight: Tensor
        self.register_buffer("weight", weight)  # int8 [out, in]
        self.register_buffer("scale", scale[:, 0])  # float32 [out]
        bias = torch.zeros(len(scale)) if linear.bias is None else linear.bias.detach()
        self.register_buffer("bias", bias.float())  # float32 [out]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        flat = x.flatten(0, -2)
        out = x.new_empty(len(flat), len(self.weight))
        for start in range(0, len(flat), BLOCK):
            block = slice(start, start + BLOCK)
            rounded, scale = _rounded(flat[block].float())
            product = torch._int_mm(rounded, self.weight.T)
            out[block] = torch.addcmul(
                cast(Tensor, self.bias), product * scale, cast(Tensor, self.scale)
            )
        return out.view(*x.shape[:-1], out.shape[1])


def in_eight_bits(module: nn.Module) -> None:
    """Rounds all linear layers inside ``module``, which can't learn any more."""
    for name, part in list(module.named_children()):
        if isinstance(part, nn.Linear):
            setattr(module, name, EightBitLinear(part))
        else:
            in_eight_bits(part)


def _rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """x [n, width] -> int8 [n, width] and what a unit of each row is worth, [n, 1]."""
    scale = x.abs().amax(1, keepdim=True).clamp_(min=1e-12) / LARGEST
    return (x / scale).round_().to(torch.int8), scale
