"""The training loop of every stage: steps, checkpoints, resuming; knows no data and no loss.

A run is a function of its recipe and its batches: stopped anywhere and started again on the same
folder, it ends with the same weights. Several processes (``retro.processes``) share each batch;
the first one writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from index.errors import UserError
from retro.model import RetroForCausalLM
from retro.optim import MasterAdamW, schedule
from retro.processes import rank, sum_gradients, tell, total
from retro.retrofit import save, trained_parameters

CHANGEABLE = ("steps", "lr", "warmup", "checkpoint_minutes")
"""Fields of a recipe that may differ when a run goes on: they do not change the batches."""

TOLD = 20
"""Steps from one line of the log to the next."""

Batch = TypeVar("Batch")
Evaluate = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """What every stage has. ``batch_size``: examples an update; ``lr``: the highest rate."""

    steps: int = 2000
    batch_size: int = 16
    lr: float = 2e-4
    warmup: int = 100
    seed: int = 1
    checkpoint_minutes: float = 5.0


def run(
    model: RetroForCausalLM,
    modules: Sequence[nn.Module],
    batches: Callable[[int], Iterator[Batch]],
    loss: Callable[[Batch], Tensor],
    recipe: Recipe,
    out: Path,
    evaluate: Evaluate | None = None,
    log: Callable[[str], None] = tell,
) -> None:
    """Trains ``modules`` of ``model`` and leaves checkpoints in ``out``.

    ``batches(n)`` gives the batches from number n on, the same ones each time it is called.
    ``loss``: this process's part of the batch's loss; the processes' parts add up to it.

    Raises:
        UserError: the loss was no number; the last checkpoint stays as it is.
    """
    optimiser = MasterAdamW(trained_parameters(*modules), recipe.lr)
    begin = _resume(model, optimiser, recipe, out)
    for module in modules:
        module.train()
    losses: list[Tensor] = []
    norm = torch.zeros(())
    clock = saved = time.monotonic()
    for step, batch in enumerate(batches(begin), begin):
        if step >= recipe.steps:
            break
        torch.manual_seed(recipe.seed * 1_000_003 + step + (rank() << 40))  # as if never stopped
        value = loss(batch)
        if value.requires_grad:  # not where a frozen base met no neighbour in this share
            value.backward()
        sum_gradients(optimiser.parameters)
        norm = optimiser.step(schedule(step, recipe.steps, recipe.warmup))
        losses = [*losses[-99:], total(value)]  # told later: a GPU is not waited for
        if (step + 1) % TOLD == 0:
            _check_finite([*losses, norm], step, out)
            rate = (step + 1 - begin) * recipe.batch_size / (time.monotonic() - clock)
            log(
                f"step {step + 1}/{recipe.steps}  loss {torch.stack(losses).mean():.3f}  "
                f"norm {norm:.2f}  {rate:.1f} examples/s"
            )
        if rank() == 0 and time.monotonic() - saved > 60 * recipe.checkpoint_minutes:
            _check_finite([*losses, norm], step, out)
            _checkpoint(model, optimiser, recipe, step + 1, out)
            _report(model, modules, evaluate, step + 1, log)
            saved = time.monotonic()
    _check_finite([*losses, norm], recipe.steps - 1, out)
    if rank() == 0:
        _checkpoint(model, optimiser, recipe, recipe.steps, out)
        _report(model, modules, evaluate, recipe.steps, log)
    model.eval()


def _check_finite(told: Sequence[Tensor], step: int, out: Path) -> None:
    """Raises UserError if one of these is no number: losses, and the gradient's norm of the last
    step (an earlier one's shows in the next loss). Every weight is lost from there on, and must not
    take the place of the last checkpoint."""
    if not all(value.isfinite() for value in told):
        raise UserError(
            f"{out}: the loss was no number at or before step {step + 1}, or its gradient; nothing "
            "was written since the last checkpoint: go on from it with a lower --lr"
        )


def _report(
    model: RetroForCausalLM,
    modules: Sequence[nn.Module],
    evaluate: Evaluate | None,
    step: int,
    log: Callable[[str], None],
) -> None:
    if evaluate is None:
        return
    model.eval()
    log(f"step {step}  " + "  ".join(f"{k} {v:.3f}" for k, v in evaluate().items()))
    for module in modules:
        module.train()


def _checkpoint(
    model: RetroForCausalLM, optimiser: MasterAdamW, recipe: Recipe, step: int, out: Path
) -> None:
    """Model, optimiser and step; ``step.json`` is written last and names what is whole."""
    save(model, out)
    partial = out / "optimiser.safetensors.partial"
    save_file({k: v.contiguous() for k, v in optimiser.state().items()}, partial)
    partial.replace(out / "optimiser.safetensors")
    progress = {"step": step, "recipe": asdict(recipe)}
    (out / "step.json.partial").write_text(json.dumps(progress, indent=1))
    (out / "step.json.partial").replace(out / "step.json")


def _resume(model: RetroForCausalLM, optimiser: MasterAdamW, recipe: Recipe, out: Path) -> int:
    """The step to go on from: that of the folder's checkpoint of a run with the same batches."""
    if not (out / "step.json").is_file():
        return 0
    progress = json.loads((out / "step.json").read_text())
    fixed = {k: v for k, v in asdict(recipe).items() if k not in CHANGEABLE}
    if any(progress["recipe"].get(name) != value for name, value in fixed.items()):
        return 0
    model.load_state_dict(load_file(out / "model.safetensors"), strict=False)
    optimiser.load(load_file(out / "optimiser.safetensors"))
    return int(progress["step"])
