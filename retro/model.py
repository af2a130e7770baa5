"""RetroForCausalLM: any Hugging Face decoder that reads retrieved neighbours.

The base decoder is left as it is: hooks on a few of its layers add chunked cross-attention to
what attention adds (ATTN → CCA → FFW). Without neighbours no hook changes anything, so the
logits are the base model's, bit for bit.

Axes: B sequences, n positions, V vocabulary, L chunks, K neighbours, R tokens of a neighbour,
M packed neighbour rows, T answer tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from index.devices import Integers
from retro.attention import ChunkedCrossAttention, EncodedNeighbours
from retro.config import RetroConfig
from retro.context import (
    ChunkRetrieval,
    NeighbourContext,
    Querying,
    Retrieve,
    arranged,
    in_chunks,
    of_each_row,
)
from retro.copying import TINY, CopyTables
from retro.eight_bit import in_eight_bits
from retro.encoder import Conditioning, NeighbourEncoder
from retro.families import attention_of, decoder_layers
from retro.pointer import NeighbourPointer
from retro.reader import IMPOSSIBLE, SpanReader, posterior
from retro.windows import Rows


@dataclass(frozen=True)
class AnswerScores:
    """Log-probabilities [B, T] of given answer tokens (padding: 0): the mixture's, the decoder's
    alone and the copy head's alone, and the ``gate`` [B, T] between them (1 = copies).
    ``following`` [B, T, V], where it was asked for: the mixture's of every token, not of the
    given one alone."""

    mixed: Tensor
    decoder: Tensor
    copied: Tensor
    gate: Tensor
    mask: Tensor
    following: Tensor | None = None


@dataclass
class _Pass:
    """What the hooks know of one pass through the base decoder.

    ``context`` is read from position ``first`` on; ``mask`` [B, n] is 0 at padding. Left behind
    by the hooks: what ``entered`` the current layer, the ``hidden`` states before the output
    head, and without a context, the ``activations`` that an encoder may be conditioned on; how many
    layers have ``heard``.
    """

    context: NeighbourContext | None
    first: int
    mask: Tensor | None = None
    encoded: EncodedNeighbours | None = None
    entered: Tensor | None = None
    hidden: Tensor | None = None
    activations: Tensor | None = None
    heard: int = 0

    @property
    def is_text(self) -> bool:
        """Whether it hears neighbours as text does: of chunks, not of one question."""
        return self.context is not None and self.context.spans is None

    @property
    def copy(self) -> CopyTables | None:
        """What may be copied into an answer."""
        return self.context.copy if self.context is not None else None

    def seen(self) -> tuple[Tensor, EncodedNeighbours]:
        """The hidden states and the neighbours of a pass that is over."""
        assert self.hidden is not None
        assert self.encoded is not None
        return self.hidden, self.encoded

    @classmethod
    def over(cls, context: NeighbourContext, seen: int, mask: Tensor | None) -> _Pass:
        """A pass that goes on behind ``seen`` cached positions."""
        return cls(context, context.first + seen, mask, context.encoded)


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
        self.pointer = (
            NeighbourPointer(inner.hidden_size, config.chunk_size) if config.pointer else None
        )
        self.with_blank: Tensor
        self.register_buffer("with_blank", torch.arange(inner.vocab_size))
        self._pass: _Pass | None = None
        self._hook()
        self.post_init()

    # -- the base decoder, with neighbours added -------------------------------------------

    def _hook(self) -> None:
        model_type = self.base.config.model_type
        layers = decoder_layers(self.base, model_type)
        for number in self.config.cca_layers:
            layer = layers[number]
            layer.register_forward_pre_hook(self._keep_input, with_kwargs=True)
            attention_of(layer, model_type).register_forward_hook(self._adder(number))
        head = self.base.get_output_embeddings()
        head.register_forward_pre_hook(self._keep_hidden)

    def _keep_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._pass is not None:
            self._pass.entered = args[0] if args else kwargs["hidden_states"]

    def _keep_hidden(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        """Copied, so that a part of the sequences (``logits_to_keep``) lies in one piece: else a
        linear layer copies its whole weight, the vocabulary's, once for every sequence."""
        hidden = args[0].clone(memory_format=torch.contiguous_format)
        if self._pass is not None:
            self._pass.hidden = hidden
        return (hidden,)

    def _adder(self, number: int) -> Any:
        def add(_module: nn.Module, _args: Any, output: Any) -> Any:
            now = self._pass
            if now is None:
                return None
            now.heard += 1
            attended = output[0] if isinstance(output, tuple) else output
            assert now.entered is not None
            x = now.entered + attended
            if now.context is None:  # only asked for the activations
                now.activations = x if now.activations is None else now.activations
                return None
            added = attended + self.cca[str(number)](x, self._encoded(now, x), now.first)
            return (added, *output[1:]) if isinstance(output, tuple) else added

        return add

    @contextmanager
    def _reading(self, now: _Pass) -> Iterator[_Pass]:
        before, self._pass = self._pass, now
        try:
            yield now
        finally:
            self._pass, now.entered = before, None

    def _set_gradient_checkpointing(  # type: ignore[override]
        self, enable: bool = True, gradient_checkpointing_func: Any = None, **kwargs: Any
    ) -> None:
        """A layer that is run again in the backward pass must hear what it heard at first."""

        def run(layer: Any, x: Tensor, *rest: Any) -> Any:
            now = self._pass
            if now is None:
                return gradient_checkpointing_func(layer, x, *rest)
            encoded = now.encoded

            def again(x: Tensor, *rest: Any) -> Any:
                with self._reading(replace(now, entered=x, encoded=encoded)) as heard:
                    out = layer(x, *rest)
                now.encoded, now.heard = heard.encoded, heard.heard
                return out

            return gradient_checkpointing_func(again, x, *rest)

        super()._set_gradient_checkpointing(enable, run, **kwargs)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        neighbours: NeighbourContext | None = None,
        answer_prefix: Tensor | None = None,
        written: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Any = None,
        position_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, n, V].

        Without ``neighbours`` this is the base model's own forward. With them, position i reads
        the neighbours of the chunk before its own. With ``answer_prefix`` [B, t] (the answer
        tokens written so far) and a copy head, the last position's logits are the log of the
        mixture of the decoder's and the copy distribution. With a pointer, and neighbours of a
        text, all logits are the log of such a mixture; ``written`` [B, at least n]: every token up
        to the last, by default ``input_ids``. ``position_ids`` is named because ``generate`` counts
        positions from left padding only for models that name it.
        """
        kwargs |= {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": labels,
            "past_key_values": past_key_values,
            "position_ids": position_ids,
        }
        if neighbours is None:
            out: CausalLMOutputWithPast = self.base(**kwargs)
            return out
        out, now = self._run(neighbours, kwargs)
        assert out.logits is not None
        if answer_prefix is not None and now.copy is not None:
            out.logits = self._mixed(out.logits, now.hidden, now.copy, answer_prefix)
        elif self.pointer is not None and now.is_text:
            written = input_ids if written is None else written
            if written is None:
                raise ValueError("a pointer compares tokens: pass input_ids or written")
            hidden, encoded = now.seen()
            first = now.first + self._shape_of(kwargs)[1] - out.logits.shape[1]
            out.logits = self.pointer(out.logits, hidden, written, encoded, first)
            if labels is not None:
                out.loss = self.base.loss_function(out.logits, labels, out.logits.shape[-1])
        return out

    def log_probs(self, ids: Tensor, mask: Tensor, neighbours: NeighbourContext | None) -> Tensor:
        """log P of every token of a text but its first, [B, n - 1] (float32), in one pass: what the
        logits of ``forward`` say, in less memory. ids, mask [B, n]; the mask is 0 at padding."""
        kwargs = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        out, now = self._run(neighbours, kwargs) if neighbours else (self.base(**kwargs), None)
        logits, targets = out.logits[:, :-1], ids[:, 1:]
        if now is None or self.pointer is None or not now.is_text:
            nats = F.cross_entropy(
                logits.float().flatten(0, 1), targets.flatten(), reduction="none"
            )
            return -nats.view(targets.shape)
        hidden, encoded = now.seen()
        heard = (hidden[:, :-1], ids[:, :-1], encoded, now.first)
        said: Tensor = self.pointer(logits, *heard, targets)
        return said

    def _run(self, neighbours: NeighbourContext, kwargs: dict[str, Any]) -> tuple[Any, _Pass]:
        """The base decoder's forward pass, hearing the neighbours, and what the hooks saw."""
        if neighbours.encoded is None and not self.encoder.config.conditioning_size:
            rows = neighbours.rows = neighbours.rows.to(self.device)
            self._fill(neighbours, self.encoder(rows.ids, rows.mask, rows.segments))
        past = kwargs.get("past_key_values")
        neighbours = neighbours.expanded(self._shape_of(kwargs)[0])
        seen = past.get_seq_length() if past is not None else 0
        with self._reading(_Pass.over(neighbours, seen, kwargs["attention_mask"])) as now:
            out = self.base(**kwargs)
        if now.heard < len(self.config.cca_layers):
            raise RuntimeError(
                f"cross-attention ran in {now.heard} layers of {len(self.config.cca_layers)}: "
                "torch.compile left its hooks out (before compiling, set "
                "torch._dynamo.config.skip_nnmodule_hook_guards = False)"
            )
        return out, now

    def _mixed(
        self, logits: Tensor, hidden: Tensor | None, copy: CopyTables, prefix: Tensor
    ) -> Tensor:
        """Log of the mixture at the last position, [B, 1, V] (float32)."""
        assert hidden is not None
        decoder = logits[:, -1].float().softmax(-1)
        copied, mass = copy.next_token(prefix, self.eos, decoder.shape[-1])
        gate = torch.sigmoid(self.gate(hidden[:, -1]).float())
        gate = gate * (mass > TINY)[:, None]
        return (gate * copied + (1 - gate) * decoder + TINY).log()[:, None]

    @staticmethod
    def _shape_of(kwargs: dict[str, Any]) -> tuple[int, int]:
        """B and n."""
        ids = kwargs["input_ids"]
        tokens = kwargs["inputs_embeds"] if ids is None else ids
        return int(tokens.shape[0]), int(tokens.shape[1])

    @property
    def eos(self) -> int:
        """The token that ends an answer."""
        eos = self.base.config.eos_token_id
        return int(eos[0] if isinstance(eos, list) else eos)

    # -- neighbours ------------------------------------------------------------------------

    def fold(self) -> None:
        """Folds what the encoder's adapters learned into its weights, to answer faster. A
        checkpoint saved after that holds the whole encoder."""
        self.encoder.fold()
        self.config.encoder |= {"lora_rank": 0, "lora_from": 0}

    def in_eight_bits(self, integers: Integers) -> None:
        """Rounds what reads and writes to 8 bits (``retro.eight_bit``), to answer faster where the
        processor multiplies ``integers`` fast: the encoder, cross-attention and, but for adapters
        beside them, the decoder's layers (not for AVX2: a few tokens at a time are no faster).
        Span reader, gate and output head stay as they are; nothing can be trained or saved."""
        parts: list[nn.Module] = [self.encoder, self.cca]
        if self.config.base_training != "lora" and integers != "avx2":
            parts += decoder_layers(self.base, self.base.config.model_type)
        for part in parts:
            in_eight_bits(part, integers)

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
        self._fill(context, states)
        return context

    def _fill(self, context: NeighbourContext, states: Tensor) -> None:
        rows = context.rows
        if rows.place.shape[1] == 1:
            logits, relevance = self.reader.row_logits(states, rows)
            context.spans = posterior(logits, relevance, rows.tokens, rows.place[:, 0])
            if self.config.copy_head:
                context.copy = CopyTables.of(context.spans, self.with_blank)
        context.encoded = arranged(states, rows, context.spans)

    def _encoded(self, now: _Pass, x: Tensor) -> EncodedNeighbours:
        """The pass's encoded neighbours, encoded now if they wait for the activations ``x``
        [B, n, H] of the querying chunks at the first cross-attention layer (RETRO §2.4)."""
        if now.encoded is None:
            context = now.context
            assert context is not None
            rows, m = context.rows.to(x.device), self.config.chunk_size
            count = rows.place.shape[1]
            assert x.shape[1] + now.first >= count * m, "chunks with neighbours must be complete"
            real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            if now.mask is not None and now.mask.dim() == 2:
                real = now.mask > 0
            h, seen = (in_chunks(t, now.first, m, count) for t in (x, real))
            chunk = Conditioning(*of_each_row(rows.place, len(rows.ids), h, seen))
            states = self.encoder(rows.ids, rows.mask, rows.segments, chunk)
            now.encoded = context.encoded = arranged(states, rows, None)
        return now.encoded

    # -- neighbours found on the way -------------------------------------------------------

    def generate(self, *args: Any, retrieve: Retrieve | None = None, **kwargs: Any) -> Any:
        """transformers' own ``generate``, and with ``retrieve``, retrieval on the way: each
        chunk that is complete, the prompt's own included, finds the neighbours that the next one
        hears (``retro.context.ChunkRetrieval``; ``retro.generation`` joins an index)."""
        if retrieve is not None:
            kwargs["neighbours"] = self.retrieval(retrieve)
        written: Any = super()
        return written.generate(*args, **kwargs)

    def retrieval(self, retrieve: Retrieve, prompt_len: int | None = None) -> ChunkRetrieval:
        """Retrieval for one growing batch; ``prompt_len``: where a chunk ends, by default where
        the first tokens given do."""
        size = self.config.chunk_size
        return ChunkRetrieval(retrieve, self._encode, size, self.eos, prompt_len)

    def retrieved(
        self, retrieval: ChunkRetrieval, ids: Tensor, mask: Tensor | None, seen: int = 0
    ) -> NeighbourContext:
        """The neighbours that the positions from ``seen`` on of ``ids`` [B, n] hear; ``mask``
        [B, n] is 0 at padding."""
        conditioned = self.encoder.config.conditioning_size
        activations = (lambda: self.activations(ids, mask)) if conditioned else None
        return retrieval.context(ids, mask, seen, activations)

    def _encode(self, rows: Rows, querying: Querying) -> Tensor:
        """Encoder states [M, S, D] of the neighbours of chunks that retrieve by themselves."""
        chunk = None
        if querying.activations is not None:
            both = (querying.activations[:, None], querying.seen[:, None])
            chunk = Conditioning(*of_each_row(rows.place, len(rows.ids), *both))
        states: Tensor = self.encoder(rows.ids, rows.mask, rows.segments, chunk)
        return states

    def activations(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the encoder is conditioned on, [B, n, H]: the decoder's activations in the first
        layer with cross-attention, before it (no neighbour has been heard there)."""
        mask = torch.ones_like(ids) if mask is None else mask
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with self._reading(_Pass(None, 0, mask)) as now:
            self.base(ids, attention_mask=mask, position_ids=positions, logits_to_keep=1)
        assert now.activations is not None
        return now.activations

    # -- answers ---------------------------------------------------------------------------

    def score(
        self,
        prompt: Tensor,
        mask: Tensor,
        answer: Tensor,
        neighbours: NeighbourContext | None,
        *,
        following: bool = False,
    ) -> AnswerScores:
        """Log-probabilities of ``answer`` [B, T] (ended by ``eos``, padded by -1) after
        ``prompt`` [B, n] (left-padded, ``mask`` [B, n]), in one pass; with ``following`` those of
        every other token in its place too."""
        real = answer >= 0
        written = answer.clamp(min=0)
        ids = torch.cat([prompt, written[:, :-1]], 1)
        seen = torch.cat([mask, real[:, :-1].to(mask.dtype)], 1)
        positions = (seen.cumsum(1) - 1).clamp(min=0)
        keep = answer.shape[1]
        reading = _Pass.over(neighbours, 0, seen) if neighbours else None
        with self._reading(reading) if reading else nullcontext():
            out = self.base(
                input_ids=ids,
                attention_mask=seen,
                position_ids=positions,
                logits_to_keep=keep,
                use_cache=False,
            )
        hidden = reading.hidden if reading else None
        every = out.logits.float().log_softmax(-1)
        log_p = every.gather(2, written[..., None])[..., 0]
        zeros = torch.zeros_like(log_p)
        if neighbours is None or neighbours.copy is None or hidden is None:
            decoder = log_p.masked_fill(~real, 0.0)
            rest = (zeros + IMPOSSIBLE, zeros, real, every if following else None)
            return AnswerScores(decoder, decoder, *rest)
        copied, mass = neighbours.copy.targets(answer, self.eos)
        gate = torch.sigmoid(self.gate(hidden).float())[..., 0] * (mass > TINY)
        mixed = (gate * copied + (1 - gate) * log_p.exp() + TINY).log()
        if following:
            steps = range(answer.shape[1])
            others = [
                neighbours.copy.next_token(answer[:, :t], self.eos, len(every[0, 0]))[0]
                for t in steps
            ]
            weight = gate[..., None]
            every = (weight * torch.stack(others, 1) + (1 - weight) * every.exp() + TINY).log()
        copied = (copied + TINY).log()
        mixed, log_p, copied, gate = (
            t.masked_fill(~real, 0.0) for t in (mixed, log_p, copied, gate)
        )
        return AnswerScores(mixed, log_p, copied, gate, real, every if following else None)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        neighbours: NeighbourContext | ChunkRetrieval | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Adds the neighbours and the answer tokens written so far to the base's own inputs."""
        base: Any = self.base
        inputs: dict[str, Any] = base.prepare_inputs_for_generation(input_ids, **kwargs)
        if isinstance(neighbours, ChunkRetrieval):
            cache, mask = kwargs.get("past_key_values"), kwargs.get("attention_mask")
            seen = cache.get_seq_length() if cache is not None else 0
            inputs["neighbours"] = self.retrieved(neighbours, input_ids, mask, seen)
            inputs["written"] = input_ids
        elif neighbours is not None:
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


AutoConfig.register(RetroConfig.model_type, RetroConfig)
AutoModelForCausalLM.register(RetroConfig, RetroForCausalLM)
