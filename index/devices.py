"""Which number formats this machine multiplies fastest; knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Integers = Literal["vnni", "avx2"]
"""Instructions that multiply 8-bit integers: AVX-512 VNNI, or AVX2 alone."""


def fast_dtype(device: torch.device | None = None) -> torch.dtype:
    """bfloat16 on a GPU and on CPUs that multiply it fast, float32 elsewhere.

    Measured on 2048 x 2048 products, one core: with AMX bfloat16 is four times as fast as
    float32, on an EPYC with AVX-512 bfloat16 2.2 times (198 against 88 GFLOP/s); on a Xeon that
    has the latter but no AMX it is half as fast (86 against 165). ``device``: default a GPU if
    there is one.
    """
    import torch

    cuda = torch.cuda.is_available() if device is None else device.type == "cuda"
    return torch.bfloat16 if cuda or _fast_on_cpu(torch.cpu.get_capabilities()) else torch.float32


def _fast_on_cpu(has: Mapping[str, Any]) -> bool:
    """By what a CPU ``has`` (``torch.cpu.get_capabilities``)."""
    amd = "AMD" in str(has.get("cpu_name"))
    return bool(has.get("amx_bf16") or (amd and has.get("avx512_bf16")))


def fast_integers(device: torch.device | None = None) -> Integers | None:
    """By which instructions 8-bit integers are multiplied faster than ``fast_dtype``, if they are.

    Measured on an encoder of 12 layers, rounding included (``retro.eight_bit``): with AVX-512 VNNI
    1.45 times as fast as bfloat16, with AVX2 alone 1.6 times as fast as float32. With AMX, which
    multiplies bfloat16 faster, and with AVX-512 without VNNI it was not measured: no.
    """
    import torch

    cuda = torch.cuda.is_available() if device is None else device.type == "cuda"
    if cuda or not torch.backends.mkldnn.is_available():
        return None
    return _integers_on_cpu(torch.cpu.get_capabilities())


def _integers_on_cpu(has: Mapping[str, Any]) -> Integers | None:
    """By what a CPU ``has`` (``torch.cpu.get_capabilities``)."""
    if has.get("amx_bf16"):
        return None
    if has.get("avx512_f"):
        return "vnni" if has.get("avx512_vnni") else None
    return "avx2" if has.get("avx2") else None
