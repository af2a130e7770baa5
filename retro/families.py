"""Where a decoder family keeps its layers: all that RETRO needs to know of a base model.

To add a family, add one line to ``FAMILIES``: the path to the list of layers, and the name in a
layer of the module whose output is added to the residual stream before the feed-forward part.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from index.errors import UserError


@dataclass(frozen=True)
class Family:
    """``layers``: dotted path to the layers; ``attention``: the attention block in a layer."""

    layers: str
    attention: str


FAMILIES = {
    "llama": Family("model.layers", "self_attn"),
    "mistral": Family("model.layers", "self_attn"),
    "qwen2": Family("model.layers", "self_attn"),
    "qwen3": Family("model.layers", "self_attn"),
    "gemma": Family("model.layers", "self_attn"),
    "gpt2": Family("transformer.h", "attn"),
    "gpt_neox": Family("gpt_neox.layers", "attention"),
}


def family_of(model_type: str) -> Family:
    """The family of a Hugging Face ``model_type``.

    Raises:
        UserError: no description is known.
    """
    if model_type not in FAMILIES:
        raise UserError(
            f"decoder family '{model_type}' is not known (known: {', '.join(FAMILIES)}); "
            "add where its layers are to FAMILIES in retro/families.py"
        )
    return FAMILIES[model_type]


def decoder_layers(base: nn.Module, model_type: str) -> list[nn.Module]:
    """The decoder's layers, lowest first."""
    return list(base.get_submodule(family_of(model_type).layers).children())


def attention_of(layer: nn.Module, model_type: str) -> nn.Module:
    """The attention block of one layer."""
    return layer.get_submodule(family_of(model_type).attention)
