"""AdamW for bfloat16 weights: float32 master copies, warm-up and linear decay."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class MasterAdamW:
    """AdamW on float32 copies of the parameters, written back in the parameters' own type.

    A bfloat16 weight has 8 bits of mantissa: an update of a thousandth of it would be lost.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, decay: float = 0.01) -> None:
        self.lr = lr
        self.parameters = [p for p in parameters if p.requires_grad]
        self.masters = [p.detach().float().clone() for p in self.parameters]
        self.gradients = [torch.zeros_like(m) for m in self.masters]
        groups = [
            {"params": [m for m in self.masters if m.dim() > 1], "weight_decay": decay},
            {"params": [m for m in self.masters if m.dim() <= 1], "weight_decay": 0.0},
        ]
        self.inner = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)

    def step(self, scale: float = 1.0, max_norm: float = 1.0) -> Tensor:
        """One update at ``lr * scale`` with clipped gradients; clears them; returns their norm."""
        for master, mine, parameter in zip(
            self.masters, self.gradients, self.parameters, strict=True
        ):
            master.grad = None if parameter.grad is None else mine
        _copy(_gradients(self.masters), _gradients(self.parameters))
        for parameter in self.parameters:
            parameter.grad = None
        norm = nn.utils.clip_grad_norm_(self.masters, max_norm)
        for group in self.inner.param_groups:
            group["lr"] = self.lr * scale
        self.inner.step()
        _copy([p.data for p in self.parameters], self.masters)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Masters and moments as flat tensors, for safetensors."""
        out = {f"master.{i}": m for i, m in enumerate(self.masters)}
        for i, master in enumerate(self.masters):
            for name, value in self.inner.state.get(master, {}).items():
                out[f"{name}.{i}"] = torch.as_tensor(value)
        return out

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes back what ``state`` gave, for the same parameters in the same order."""
        with torch.no_grad():
            for i, (master, parameter) in enumerate(
                zip(self.masters, self.parameters, strict=True)
            ):
                master.copy_(state[f"master.{i}"])
                parameter.copy_(master)
                names = ("step", "exp_avg", "exp_avg_sq")
                if f"step.{i}" in state:
                    self.inner.state[master] = {
                        n: state[f"{n}.{i}"].to(master.device, copy=True) for n in names
                    }


def _gradients(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those that the tensors have."""
    return [t.grad for t in tensors if t.grad is not None]


def _copy(into: list[Tensor], source: list[Tensor]) -> None:
    """Each tensor of ``source`` into its own of ``into``, all at once: a few hundred small copies
    take a GPU longer to launch than to make."""
    if into:
        torch._foreach_copy_(into, source)


def schedule(step: int, total: int, warmup: int) -> float:
    """Linear warm-up to 1 over ``warmup`` steps, then linear decay to 0 at ``total``."""
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))
