"""The model in two processes, as users run it: accelerate's DDP, and torch's FSDP around it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from launched import in_two_processes
from safetensors.torch import load_file, save_file
from test_retro_ecosystem import batch
from test_retro_processes import undropped
from torch import Tensor, distributed

from retro.model import RetroForCausalLM

STEPS = 3
WAYS = ("ddp", "fsdp")

SCRIPT = """
import sys
from pathlib import Path
from test_retro_sharded import learn_in_each_way
learn_in_each_way(Path(sys.argv[1]))
"""


def fresh() -> RetroForCausalLM:
    """Without dropout, and with what a loss on text does not reach frozen, as DDP wants it."""
    torch.manual_seed(0)
    made = undropped(tiny.model(cca_dropout=0.0))
    made.reader.requires_grad_(False)
    made.gate.requires_grad_(False)
    return made.train()


def learn(made: torch.nn.Module, rank: int, size: int) -> None:
    """Some steps on the mean of two batches a step, each process with its share of them."""
    optimiser = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    for step in range(STEPS):
        mine = [2 * step + k for k in range(2) if k % size == rank]
        losses = [made(**batch(seed), use_cache=False).loss for seed in mine]
        torch.stack(losses).mean().backward()
        optimiser.step()
        optimiser.zero_grad()


def learn_in_each_way(folder: Path) -> None:
    """What each of the two launched processes runs."""
    from accelerate import Accelerator
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    accelerator = Accelerator(cpu=True)
    rank, size = accelerator.process_index, accelerator.num_processes
    made = accelerator.prepare(fresh())
    learn(made, rank, size)
    states = {"ddp": accelerator.get_state_dict(made)}
    made = fresh()
    mesh = init_device_mesh("cpu", (size,))
    for layer in [*made.base.model.layers, *made.encoder.layers]:
        fully_shard(layer, mesh=mesh)
    fully_shard(made, mesh=mesh)
    local = {name: weight.to_local().numel() for name, weight in made.named_parameters()}
    whole = {name: weight.numel() for name, weight in made.named_parameters()}
    assert sum(local.values()) < 0.6 * sum(whole.values())
    learn(made, rank, size)
    states["fsdp"] = {name: full(value) for name, value in made.state_dict().items()}
    if rank == 0:
        for way, state in states.items():
            kept = {name: value.detach().clone().contiguous() for name, value in state.items()}
            save_file(kept, folder / f"{way}.safetensors")
    distributed.destroy_process_group()


def full(value: Tensor) -> Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    in_two_processes(SCRIPT, folder)
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_learn_what_one_learns(learned: Path, way: str) -> None:
    alone = fresh()
    before = {name: value.clone() for name, value in alone.state_dict().items()}
    learn(alone, 0, 1)
    together = load_file(learned / f"{way}.safetensors")
    assert together.keys() == before.keys()
    moved = 0
    for name, value in alone.state_dict().items():
        moved += int((value != before[name]).any())
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-6)
    assert moved > 20
