"""Averages the weights of checkpoints of one model; knows files and tensors, builds no model.

Checkpoints trained on from the same one, each on other questions, lie in one basin of the loss, and
their mean often reads both kinds as well as the better of the two (Wortsman et al. 2022, "Model
soups", §3; Wortsman et al. 2022, "Robust fine-tuning", WiSE-FT).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from index.errors import UserError


def average(checkpoints: Sequence[Path], out: Path) -> None:
    """Writes a checkpoint whose every weight is the mean of the given ones, and the first's
    ``config.json``, to the folder ``out``. A confidence head is not among it: fit it again.

    Raises:
        UserError: there are fewer than two, one is missing or damaged, they are of different
            models, or ``out`` holds a checkpoint already.
    """
    if len(checkpoints) < 2:
        raise UserError("give two checkpoints or more to average")
    if (out / "model.safetensors").exists():
        raise UserError(f"{out}: holds a checkpoint already; choose another --out")
    weights = [_weights(folder) for folder in checkpoints]
    shapes = [{name: (t.shape, t.dtype) for name, t in each.items()} for each in weights]
    for folder, found in zip(checkpoints[1:], shapes[1:], strict=True):
        if found != shapes[0]:
            raise UserError(f"{folder}: its weights are not shaped like those of {checkpoints[0]}")
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "model.safetensors.partial"
    save_file({name: _mean([each[name] for each in weights]) for name in weights[0]}, partial)
    shutil.copyfile(checkpoints[0] / "config.json", out / "config.json")
    partial.replace(out / "model.safetensors")


def _mean(values: Sequence[torch.Tensor]) -> torch.Tensor:
    first = values[0]
    if not first.is_floating_point():
        return first
    return torch.stack([value.float() for value in values]).mean(0).to(first.dtype)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    try:
        json.loads((folder / "config.json").read_text("utf-8"))
        return load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder}: no whole checkpoint ({error}); check its name") from error
