"""Which number formats this machine multiplies fastest; knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


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


def fast_integers(device: torch.device | None = None) -> bool:
    """Whether 8-bit integers are multiplied faster than ``fast_dtype``: on CPUs with AVX-512 VNNI.

    Measured on an encoder of 12 layers, rounding included (``retro.eight_bit``): 1.45 times as fast
    as bfloat16. With AMX, which multiplies bfloat16 faster, it was not measured: no.
    """
    import torch

    if torch.cuda.is_available() if device is None else device.type == "cuda":
        return False
    has = torch.cpu.get_capabilities()
    fast = has.get("avx512_vnni") and torch.backends.mkldnn.is_available()
    return bool(fast and not has.get("amx_bf16"))
