"""Averages the weights of checkpoints of one model; knows files and tensors, builds no model.

Checkpoints trained on from the same one, each on other questions, lie in one basin of the loss, and
their mean often reads both kinds as well as the better of the two (Wortsman et al. 2022, "Model
soups", §3; Wortsman et al. 2022, "Robust fine-tuning", WiSE-FT).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from index.errors import UserError
from retro.retrofit import WEIGHTS, read_checkpoint, write_checkpoint


def average(checkpoints: Sequence[Path], out: Path) -> None:
    """Writes a checkpoint whose every weight is the mean of the given ones, and the first's
    configuration, to the folder ``out``. A confidence head is not among it: fit it again.

    Raises:
        UserError: there are fewer than two, one is missing or damaged, they are of different
            models, or ``out`` holds a checkpoint already.
    """
    if len(checkpoints) < 2:
        raise UserError("give two checkpoints or more to average")
    if (out / WEIGHTS).exists():
        raise UserError(f"{out}: holds a checkpoint already; choose another --out")
    configs, weights = zip(*map(read_checkpoint, checkpoints), strict=True)
    shapes = [{name: (t.shape, t.dtype) for name, t in each.items()} for each in weights]
    for folder, found in zip(checkpoints[1:], shapes[1:], strict=True):
        if found != shapes[0]:
            raise UserError(f"{folder}: its weights are not shaped like those of {checkpoints[0]}")
    means = {name: _mean([each[name] for each in weights]) for name in weights[0]}
    write_checkpoint(configs[0], means, out)


def _mean(values: Sequence[torch.Tensor]) -> torch.Tensor:
    first = values[0]
    if not first.is_floating_point():
        return first
    return torch.stack([value.float() for value in values]).mean(0).to(first.dtype)
