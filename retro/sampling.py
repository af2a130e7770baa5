"""What would the reader say, were it another one? Samples of its span posterior, three ways.

Monte-Carlo dropout reruns the encoder's top layers under masks (Gal & Ghahramani 2016); a
last-layer Laplace approximation draws the span reader's weights from a Gaussian around those that
were trained (Daxberger et al. 2021); an ensemble asks several trained span readers
(Lakshminarayanan et al. 2017). Knows the model and tensors; knows no answers and no signals.

Axes: M rows, S encoder tokens, D encoder width, P samples, k neighbours; P * k rows come out as P
sequences.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from index.errors import UserError
from retro.model import RetroForCausalLM
from retro.reader import SpanPosterior, SpanReader, posterior
from retro.windows import Rows

Weights = Mapping[str, Tensor]
"""Some of a span reader's weights, by name."""


class Sampler(Protocol):
    """Draws what the reader might say."""

    def draw(
        self, below: Tensor, rows: Rows, num: int, generator: torch.Generator
    ) -> SpanPosterior:
        """Span posteriors of ``num`` samples (an ensemble: of its members) of k neighbours, as that
        many sequences. ``below`` [k, S, D]: encoder states below the layers with dropout."""
        ...


def first_dropped(model: RetroForCausalLM) -> int:
    """The lowest encoder layer that has dropout."""
    config = model.config
    return int(config.encoder_config().num_hidden_layers - config.dropout_layers)


class Dropout:
    """Monte-Carlo dropout: the layers below are computed once, all samples in one batch."""

    def __init__(self, model: RetroForCausalLM) -> None:
        self.model = model

    def draw(
        self, below: Tensor, rows: Rows, num: int, generator: torch.Generator
    ) -> SpanPosterior:
        """See ``Sampler``: a mask a sample, shared along its tokens."""
        first = first_dropped(self.model)
        states = self.model.encoder.suffix_samples(below, rows.mask, first, num, generator)
        tiled = _tiled(rows, num)
        logits, relevance = self.model.reader.row_logits(states.flatten(0, 1), tiled)
        return _as_sequences(logits, relevance, tiled, num)


class Readers:
    """Samples that are span readers of their own: the encoder runs once for all."""

    def __init__(self, model: RetroForCausalLM) -> None:
        self.model = model

    def readers(self, num: int, generator: torch.Generator) -> Sequence[SpanReader]:
        """The span readers of one draw."""
        raise NotImplementedError

    def draw(
        self, below: Tensor, rows: Rows, num: int, generator: torch.Generator
    ) -> SpanPosterior:
        """See ``Sampler``."""
        states = self.model.encoder.run(below, rows.mask, first=first_dropped(self.model))
        readers = self.readers(num, generator)
        drawn = [reader.row_logits(states, rows) for reader in readers]
        logits, relevance = (torch.cat(part) for part in zip(*drawn, strict=True))
        return _as_sequences(logits, relevance, _tiled(rows, len(readers)), len(readers))


class Laplace(Readers):
    """Last-layer Laplace: weights w + deviation * e with e standard normal, drawn anew a question.

    ``deviations``: posterior standard deviations of some of the reader's weights, by name
    (``retro.posteriors.laplace``).
    """

    def __init__(self, model: RetroForCausalLM, deviations: Weights) -> None:
        super().__init__(model)
        self.deviations = deviations

    def readers(self, num: int, generator: torch.Generator) -> Sequence[SpanReader]:
        """Readers with weights drawn from the Gaussian."""
        held = self.model.reader.state_dict()
        out = []
        for _ in range(num):
            moved = {
                name: held[name].float().cpu()
                + deviation.float() * torch.randn(deviation.shape, generator=generator)
                for name, deviation in self.deviations.items()
            }
            out.append(_with(self.model.reader, moved))
        return out


class Ensemble(Readers):
    """Span readers trained apart on the same encoder (``retro.posteriors.ensemble``)."""

    def __init__(self, model: RetroForCausalLM, members: Sequence[Weights]) -> None:
        super().__init__(model)
        self.members = [_with(model.reader, member) for member in members]

    def readers(self, num: int, generator: torch.Generator) -> Sequence[SpanReader]:
        """The members, whatever is asked for."""
        return self.members


def save_members(members: Sequence[Weights], file: Path) -> None:
    """Writes weights of one or several span readers as safetensors, whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    flat = {f"{i}.{n}": v.contiguous() for i, m in enumerate(members) for n, v in m.items()}
    save_file(flat, partial)
    partial.replace(file)


def load_members(file: Path, model: RetroForCausalLM) -> list[dict[str, Tensor]]:
    """What ``save_members`` wrote.

    Raises:
        UserError: the file is missing, or holds no weights of this model's span reader.
    """
    try:
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{file}: cannot be read ({error}); make it with: retro train posterior"
        ) from error
    shapes = {name: value.shape for name, value in model.reader.state_dict().items()}
    members: dict[str, dict[str, Tensor]] = {}
    for key, value in stored.items():
        number, _, name = key.partition(".")
        if shapes.get(name) != value.shape:
            raise UserError(
                f"{file}: {key} is no weight of this model's span reader; make it again with: "
                "retro train posterior"
            )
        members.setdefault(number, {})[name] = value
    return [members[number] for number in sorted(members, key=int)]


def _with(reader: SpanReader, weights: Weights) -> SpanReader:
    """A copy of the reader with some weights exchanged."""
    made = copy.deepcopy(reader)
    made.load_state_dict(dict(weights), strict=False)
    return made.eval()


def _as_sequences(logits: Tensor, relevance: Tensor, rows: Rows, num: int) -> SpanPosterior:
    place = torch.arange(logits.shape[0], device=logits.device).view(num, -1)
    return posterior(logits, relevance, rows.tokens, place)


def _tiled(rows: Rows, num: int) -> Rows:
    return Rows(**{k: v.repeat(num, *[1] * (v.dim() - 1)) for k, v in vars(rows).items()})
