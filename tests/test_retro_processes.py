"""Two processes, each with its share of every batch, learn what one learns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import test_retro_examples as asked
import test_retro_train_lm as text_run
import test_retro_train_qa as qa_run
import tiny
import torch
from launched import in_two_processes
from safetensors.torch import load_file

from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro import loop
from retro.attention import ChunkedCrossAttention
from retro.examples import Sampler
from retro.model import RetroForCausalLM
from retro.processes import mean, processes, rank, share, sum_gradients, total
from retro.prompts import Prompter
from retro.train_lm import Text, train_text
from retro.train_qa import Reading, train

SCRIPT = """
import sys
from pathlib import Path
import tiny
from transformers import PreTrainedTokenizerFast as Fast
world = Path(sys.argv[1])
decoder = Fast(tokenizer_file=str(world / "base/tokenizer.json"), eos_token=tiny.END)
encoder = Fast(tokenizer_file=str(world / "encoder/tokenizer.json"), pad_token="[PAD]")
decoder.name_or_path = "tiny"
tiny.decoder_tokenizer, tiny.encoder_tokenizer = lambda: decoder, lambda: encoder
from test_retro_processes import learn
learn(world, sys.argv[2])
"""
"""What each process runs: tokenizers trained anew in it would break ties their own way."""

STAGES = ("reader", "answer", "text")


def undropped(model: RetroForCausalLM) -> RetroForCausalLM:
    """The model in float32, and without dropout, which is drawn anew on each process."""
    torch.nn.Module.float(model)
    for module in model.modules():
        if isinstance(module, ChunkedCrossAttention):
            module.dropout = 0.0
        elif hasattr(module, "p"):
            module.p = 0.0
    return model


def stage(world: Path, out: Path, name: str) -> list[str]:
    """What a run of some steps tells; its batches of 3 are shared as 2 and 1."""
    told: list[str] = []
    torch.manual_seed(0)
    made = text_run.fresh if name == "text" else qa_run.fresh
    model = undropped(made((world / "base", world / "encoder")))
    tiny.randomise(model)
    if name == "text":
        retriever = Retriever.open(world / "index", HashingKeyEncoder())
        text = Text(model, text_run.sequences(retriever), text_run.WINDOWER)
        recipe = replace(text_run.RECIPE, steps=2, noise=0.3, encoder=True)
        train_text(text, recipe, out, log=told.append)
        return told
    table = asked.table()
    examples = asked.examples(table)
    sampler = Sampler(examples, table, num_neighbours=2, removed=0.2, seed=1)
    prompter = Prompter(asked.WINDOWER.decoder, model.eos, model.config.chunk_size)
    reading = Reading(model, examples, table, asked.WINDOWER, prompter, sampler)
    train(reading, replace(qa_run.CONFIG, stage=name, steps=2), out, log=told.append)
    return told


@processes()
def learn(world: Path, name: str) -> None:
    """Every stage, in as many processes as there are; each writes what it told. In float32, in
    the launched processes too (``conftest.one_number_format``)."""
    with patch.object(loop, "TOLD", 1), patch.object(torch.cpu, "get_capabilities", dict):
        told = {each: stage(world, world / name / each, each) for each in STAGES}
    (world / f"{name}-{rank()}.json").write_text(json.dumps(told))


def losses(told: list[str]) -> list[float]:
    return [float(line.split("loss")[1].split()[0]) for line in told]


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """The batches' shares differ in words, rows and answers: an average of the processes' own
    averages would weigh them wrongly."""
    tiny.write_base(tmp_path / "base")
    tiny.write_encoder(tmp_path / "encoder")
    tiny.write_index(tmp_path / "index")
    learn(tmp_path, "one")
    in_two_processes(SCRIPT, tmp_path, "two")
    told: dict[str, Any] = {
        name: json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("one-0", "two-0", "two-1")
    }
    for each in STAGES:
        alone, together = (
            load_file(tmp_path / name / each / "optimiser.safetensors") for name in ("one", "two")
        )
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            name, number = key.split(".")
            real = torch.ones_like(value)
            if name == "master" and f"exp_avg_sq.{number}" in alone:
                # AdamW makes whole steps even of the rounding of a gradient that is zero.
                real = (alone[f"exp_avg_sq.{number}"] > 1e-10).float()
            scale = 1e-4 if name == "master" else 1e-2
            difference = ((together[key] - value).abs() * real).max().item()
            assert difference <= scale * value.abs().max().item() + 1e-7, (each, key)
        assert len(losses(told["one-0"][each])) == 2
        assert losses(told["two-0"][each]) == pytest.approx(losses(told["one-0"][each]), abs=2e-3)
        assert losses(told["two-1"][each]) == losses(told["two-0"][each])


def test_alone_everything_is_ones_own() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    sum_gradients([weight])
    assert weight.grad is None
    assert share([1, 2, 3]) == [1, 2, 3]
    assert total(weight).tolist() == [1, 1]
    assert mean(torch.tensor([1.0, 3.0])) == 2
    assert rank() == 0
