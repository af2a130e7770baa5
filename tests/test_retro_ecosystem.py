"""What transformers' users expect: loading, generating, training, adapters, compiling."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import tiny
import torch
from test_retro_context import Source, prompt
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    TextIteratorStreamer,
    Trainer,
    TrainingArguments,
    set_seed,
)

from retro.config import RetroConfig
from retro.context import NeighbourContext
from retro.model import RetroForCausalLM

M = 4
PLACE = [[[0, 1], [2, 3]], [[4, -1], [5, 6]]]


def batch(seed: int = 0) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 400, (2, 2 * M + 3), generator=draw)
    rows = tiny.rows(PLACE, seed=seed)
    return {"input_ids": ids, "labels": ids, "neighbours": NeighbourContext(rows)}


# -- loading --------------------------------------------------------------------------------


def test_auto_classes_load_what_was_saved_and_in_bfloat16(tmp_path: Path) -> None:
    made = tiny.model("gpt2")
    made.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).cca_layers == [0, 1]
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(**batch()).logits, made(**batch()).logits)
        half = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
        assert abs(half(**batch()).loss - made(**batch()).loss) < 0.1


# -- generating -----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"do_sample": True, "top_p": 0.9}, {"num_beams": 2}])
def test_sampling_and_beams_with_a_cache_are_those_without(options: dict[str, Any]) -> None:
    made, ids = tiny.model(), torch.cat([prompt(6, 1), prompt(6, 2)])
    outs = []
    for cached in (True, False):
        set_seed(3)
        settings = {"max_new_tokens": 9, "min_new_tokens": 9, "pad_token_id": 0} | options
        outs.append(made.generate(ids, retrieve=Source(), use_cache=cached, **settings))
    assert torch.equal(*outs)


def test_text_streams_as_it_is_written() -> None:
    made, tokenizer = tiny.model(), tiny.decoder_tokenizer()
    settings = {"max_new_tokens": 9, "min_new_tokens": 9, "do_sample": False, "pad_token_id": 0}
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    options = {"retrieve": Source(), "streamer": streamer, **settings}
    thread = Thread(target=lambda: made.generate(prompt(5), **options))
    thread.start()
    parts = list(streamer)
    thread.join()
    whole = made.generate(prompt(5), retrieve=Source(), **settings)[0, 5:]
    assert "".join(parts) == tokenizer.decode(whole)
    assert len([part for part in parts if part]) > 1


# -- training -------------------------------------------------------------------------------


def gradients(made: RetroForCausalLM, data: dict[str, Any]) -> dict[str, Tensor]:
    made.zero_grad()
    made(**data, use_cache=False).loss.backward()
    return {n: p.grad.clone() for n, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_gradient_checkpointing_gives_the_same_gradients(family: str, conditioned: bool) -> None:
    """The backward pass runs layers again: they once heard no neighbours then, or those of
    whatever batch had gone through since."""
    made = tiny.model(family, encoder={"conditioning_size": 32 * conditioned}, cca_dropout=0.0)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    made.train()
    for layer in made.encoder.layers:
        layer.dropout.p = 0.0
    plain = gradients(made, batch())
    made.activation_checkpointing_enable()
    again = gradients(made, batch())
    assert {name.split(".")[0] for name in plain} == {"base", "cca", "encoder"}
    assert again.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-6)
    both = [made(**batch(seed), use_cache=False).loss for seed in (0, 1)]
    made.zero_grad()
    both[0].backward()  # after another batch went through
    for name, value in plain.items():
        grad = made.get_parameter(name).grad
        torch.testing.assert_close(grad, value, rtol=1e-4, atol=1e-6)


def test_transformers_trainer_trains_it(tmp_path: Path) -> None:
    made = tiny.model()
    made.base.requires_grad_(False)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    arguments = TrainingArguments(
        tmp_path, max_steps=6, learning_rate=1e-2, report_to=[], use_cpu=True, disable_tqdm=True,
        remove_unused_columns=False, per_device_train_batch_size=1, save_strategy="no",
        logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(made, arguments, data_collator=lambda items: batch(), train_dataset=[0] * 6)
    start = made.eval()(**batch()).loss.item()
    trainer.train()
    assert made.eval()(**batch()).loss.item() < start - 0.05
    changed = {n.split(".")[0] for n, v in made.state_dict().items() if (v != before[n]).any()}
    assert changed == {"cca", "encoder"}


def deep(conditioning: int) -> RetroForCausalLM:
    """Layers before and between those that hear neighbours; the base frozen."""
    base = LlamaConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=6,
        num_attention_heads=2,
    )
    encoder = {
        "vocab_size": 512,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conditioning_size": conditioning,
    }
    made = RetroForCausalLM(RetroConfig(base.to_dict(), encoder, [2, 5], M))
    tiny.randomise(made)
    made.base.requires_grad_(False)
    return made.eval()


def full_chunks() -> dict[str, Any]:
    """An encoder hears chunks that are complete."""
    made = batch()
    ids = made["input_ids"].repeat(1, 2)[:, : 3 * M]
    return made | {"input_ids": ids, "labels": ids, "use_cache": False}


@pytest.mark.parametrize("conditioning", [0, 32])
def test_a_compiled_model_computes_the_same_and_learns(conditioning: int) -> None:
    torch.compiler.reset()
    made = deep(conditioning)
    compiled, grads = torch.compile(made, backend="eager"), []
    for each in (made, compiled):
        out = each(**full_chunks())
        out.loss.backward()
        grads.append({n: p.grad.clone() for n, p in made.named_parameters() if p.grad is not None})
        made.zero_grad()
    torch.testing.assert_close(out.logits, made(**full_chunks()).logits)
    assert any(name.startswith("cca.5") for name in grads[0])
    torch.testing.assert_close(grads[1], grads[0])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_compiler_that_leaves_cross_attention_out_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a graph breaks, layers are compiled by themselves; by default torch then takes a layer
    with hooks for one without."""
    torch.compiler.reset()
    made = deep(32)
    encode = made.encoder.forward

    def broken(*given: Any) -> Any:
        torch._dynamo.graph_break()
        return encode(*given)

    monkeypatch.setattr(made.encoder, "forward", broken)
    made(**full_chunks())
    with pytest.raises(RuntimeError, match="cross-attention ran in"):
        torch.compile(made, backend="eager")(**full_chunks())
    torch.compiler.reset()
    with torch._dynamo.config.patch(skip_nnmodule_hook_guards=False):
        again = torch.compile(made, backend="eager")(**full_chunks()).logits
    torch.testing.assert_close(again, made(**full_chunks()).logits)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_peft_model_around_it_trains_and_merges() -> None:
    from peft import LoraConfig, get_peft_model

    made = tiny.model()
    expected = made(**batch()).logits
    wrapped = get_peft_model(made, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    assert torch.equal(wrapped(**batch()).logits, expected)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    trained = wrapped(**batch()).logits
    assert not torch.allclose(trained, expected)
    torch.testing.assert_close(wrapped.merge_and_unload()(**batch()).logits, trained)
