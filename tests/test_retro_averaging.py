"""The mean of checkpoints: weight by weight, a model like any other, and no mixing of models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from retro.cli import main
from retro.retrofit import load


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tiny.World:
    return tiny.world(tmp_path_factory.mktemp("world"))


def changed(checkpoint: Path, folder: Path, by: float) -> Path:
    """A checkpoint whose floating-point weights are larger by ``by``."""
    shutil.copytree(checkpoint, folder)
    weights = load_file(checkpoint / "model.safetensors")
    moved = {n: t + by if t.is_floating_point() else t for n, t in weights.items()}
    save_file(moved, folder / "model.safetensors")
    return folder


def test_every_weight_is_the_mean_and_the_model_loads(world: tiny.World, tmp_path: Path) -> None:
    parts = [str(changed(world.checkpoint, tmp_path / str(by), by)) for by in (0.25, 0.75)]
    assert main(["train", "average", *parts, "--out", str(tmp_path / "mean")]) == 0
    first, second, mean = (
        load_file(f"{folder}/model.safetensors") for folder in (*parts, str(tmp_path / "mean"))
    )
    assert mean.keys() == first.keys()
    for name, value in mean.items():
        expected = (first[name].float() + second[name].float()) / 2
        assert torch.equal(value, expected.to(value.dtype)), name
    assert load(tmp_path / "mean").config.base_name == load(world.checkpoint).config.base_name
    assert not (tmp_path / "mean" / "head.json").exists()


def test_what_cannot_be_averaged_is_told_in_one_line(
    world: tiny.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, out = str(world.checkpoint), str(tmp_path / "out")
    other = changed(world.checkpoint, tmp_path / "other", 0.0)
    weights = load_file(other / "model.safetensors")
    weights.pop(min(weights))
    save_file(weights, other / "model.safetensors")
    damaged = changed(world.checkpoint, tmp_path / "damaged", 0.0)
    (damaged / "model.safetensors").write_bytes(b"no tensors")
    for given, told in (
        ([own], "give two checkpoints"),
        ([own, str(other)], "not shaped like"),
        ([own, str(damaged)], "damaged config.json or model.safetensors"),
        ([own, str(tmp_path / "absent")], "absent: no checkpoint here"),
    ):
        assert main(["train", "average", *given, "--out", out]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert not Path(out).exists()
    assert main(["train", "average", own, own, "--out", own]) == 2
    assert "holds a checkpoint already" in capsys.readouterr().err
