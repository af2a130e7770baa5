"""The number format follows what the processor multiplies fastest."""

from __future__ import annotations

import pytest
import torch

from index.devices import fast_dtype, fast_integers

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, torch.bfloat16),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, torch.float32),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, torch.bfloat16),
        ({"avx2": True, "cpu_name": "AMD EPYC"}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_where_it_is_fast(
    has: dict[str, object], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert fast_dtype(CPU) == expected


def test_bfloat16_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert fast_dtype(torch.device("cuda")) == torch.bfloat16


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"avx512_f": True, "avx512_vnni": True, "avx2": True}, "vnni"),
        ({"avx512_f": True, "avx512_vnni": True, "avx2": True, "amx_bf16": True}, None),
        ({"avx512_f": True, "avx2": True}, None),
        ({"avx2": True}, "avx2"),
        ({}, None),
    ],
)
def test_integers_where_they_are_fast(
    has: dict[str, object], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert fast_integers(CPU) == expected
    assert not fast_integers(torch.device("cuda"))
