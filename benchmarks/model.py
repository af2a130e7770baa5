"""A training step of this model against lucidrains' retro-pytorch, as a ratio within one run.

    python benchmarks/model.py train

One step is forward, backward and AdamW, in float32. The rival is fetched into an environment of its
own: the same width, layers, heads, cross-attention, chunks of 64, k = 2 neighbours of 128 tokens, a
conditioned encoder of two layers. Both learn whole; a second figure is RETROfitting, where the base
is frozen. This model has a third table of tokens (encoder, decoder, output head), the rival two.

Steps alternate. Processor time is what is compared: on a busy machine wall time says little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

RIVAL = ["retro-pytorch==0.3.9", "einops==0.8.2"]
INSIDE = "RETRO_BENCHMARK_INSIDE"
VOCABULARY, CHUNK, K, NEIGHBOUR = 8192, 64, 2, 128


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    for name, value in {"width": 512, "layers": 6, "chunks": 8, "steps": 7}.items():
        train.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    training(options.width, options.layers, options.chunks, options.steps)


# -- a step of training ---------------------------------------------------------------------


def training(width: int, layers: int, chunks: int, steps: int) -> None:
    """Here if the rival can be imported, else in its environment."""
    if INSIDE not in os.environ:
        command = [str(environment()), *sys.argv]
        subprocess.run(command, check=True, env=os.environ | {INSIDE: "1"})
        return
    draw = Draw(width, layers, chunks)
    whole, frozen, rival = ours(draw, frozen=False), ours(draw, frozen=True), lucidrains(draw)
    seconds = alternating({"ours": whole, "frozen": frozen, "rival": rival}, steps)
    show(
        {
            "shape": vars(draw),
            "ours_s": seconds["ours"],
            "frozen_s": seconds["frozen"],
            "lucidrains_s": seconds["rival"],
            "ours_over_lucidrains": seconds["ours"] / seconds["rival"],
            "frozen_over_lucidrains": seconds["frozen"] / seconds["rival"],
        }
    )


def environment() -> Path:
    """A Python that sees this one's packages and the rival, which pip must not mix with them."""
    from index.weights import cache_folder

    folder = cache_folder() / "benchmark"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        inner = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        here = [sysconfig.get_path("purelib"), str(Path(__file__).parents[1])]
        Path(inner, "outer.pth").write_text("\n".join(here))
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
        subprocess.run([*pip, *RIVAL], check=True)
    return python


class Draw:
    """The shape of both models and of their input."""

    def __init__(self, width: int, layers: int, chunks: int) -> None:
        self.width, self.layers, self.chunks, self.heads = width, layers, chunks, width // 64
        self.cross = list(range(2, layers, 3))  # every third layer, counted from 0


def ours(draw: Draw, *, frozen: bool) -> Callable[[], None]:
    import torch
    from transformers import LlamaConfig

    from retro.config import RetroConfig
    from retro.model import NeighbourContext, RetroForCausalLM
    from retro.windows import Rows

    torch.manual_seed(0)
    base = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=draw.width,
        intermediate_size=8 * draw.width // 3,  # three matrices: as many weights as two of 4 * w
        num_hidden_layers=draw.layers,
        num_attention_heads=draw.heads,
    )
    encoder = {
        "vocab_size": VOCABULARY,
        "hidden_size": draw.width,
        "num_hidden_layers": 2,
        "num_attention_heads": draw.heads,
        "intermediate_size": 4 * draw.width,
        "conditioning_size": draw.width,
        "dropout": 0.0,
    }
    config = RetroConfig(
        base.to_dict(), encoder, draw.cross, CHUNK, cca_dropout=0.0, copy_head=False
    )
    model = RetroForCausalLM(config).train()
    model.base.requires_grad_(not frozen)
    rows = draw.chunks * K
    ids = torch.randint(1, VOCABULARY, (1, draw.chunks * CHUNK))
    words = torch.randint(1, VOCABULARY, (rows, NEIGHBOUR))
    every = torch.arange(NEIGHBOUR).expand(rows, -1)
    yes = torch.ones_like(words, dtype=torch.bool)
    place = torch.arange(rows).view(1, draw.chunks, K)
    alike = torch.zeros(rows)
    neighbours = Rows(
        words, yes, torch.zeros_like(words), words, every, every, yes, yes, alike, place
    )
    return stepping(
        model,
        lambda: (
            model(ids, labels=ids, neighbours=NeighbourContext(neighbours), use_cache=False).loss
        ),
    )


def lucidrains(draw: Draw) -> Callable[[], None]:
    import torch

    unused = ModuleType("autofaiss")  # its database builder, which a step of training needs not
    unused.build_index = None  # type: ignore[attr-defined]
    sys.modules["autofaiss"] = unused
    from retro_pytorch.retro_pytorch import RETRO

    torch.manual_seed(0)
    model = RETRO(
        num_tokens=VOCABULARY,
        max_seq_len=draw.chunks * CHUNK,
        enc_dim=draw.width,
        dec_dim=draw.width,
        enc_depth=2,
        dec_depth=draw.layers,
        dec_cross_attn_layers=tuple(layer + 1 for layer in draw.cross),
        heads=draw.heads,
        dim_head=64,
        chunk_size=CHUNK,
    ).train()
    ids = torch.randint(1, VOCABULARY, (1, draw.chunks * CHUNK + 1))
    retrieved = torch.randint(1, VOCABULARY, (1, draw.chunks, K, NEIGHBOUR))
    return stepping(model, lambda: model(ids, retrieved=retrieved, return_loss=True))


def stepping(model: Any, loss: Callable[[], Any]) -> Callable[[], None]:
    import torch

    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4)

    def step() -> None:
        loss().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


# -- measuring -----------------------------------------------------------------------------


def alternating(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median processor seconds of each; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, one in work.items():
            taken = seconds_of(one)
            if number:
                times[name].append(taken)
    return {name: statistics.median(each) for name, each in times.items()}


def seconds_of(work: Callable[[], Any]) -> float:
    """Processor time of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def show(figures: dict[str, Any]) -> None:
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
