"""Builds, saves and loads RETROfitted models: a base decoder by name plus what was trained.

A checkpoint folder holds ``config.json`` and ``model.safetensors`` with the trained weights
alone. The base decoder's weights, unless they were trained, and the encoder's token embeddings
come from where the configuration says (``index.weights.resolve``).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.utils import logging as transformers_logging

from index.devices import fast_dtype
from index.errors import UserError
from index.weights import load_tokenizer, resolve, tensors_sha256
from retro.config import RetroConfig, default_cca_layers
from retro.copying import blank_spellings
from retro.encoder import EncoderConfig, pretrained_state
from retro.model import RetroForCausalLM
from retro.shipped import DEFAULT_CHECKPOINT
from retro.tuning import BASES, add_adapters, kept
from retro.windows import Windower

_LOG = logging.getLogger(__name__)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""The files of a checkpoint folder."""


def retrofit(
    base_name: str = "smollm2-135m",
    encoder_name: str = "minilm",
    *,
    dtype: torch.dtype | None = None,
    **changes: Any,
) -> RetroForCausalLM:
    """A fresh RETRO model around a pretrained decoder, with a pretrained neighbour encoder.

    ``changes`` go to ``RetroConfig``. ``dtype`` of all weights: default what this machine
    multiplies fastest (``index.devices.fast_dtype``). Every pretrained weight of the
    decoder is frozen (RETROfit, §4.2); so are the encoder's token embeddings.

    Raises:
        UserError: weights can't be found, or the decoder's family is not known.
    """
    folder = resolve(encoder_name)
    encoder = EncoderConfig.of_pretrained(
        json.loads((folder / "config.json").read_text()), **changes.pop("encoder", {})
    )
    rerun = changes.get("dropout_layers", RetroConfig().dropout_layers)
    dropped = {"dropout_from": max(0, encoder.num_hidden_layers - rerun)}
    dtype = dtype or fast_dtype()
    base = load_base(base_name, dtype)
    config = RetroConfig(
        base=_without_path(base.config.to_dict()),
        encoder=vars(encoder) | dropped,
        base_name=base_name,
        base_hash=tensors_sha256(resolve(base_name)),
        encoder_name=encoder_name,
        **({"cca_layers": default_cca_layers(base.config.num_hidden_layers)} | changes),
    )
    model = RetroForCausalLM(config, base)
    model.encoder.load_state_dict(_pretrained(encoder_name), strict=False)
    for weight in kept(model).values():  # begin as a checkpoint would keep it
        if weight.is_floating_point():
            weight.data = weight.data.bfloat16()
    model.with_blank = blank_spellings(load_tokenizer(base_name), len(model.with_blank))
    return _ready(model, dtype)


def load(
    folder: Path | str = DEFAULT_CHECKPOINT, *, dtype: torch.dtype | None = None
) -> RetroForCausalLM:
    """The model of a checkpoint folder, with its base weights found by name.

    ``dtype`` of all weights: default what this machine multiplies fastest.

    Raises:
        UserError: the folder holds no whole checkpoint, or its base can't be found.
    """
    folder = Path(folder)
    config, trained = read_checkpoint(folder)
    dtype = dtype or fast_dtype()
    base = load_base(config.base_name, dtype)
    _check_base(config, folder)
    with torch.device("meta"):  # no memory and no random numbers for what is loaded below
        model = RetroForCausalLM(config, base)
    if config.base_training == "lora":
        add_adapters(model)
    expected = kept(model)
    odd = expected.keys() ^ trained.keys()
    odd |= {k for k in expected.keys() - odd if expected[k].shape != trained[k].shape}
    if odd:
        raise UserError(f"{folder / WEIGHTS}: does not fit its config.json (e.g. {min(odd)})")
    model.load_state_dict(trained, strict=False, assign=True)
    base.tie_weights()
    base.requires_grad_(False)
    assert config.encoder_name is not None
    frozen = {f"encoder.{k}": v for k, v in _pretrained(config.encoder_name).items()}
    held = model.state_dict().keys() - expected.keys()
    model.load_state_dict({k: v for k, v in frozen.items() if k in held}, strict=False, assign=True)
    return _ready(model, dtype)


def _pretrained(encoder: str) -> dict[str, torch.Tensor]:
    """The weights of a pretrained encoder by name, in the names of ``NeighbourEncoder``."""
    return pretrained_state(load_file(resolve(encoder) / "model.safetensors"))


def save(model: RetroForCausalLM, folder: Path | str) -> None:
    """Writes ``config.json`` and what was trained, in bfloat16, to ``folder``."""
    trained = {name: _stored(value) for name, value in kept(model).items()}
    write_checkpoint(model.config, trained, Path(folder))


def read_checkpoint(folder: Path) -> tuple[RetroConfig, dict[str, torch.Tensor]]:
    """What a checkpoint folder holds: the configuration, and what was trained by name.

    Raises:
        UserError: it holds no whole checkpoint.
    """
    file = folder / WEIGHTS
    if not (folder / CONFIG).is_file() or not file.is_file():
        raise UserError(f"{folder}: no checkpoint here ({CONFIG} and {WEIGHTS})")
    try:
        config = RetroConfig(**json.loads((folder / CONFIG).read_text("utf-8")))
        trained = load_file(file)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder}: damaged {CONFIG} or {WEIGHTS} ({error}); copy or train the checkpoint again"
        ) from error
    if config.base_training not in BASES:
        raise UserError(f"{folder}: {CONFIG}: base_training is none of {', '.join(BASES)}")
    if config.num_read < 1:
        raise UserError(f"{folder}: {CONFIG}: num_read is {config.num_read}: read 1 or more")
    return config, trained


def write_checkpoint(
    config: PretrainedConfig, trained: dict[str, torch.Tensor], folder: Path
) -> None:
    """Writes a checkpoint folder, each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{WEIGHTS}.partial"
    save_file(trained, partial)
    partial.replace(folder / WEIGHTS)
    partial = folder / f"{CONFIG}.partial"
    config.to_json_file(str(partial))
    partial.replace(folder / CONFIG)


def _stored(value: torch.Tensor) -> torch.Tensor:
    """As a checkpoint holds it."""
    dtype = torch.bfloat16 if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", dtype).contiguous()


def _check_base(config: RetroConfig, folder: Path) -> None:
    """Says so if the base weights found are not those that the checkpoint was trained on: they
    may do (another rounding of the same weights), but then its figures are not its figures."""
    assert config.base_name is not None
    if config.base_hash not in (None, tensors_sha256(resolve(config.base_name))):
        _LOG.warning(
            "%s was trained on other weights than those found as '%s' (base_hash in config.json): "
            "its answers and confidence may be off",
            folder,
            config.base_name,
        )


def is_base(name: str, config: RetroConfig) -> bool:
    """Whether a decoder, by name, local folder or hub id, is the one of a model."""
    return name == config.base_name or tensors_sha256(resolve(name)) == config.base_hash


def load_base(name: str | None, dtype: torch.dtype) -> Any:
    """A pretrained decoder by name, local folder or hub id, without gradients."""
    if name is None:
        raise UserError("config.json names no base decoder (base_name); train the checkpoint again")
    transformers_logging.disable_progress_bar()  # it would stand beside an answer's one line
    base = AutoModelForCausalLM.from_pretrained(resolve(name), dtype=dtype)
    return base.requires_grad_(False)


def _ready(model: RetroForCausalLM, dtype: torch.dtype) -> RetroForCausalLM:
    nn.Module.to(model, dtype)
    held = kept(model)
    for name, weight in model.encoder.named_parameters():
        weight.requires_grad_(f"encoder.{name}" in held)
    model.eval()
    return model


def _without_path(config: dict[str, Any]) -> dict[str, Any]:
    """Where the weights lay on the machine that trained is nobody's business."""
    return {name: value for name, value in config.items() if name != "_name_or_path"}


def load_windower(encoder: str, base: str) -> Windower:
    """With the tokenizers of an encoder and a decoder by name, local folder or hub id."""
    return Windower(load_tokenizer(encoder), load_tokenizer(base))


def trained_parameters(*modules: nn.Module) -> list[nn.Parameter]:
    """Parameters of the modules that want a gradient."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]
