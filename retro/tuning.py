"""How the base decoder learns: not at all (RETROfit), by low-rank adapters, or whole.

Knows which weights a checkpoint holds and which want a gradient; knows no training loop.
"""

from __future__ import annotations

import warnings
from typing import Literal, cast

from torch import nn

from index.errors import UserError
from retro.model import RetroForCausalLM

Base = Literal["frozen", "lora", "full"]
BASES: tuple[Base, ...] = ("frozen", "lora", "full")

ENCODER, ENCODER_TOKENS = "encoder.", "encoder.tokens."
"""The latter are frozen always, and beside adapters all of the former: a checkpoint names where
they come from."""


def tune(model: RetroForCausalLM, base: Base) -> list[nn.Module]:
    """Lets the base learn in the way ``base``; the modules that learn then.

    What the checkpoint that a run started from taught the base stays, learning or not.

    Raises:
        UserError: the whole base was trained before, and adapters are asked for.
    """
    model.base.requires_grad_(False)
    if base == "frozen":
        return []
    held: Base = model.config.base_training
    if held == "full" and base == "lora":
        raise UserError("this checkpoint's base was trained whole: use --base full or frozen")
    if base == "lora":
        add_adapters(model)
        for name, weight in model.base.named_parameters():
            weight.requires_grad_("lora_" in name)
    else:
        if held == "lora":
            raise UserError("this checkpoint's base has adapters: use --base lora or frozen")
        model.base.requires_grad_(True)
    model.config.base_training = base
    return [model.base]


def add_adapters(model: RetroForCausalLM) -> None:
    """Low-rank adapters (Hu et al. 2021) beside every linear layer of the base but its head;
    they change nothing before training. Nothing happens if they are there."""
    if model.config.base_training == "lora" and any("lora_" in n for n, _ in _weights(model)):
        return
    from peft import LoraConfig, inject_adapter_in_model

    rank = model.config.lora_rank
    # all-linear finds the layers of any family; GPT-2's are transposed, of which peft tells.
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
        inject_adapter_in_model(config, model.base)
    for name, weight in _weights(model):
        if "lora_" in name:
            weight.data = weight.data.to(model.dtype)


def kept(model: RetroForCausalLM) -> dict[str, nn.Parameter]:
    """What a checkpoint holds, by name: all that was trained, weights with two names once."""
    training = cast(Base, model.config.base_training)
    adapted = bool(model.encoder.config.lora_rank)
    state = model.state_dict(keep_vars=True)
    names = [name for name in state if _is_kept(name, training, adapted)]
    return {name: state[name] for name in {id(state[n]): n for n in reversed(names)}.values()}


def _is_kept(name: str, training: Base, adapted: bool) -> bool:
    if name.startswith("base."):
        return training == "full" or (training == "lora" and "lora_" in name)
    if name.startswith(ENCODER) and adapted:
        return "lora_" in name
    return not name.startswith(ENCODER_TOKENS)


def _weights(model: RetroForCausalLM) -> list[tuple[str, nn.Parameter]]:
    return list(model.base.named_parameters())
