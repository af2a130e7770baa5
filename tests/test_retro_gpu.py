"""On a GPU: retrieval off is the base bit for bit, and the model is what it is on a CPU.

Random stand-ins in float32; skipped where there is no GPU, for what they say of it cannot be said
elsewhere (the same holds on the CPU by ``test_retro_model``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from test_retro_model import QUESTIONS, M, answered, ids, prompts
from test_retro_train_qa import CONFIG, Make, folders, reading, silent, state
from torch import nn

from retro.families import FAMILIES
from retro.model import RetroForCausalLM
from retro.train_qa import LOSSES, train

__all__ = ["folders", "reading"]  # fixtures

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Float32 products in float32: TF32 would differ from the CPU in the fourth digit."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def on_gpu(model: RetroForCausalLM) -> RetroForCausalLM:
    nn.Module.to(model, "cuda")
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_retrieval_off_is_the_base_bit_for_bit(family: str) -> None:
    base = tiny.decoder(family).to("cuda")
    tokens = ids(2, 9).to("cuda")
    made = on_gpu(tiny.model(family))
    with torch.no_grad():
        expected = base(tokens).logits
        assert torch.equal(made(tokens).logits, expected)
        neighbours = made.read(tiny.rows(QUESTIONS).to("cuda"))
        assert not torch.allclose(made(tokens, neighbours=neighbours).logits, expected)
        assert torch.equal(made(tokens).logits, expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pointer", [False, True])
def test_logits_are_those_of_the_cpu(family: str, pointer: bool) -> None:
    tokens, rows = ids(2, 3 * M), tiny.rows([[[0, 1], [2, -1]], [[3, 4], [5, 6]]])
    made = tiny.model(family, pointer=pointer)
    with torch.no_grad():
        expected = made(tokens, neighbours=made.read(rows)).logits
        on_gpu(made)
        found = made(tokens.to("cuda"), neighbours=made.read(rows.to("cuda"))).logits
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("copy_head", [True, False])
def test_cached_generation_is_uncached_generation(copy_head: bool) -> None:
    made = on_gpu(tiny.model(copy_head=copy_head))
    prompt, mask = (t.to("cuda") for t in prompts([M, M - 1]))
    rows = tiny.rows(QUESTIONS).to("cuda")
    outs = [
        answered(made, prompt, mask, made.read(rows), use_cache=cached) for cached in (True, False)
    ]
    assert torch.equal(*outs)


@pytest.mark.parametrize("stage", LOSSES)
def test_a_run_lowers_the_loss(stage: str, reading: Make, tmp_path: Path) -> None:
    """Batches made ahead in pinned memory; in bfloat16, as a GPU trains."""
    made = reading(removed=0.0)
    nn.Module.to(made.model, "cuda", torch.bfloat16)
    if stage == "answer":
        made.examples = [e for e in made.examples if e.gold]
    drawn = made.drawn([(n, made.sampler.draw(n, 0)) for n in range(6)])
    before = state(made.model)
    with torch.no_grad():
        loss = LOSSES[stage](made, drawn).item()
    train(made, replace(CONFIG, stage=stage, steps=60, removed=0.0), tmp_path, log=silent)
    with torch.no_grad():
        assert LOSSES[stage](made, drawn).item() < 0.95 * loss
    changed = {
        n.split(".")[0] for n, v in made.model.state_dict().items() if not v.equal(before[n])
    }
    assert changed == {"reader": {"encoder", "reader"}, "answer": {"cca", "gate"}}[stage]
