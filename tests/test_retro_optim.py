"""AdamW with float32 masters: torch's own steps, small ones not lost, and a state that resumes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from retro.optim import MasterAdamW, schedule


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(3, 4).to(dtype)), nn.Parameter(torch.randn(4).to(dtype))]


def push(ours: list[nn.Parameter], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in ours:
        parameter.grad = torch.randn(parameter.shape, generator=draw).to(parameter.dtype)


def test_equals_torchs_adamw_on_float32() -> None:
    ours, theirs = parameters(), parameters()
    optimiser = MasterAdamW(ours, lr=0.01, decay=0.1)
    reference = torch.optim.AdamW(
        [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    for step, scale in enumerate([0.5, 1.0, 0.25]):
        push(ours, step)
        push(theirs, step)
        norm = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        for group in reference.param_groups:
            group["lr"] = 0.01 * scale
        reference.step()
        assert optimiser.step(scale) == pytest.approx(norm.item())
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b)
            assert a.grad is None


def test_updates_too_small_for_bfloat16_add_up() -> None:
    weight = nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    optimiser = MasterAdamW([weight], lr=1e-4)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimiser.step()
    torch.testing.assert_close(weight.float(), torch.full((8,), 0.99), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_goes_on_from_a_saved_state_as_if_never_stopped(dtype: torch.dtype) -> None:
    whole, halves = parameters(dtype), parameters(dtype)
    first = MasterAdamW(whole, lr=0.05)
    stopped = MasterAdamW(halves, lr=0.05)
    for step in range(2):
        push(whole, step)
        push(halves, step)
        first.step()
        stopped.step()
    saved = {name: value.clone() for name, value in stopped.state().items()}
    again = parameters(dtype)
    resumed = MasterAdamW(again, lr=0.05)
    resumed.load(saved)
    for step in range(2, 4):
        push(whole, step)
        push(again, step)
        first.step()
        resumed.step()
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


def test_frozen_parameters_and_those_without_gradient_stay() -> None:
    frozen, idle, busy = (nn.Parameter(torch.ones(2, 2)) for _ in range(3))
    frozen.requires_grad_(False)
    optimiser = MasterAdamW([frozen, idle, busy], lr=0.1)
    busy.grad = torch.ones(2, 2)
    optimiser.step()
    assert len(optimiser.parameters) == 2
    assert torch.equal(frozen, torch.ones(2, 2))
    assert torch.equal(idle, torch.ones(2, 2))
    assert not torch.equal(busy, torch.ones(2, 2))


def test_schedule_warms_up_and_decays_to_zero() -> None:
    values = [schedule(step, total=10, warmup=4) for step in range(12)]
    assert values[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert values[4:11] == pytest.approx([1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])
    assert values[11] == 0
    assert schedule(0, total=3, warmup=0) == 1
