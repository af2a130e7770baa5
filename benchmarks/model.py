"""The model's speed against two others, as ratios within one run.

    python benchmarks/model.py train [--compile default]
    python benchmarks/model.py answer --index demo/index --questions demo/questions.jsonl

train: one step (forward, backward, AdamW) of this model and of lucidrains'
retro-pytorch, which is fetched into an environment of its own: the same width, layers, heads,
cross-attention, chunks of 64, k = 2 neighbours of 128 tokens, a conditioned encoder of two layers.
Both learn whole; a second figure is RETROfitting, where the base is frozen. This model has a third
table of tokens (encoder, decoder, output head), the rival two. In float32, and in bfloat16: this
model as it is trained (bfloat16 weights with float32 copies in the optimiser), the rival under
``torch.autocast``, since in bfloat16 weights alone small updates are lost. With ``--compile MODE``
the same three come once more, each by ``torch.compile`` in that mode (``reduce-overhead``: replayed
CUDA graphs); the rival is compiled too.
answer: one question, warm, from search to decision, with and without Monte-Carlo dropout; of the
eight passages kept the best are read, as many as the checkpoint's configuration says. Against the
same eight, all read as text in the prompt of the same base decoder, which writes greedily
at most as many tokens and may stop at the end of a line. On one thread.

Turns alternate. Processor time is what is compared (on a busy machine wall time says little); the
wall time of answers is shown beside it. ``train`` runs on a GPU if there is one: wall time then.
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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

RIVAL = ["retro-pytorch==0.3.9", "einops==0.8.2"]
INSIDE = "RETRO_BENCHMARK_INSIDE"
DTYPES = ["float32", "bfloat16"]
VOCABULARY, CHUNK, K, NEIGHBOUR = 8192, 64, 2, 128


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    for name, value in {"width": 512, "layers": 6, "chunks": 8, "steps": 7}.items():
        train.add_argument(f"--{name}", type=int, default=value)
    train.add_argument("--compile", choices=["default", "reduce-overhead", "max-autotune"])
    train.add_argument("--dtype", action="append", choices=DTYPES)
    answer = commands.add_parser("answer")
    answer.add_argument("--index", type=Path, required=True)
    answer.add_argument("--questions", type=Path, required=True)
    answer.add_argument("--limit", type=int, default=10)
    options = parser.parse_args()
    if options.command == "train":
        draw = Draw(options.width, options.layers, options.chunks)
        training(draw, options.dtype or DTYPES, options.steps, options.compile)
    else:
        answering(options.index, options.questions, options.limit)


# -- a step of training ---------------------------------------------------------------------


def training(draw: Draw, dtypes: Sequence[str], steps: int, mode: str | None) -> None:
    """Here if the rival can be imported, else in its environment."""
    if INSIDE not in os.environ:
        command = [str(environment()), *sys.argv]
        subprocess.run(command, check=True, env=os.environ | {INSIDE: "1"})
        return
    figures: dict[str, Any] = {"shape": vars(draw)}
    for dtype in dtypes:
        ways = {"": None, "_compiled": mode} if mode else {"": None}
        steppers = {
            f"{name}{suffix}": make(draw, dtype, way)
            for suffix, way in ways.items()
            for name, make in (
                ("ours", ours),
                ("frozen", partial(ours, frozen=True)),
                ("lucidrains", lucidrains),
            )
        }
        seconds = alternating(steppers, steps)
        figures[dtype] = {f"{name}_s": value for name, value in seconds.items()} | {
            f"{name}{suffix}_over_lucidrains{rival}": seconds[name + suffix]
            / seconds[f"lucidrains{rival}"]
            for suffix in ways
            for rival in dict.fromkeys(["", suffix])
            for name in ("ours", "frozen")
        }
    show(figures)


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
        self.device = "cuda" if on_gpu() else "cpu"


def ours(draw: Draw, dtype: str, mode: str | None, *, frozen: bool = False) -> Callable[[], None]:
    import torch
    from transformers import LlamaConfig

    from retro.config import RetroConfig
    from retro.context import NeighbourContext
    from retro.model import RetroForCausalLM
    from retro.optim import MasterAdamW
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
    kind = getattr(torch, dtype)
    model = torch.nn.Module.to(RetroForCausalLM(config).train(), draw.device, kind)
    model.base.requires_grad_(not frozen)
    if mode:
        model.compile(mode=mode)
    rows = draw.chunks * K
    ids = torch.randint(1, VOCABULARY, (1, draw.chunks * CHUNK)).to(draw.device)
    words = torch.randint(1, VOCABULARY, (rows, NEIGHBOUR))
    every = torch.arange(NEIGHBOUR).expand(rows, -1)
    yes = torch.ones_like(words, dtype=torch.bool)
    place = torch.arange(rows).view(1, draw.chunks, K)
    alike = torch.zeros(rows)
    neighbours = Rows(
        words, yes, torch.zeros_like(words), words, every, every, yes, yes, alike, place
    ).to(draw.device)

    def loss() -> Any:
        context = NeighbourContext(neighbours)
        return model(ids, labels=ids, neighbours=context, use_cache=False).loss

    if dtype == "float32":
        return stepping(model, loss)
    optimiser = MasterAdamW(model.parameters(), 1e-4)

    def step() -> None:
        loss().backward()
        optimiser.step()

    return step


def lucidrains(draw: Draw, dtype: str, mode: str | None) -> Callable[[], None]:
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
    )
    model.train().to(draw.device)
    if mode:
        model.compile(mode=mode)
    ids = torch.randint(1, VOCABULARY, (1, draw.chunks * CHUNK + 1)).to(draw.device)
    retrieved = torch.randint(1, VOCABULARY, (1, draw.chunks, K, NEIGHBOUR)).to(draw.device)

    def loss() -> Any:
        with torch.autocast(draw.device, torch.bfloat16, enabled=dtype == "bfloat16"):
            return model(ids, retrieved=retrieved, return_loss=True)

    return stepping(model, loss)


def stepping(model: Any, loss: Callable[[], Any]) -> Callable[[], None]:
    import torch

    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4)

    def step() -> None:
        loss().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


# -- an answer ------------------------------------------------------------------------------


def answering(index: Path, file: Path, limit: int) -> None:
    import torch

    from retro.answer import Answerer

    torch.set_num_threads(1)
    lines = file.read_text(encoding="utf-8").splitlines()[:limit]
    questions = [json.loads(line)["question"] for line in lines]
    answerer = Answerer.open(index)
    reader = InContext(answerer)
    ways: dict[str, Callable[[str], Any]] = {
        "answer": answerer.answer,
        "without_dropout": Undropped(answerer).answer,
        "in_context": reader.answer,
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number, question in enumerate([questions[0], *questions]):  # the first warms all up
        for name, way in ways.items():
            spent = processor_and_wall(partial(way, question))
            if number:
                taken[name].append(spent)
    show(
        {"questions": len(questions), "prompt_tokens": statistics.median(reader.lengths[1:])}
        | {f"{name}_cpu_s": median(spent, 0) for name, spent in taken.items()}
        | {f"{name}_wall_s": median(spent, 1) for name, spent in taken.items()}
        | {
            f"{name}_over_in_context_{clock}": median_ratio(spent, taken["in_context"], which)
            for name, spent in taken.items()
            if name != "in_context"
            for which, clock in enumerate(("cpu", "wall"))
        }
    )


class Undropped:
    """Search and draft alone: without dropout the head lacks signals, so nothing is decided."""

    def __init__(self, answerer: Any) -> None:
        self.answerer = answerer

    def answer(self, question: str) -> None:
        drafter = self.answerer.drafter
        samples, drafter.num_samples = drafter.num_samples, 0
        self.answerer.drafts([question], self.answerer.find([question]))
        drafter.num_samples = samples


class InContext:
    """The base decoder of an answerer, alone, given the passages in its prompt.

    ``lengths``: tokens of the prompts so far.
    """

    def __init__(self, answerer: Any) -> None:
        from retro.retrofit import load_base

        config = answerer.drafter.model.config
        self.find = answerer.find
        base = load_base(config.base_name, answerer.drafter.model.dtype).eval()
        self.model = base.to(answerer.drafter.model.device)
        self.tokenizer, self.num_tokens = answerer.drafter.windower.decoder, config.max_span
        self.ends = [answerer.drafter.model.eos, *self.tokenizer("\n")["input_ids"]]
        self.lengths: list[int] = []

    def answer(self, question: str) -> str:
        import torch

        [found] = self.find([question])
        passages = "\n\n".join(found.texts)
        prompt = f"{passages}\n\nQuestion: {question}\nAnswer:"
        ids = torch.tensor([self.tokenizer(prompt)["input_ids"]]).to(self.model.device)
        self.lengths.append(ids.shape[1])
        out = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=self.num_tokens,
            eos_token_id=self.ends,
            pad_token_id=self.ends[0],
        )
        return str(self.tokenizer.decode(out[0, ids.shape[1] :]))


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


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def seconds_of(work: Callable[[], Any]) -> float:
    """Processor time of all threads; on a GPU, wall time until it is done."""
    if on_gpu():
        import torch

        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    work()
    return time.process_time() - start


def processor_and_wall(work: Callable[[], Any]) -> tuple[float, float]:
    start = time.perf_counter()
    processor = seconds_of(work)
    return processor, time.perf_counter() - start


def median(spent: list[tuple[float, float]], which: int) -> float:
    return statistics.median(each[which] for each in spent)


def median_ratio(
    ours: list[tuple[float, float]], theirs: list[tuple[float, float]], which: int
) -> float:
    """Of each question's own ratio, so that long passages weigh no more than short ones."""
    return statistics.median(a[which] / b[which] for a, b in zip(ours, theirs, strict=True))


def show(figures: dict[str, Any]) -> None:
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
