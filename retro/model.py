"""RetroForCausalLM: any Hugging Face decoder that reads retrieved neighbours.

The base decoder is left as it is: hooks on a few of its layers add chunked cross-attention to
what attention adds (ATTN → CCA → FFW). Without neighbours no hook changes anything, so the
logits are the base model's, bit for bit.

Axes: B sequences, n positions, V vocabulary, L chunks, K neighbours, R tokens of a neighbour,
M packed neighbour rows, T answer tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from retro.attention import ChunkedCrossAttention, EncodedNeighbours
from retro.config import RetroConfig
from retro.copying import TINY, CopyTables
from retro.encoder import NeighbourEncoder
from retro.families import attention_of, decoder_layers
from retro.reader import IMPOSSIBLE, SpanPosterior, SpanReader, posterior
from retro.windows import Rows


@dataclass
class NeighbourContext:
    """The neighbours of a batch on their way through the model.

    ``rows`` come in; ``encoded`` and ``spans`` are filled on first use and kept, so that
    neighbours are encoded once however many tokens are generated. ``spans`` is None where the
    sequences have more than one chunk of neighbours (language modelling: nothing to answer).
    ``first`` is the position of the sequences' first token in its chunk (left padding that was
    left out). ``prompt_len``: the tokens before the answer, if these sequences are questions to
    be answered; behind them ``generate`` may copy.
    """

    rows: Rows
    first: int = 0
    prompt_len: int | None = None
    encoded: EncodedNeighbours | None = None
    spans: SpanPosterior | None = None
    copy: CopyTables | None = None
    repeats: dict[int, NeighbourContext] = field(default_factory=dict)

    def expanded(self, batch: int) -> NeighbourContext:
        """For ``batch`` sequences, each of this context's repeated (beams, samples): kept, so
        that every decoding step gets the same one."""
        own = self.rows.place.shape[0] if self.encoded is None else self.encoded.states.shape[0]
        if batch == own:
            return self
        if batch not in self.repeats:
            assert self.encoded is not None
            assert batch % own == 0
            index = torch.arange(own, device=self.encoded.states.device)
            self.repeats[batch] = self.select(index.repeat_interleave(batch // own))
        return self.repeats[batch]

    def select(self, index: Tensor) -> NeighbourContext:
        """The context of the sequences ``index``, sharing what was encoded."""
        picked = NeighbourContext(self.rows, self.first, self.prompt_len)
        picked.encoded = self.encoded.select(index) if self.encoded else None
        picked.spans = self.spans.select(index) if self.spans else None
        if self.copy is not None:
            picked.copy = CopyTables(*(t[index] for t in vars(self.copy).values()))
        return picked


@dataclass(frozen=True)
class AnswerScores:
    """Log-probabilities [B, T] of given answer tokens (padding: 0): the mixture's, the decoder's
    alone and the copy head's alone, and the ``gate`` [B, T] between them (1 = copies)."""

    mixed: Tensor
    decoder: Tensor
    copied: Tensor
    gate: Tensor
    mask: Tensor


class RetroForCausalLM(PreTrainedModel, GenerationMixin):
    """A RETROfitted decoder (Borgeaud et al. 2021, §2.4 and §4.2).

    ``base`` may be any decoder of a family in ``retro.families``. Its weights are never part of
    a checkpoint: the configuration names them.
    """

    config_class = RetroConfig
    base_model_prefix = "retro"
    _supports_sdpa = True
    supports_gradient_checkpointing = True

    def __init__(self, config: RetroConfig, base: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.base = base if base is not None else _fresh_base(config)
        inner = self.base.config
        encoder = config.encoder_config()
        self.encoder = NeighbourEncoder(encoder)
        self.reader = SpanReader(encoder.hidden_size, config.max_span)
        self.cca = nn.ModuleDict(
            {
                str(layer): ChunkedCrossAttention(
                    inner.hidden_size,
                    encoder.hidden_size,
                    inner.num_attention_heads,
                    config.chunk_size,
                    config.cca_dropout,
                )
                for layer in config.cca_layers
            }
        )
        self.gate = nn.Linear(inner.hidden_size, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.ones_(self.gate.bias)
        self.with_blank: Tensor
        self.register_buffer("with_blank", torch.arange(inner.vocab_size))
        self._context: NeighbourContext | None = None
        self._first = 0
        self._hidden: Tensor | None = None
        self._hook()
        self.post_init()

    # -- the base decoder, with neighbours added -------------------------------------------

    def _hook(self) -> None:
        model_type = self.base.config.model_type
        layers = decoder_layers(self.base, model_type)
        for number in self.config.cca_layers:
            layer = layers[number]
            kept: list[Tensor] = []
            layer.register_forward_pre_hook(_keep_input(kept), with_kwargs=True)
            attention_of(layer, model_type).register_forward_hook(self._adder(number, kept))
        head = self.base.get_output_embeddings()
        head.register_forward_pre_hook(self._keep_hidden)

    def _keep_hidden(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        self._hidden = args[0] if self._context is not None else None

    def _adder(self, number: int, kept: list[Tensor]) -> Any:
        def add(_module: nn.Module, _args: Any, output: Any) -> Any:
            if self._context is None:
                return None
            attended = output[0] if isinstance(output, tuple) else output
            x = kept[-1] + attended
            encoded = self._encoded(self._context, x)
            added = attended + self.cca[str(number)](x, encoded, self._first)
            return (added, *output[1:]) if isinstance(output, tuple) else added

        return add

    @contextmanager
    def _reading(self, context: NeighbourContext | None, first: int) -> Iterator[None]:
        self._context, self._first = context, first
        try:
            yield
        finally:
            self._context, self._first = None, 0

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        neighbours: NeighbourContext | None = None,
        answer_prefix: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Any = None,
        position_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, n, V].

        Without ``neighbours`` this is the base model's own forward. With them, position i reads
        the neighbours of the chunk before its own. With ``answer_prefix`` [B, t] (the answer
        tokens written so far) and a copy head, the last position's logits are the log of the
        mixture of the decoder's and the copy distribution. ``position_ids`` is named because
        ``generate`` counts positions from left padding only for models that name it.
        """
        kwargs["position_ids"] = position_ids
        if neighbours is None:
            out: CausalLMOutputWithPast = self.base(
                input_ids=input_ids,
                attention_mask=attention_mask,
                labels=labels,
                past_key_values=past_key_values,
                **kwargs,
            )
            return out
        neighbours = neighbours.expanded(self._batch_of(input_ids, kwargs))
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        with self._reading(neighbours, neighbours.first + seen):
            out = self.base(
                input_ids=input_ids,
                attention_mask=attention_mask,
                labels=labels,
                past_key_values=past_key_values,
                **kwargs,
            )
        if answer_prefix is not None and neighbours.copy is not None and out.logits is not None:
            out.logits = self._mixed(out.logits, neighbours.copy, answer_prefix)
        self._hidden = None
        return out

    def _mixed(self, logits: Tensor, copy: CopyTables, prefix: Tensor) -> Tensor:
        """Log of the mixture at the last position, [B, 1, V] (float32)."""
        assert self._hidden is not None
        decoder = logits[:, -1].float().softmax(-1)
        copied, mass = copy.next_token(prefix, self.eos, decoder.shape[-1])
        gate = torch.sigmoid(self.gate(self._hidden[:, -1]).float())
        gate = gate * (mass > TINY)[:, None]
        return (gate * copied + (1 - gate) * decoder + TINY).log()[:, None]

    @staticmethod
    def _batch_of(input_ids: Tensor | None, kwargs: dict[str, Any]) -> int:
        tokens = kwargs["inputs_embeds"] if input_ids is None else input_ids
        return int(tokens.shape[0])

    @property
    def eos(self) -> int:
        """The token that ends an answer."""
        eos = self.base.config.eos_token_id
        return int(eos[0] if isinstance(eos, list) else eos)

    # -- neighbours ------------------------------------------------------------------------

    def read(self, rows: Rows) -> NeighbourContext:
        """Encodes the neighbours of a batch, and where they belong to one chunk (a question),
        finds the spans that answer. Raises ValueError if the encoder wants the decoder's
        activations (then they are encoded on the way, inside ``forward``)."""
        if self.encoder.config.conditioning_size:
            raise ValueError("this encoder is conditioned by activations; pass a NeighbourContext")
        states = self.encoder(rows.ids, rows.mask, rows.segments)
        return self.read_states(rows, states)

    def read_states(self, rows: Rows, states: Tensor) -> NeighbourContext:
        """The same from encoder states [M, S, D] computed before (dropout samples, training)."""
        context = NeighbourContext(rows)
        if rows.place.shape[1] == 1:
            logits, relevance = self.reader.row_logits(states, rows)
            context.spans = posterior(logits, relevance, rows.tokens, rows.place[:, 0])
            if self.config.copy_head:
                context.copy = CopyTables.of(context.spans, self.with_blank)
        context.encoded = _arranged(states, rows, context.spans)
        return context

    def _encoded(self, context: NeighbourContext, x: Tensor) -> EncodedNeighbours:
        """The context's encoded neighbours, encoded now if they wait for the activations ``x``
        [B, n, H] of the querying chunks at the first cross-attention layer (RETRO §2.4)."""
        if context.encoded is None:
            rows, m = context.rows, self.config.chunk_size
            count = rows.place.shape[1]
            assert x.shape[1] >= count * m, "every chunk with neighbours must be complete"
            chunks = x[:, : count * m].unflatten(1, (count, m))
            owner = torch.empty(rows.ids.shape[0], dtype=torch.long, device=x.device)
            here = rows.place >= 0
            number = torch.arange(x.shape[0] * count, device=x.device).view(-1, count, 1)
            owner[rows.place[here]] = number.expand_as(rows.place)[here]
            chunk = chunks.flatten(0, 1)[owner]
            context.encoded = _arranged(
                self.encoder(rows.ids, rows.mask, rows.segments, chunk), rows, None
            )
        return context.encoded

    # -- answers ---------------------------------------------------------------------------

    def score(
        self,
        prompt: Tensor,
        mask: Tensor,
        answer: Tensor,
        neighbours: NeighbourContext | None,
    ) -> AnswerScores:
        """Log-probabilities of ``answer`` [B, T] (ended by ``eos``, padded by -1) after
        ``prompt`` [B, n] (left-padded, ``mask`` [B, n]), in one pass."""
        real = answer >= 0
        written = answer.clamp(min=0)
        ids = torch.cat([prompt, written[:, :-1]], 1)
        seen = torch.cat([mask, real[:, :-1].to(mask.dtype)], 1)
        positions = (seen.cumsum(1) - 1).clamp(min=0)
        keep = answer.shape[1]
        with self._reading(neighbours, neighbours.first if neighbours else 0):
            out = self.base(
                input_ids=ids,
                attention_mask=seen,
                position_ids=positions,
                logits_to_keep=keep,
                use_cache=False,
            )
            hidden = self._hidden
        self._hidden = None
        log_p = out.logits.float().log_softmax(-1).gather(2, written[..., None])[..., 0]
        zeros = torch.zeros_like(log_p)
        if neighbours is None or neighbours.copy is None or hidden is None:
            decoder = log_p.masked_fill(~real, 0.0)
            return AnswerScores(decoder, decoder, zeros + IMPOSSIBLE, zeros, real)
        copied, mass = neighbours.copy.targets(answer, self.eos)
        gate = torch.sigmoid(self.gate(hidden).float())[..., 0] * (mass > TINY)
        mixed = (gate * copied + (1 - gate) * log_p.exp() + TINY).log()
        mixed, log_p, gate = (t.masked_fill(~real, 0.0) for t in (mixed, log_p, gate))
        return AnswerScores(mixed, log_p, (copied + TINY).log().masked_fill(~real, 0.0), gate, real)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, neighbours: NeighbourContext | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Adds the neighbours and the answer tokens written so far to the base's own inputs."""
        base: Any = self.base
        inputs: dict[str, Any] = base.prepare_inputs_for_generation(input_ids, **kwargs)
        if neighbours is not None:
            inputs["neighbours"] = neighbours
            if neighbours.prompt_len is not None:
                inputs["answer_prefix"] = input_ids[:, neighbours.prompt_len :]
        return inputs

    def get_input_embeddings(self) -> nn.Module:
        """The base decoder's."""
        module: nn.Module = self.base.get_input_embeddings()
        return module

    def get_output_embeddings(self) -> nn.Module:
        """The base decoder's."""
        module: nn.Module = self.base.get_output_embeddings()
        return module

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: every part initialises itself, and pretrained parts are loaded over that."""


def _fresh_base(config: RetroConfig) -> PreTrainedModel:
    base: PreTrainedModel = AutoModelForCausalLM.from_config(config.base_config())
    return base


def _keep_input(kept: list[Tensor]) -> Any:
    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept[:] = [args[0] if args else kwargs["hidden_states"]]

    return keep


def _arranged(states: Tensor, rows: Rows, spans: SpanPosterior | None) -> EncodedNeighbours:
    """Encoder states [M, S, D] as the decoder's tokens of each chunk's neighbours, [B, L, N, D]."""
    batch, count, num = rows.place.shape
    width = rows.tokens.shape[1]
    if states.shape[0] == 0:
        states = states.new_zeros(1, max(1, rows.ids.shape[1]), states.shape[2])
        rows = _one_empty_row(rows)
    aligned = states.gather(1, rows.first[..., None].expand(-1, -1, states.shape[-1]))
    here = rows.place >= 0
    index = rows.place.clamp(min=0)
    mask = (rows.tokens >= 0)[index] & here[..., None]
    bias = aligned.new_zeros(batch, count, num * width)
    if spans is not None:
        bias = (spans.token_mass() + 1e-4).log().to(aligned.dtype)[:, None]
    return EncodedNeighbours(aligned[index].flatten(2, 3), mask.flatten(2), bias, width)


def _one_empty_row(rows: Rows) -> Rows:
    size = rows.tokens.shape[1]
    blank = {"tokens": rows.tokens.new_full((1, size), -1), "first": rows.first.new_zeros(1, size)}
    return Rows(**(vars(rows) | blank))
