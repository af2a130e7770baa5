"""The configuration of a RETRO model: a base decoder, a neighbour encoder and what joins them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from retro.encoder import EncoderConfig


class RetroConfig(PretrainedConfig):
    """Configuration of ``RetroForCausalLM``.

    Args:
        base: the decoder's own configuration as a dict (any supported Hugging Face family).
        encoder: fields of ``EncoderConfig``.
        cca_layers: decoder layers (from 0) that get chunked cross-attention. RETRO puts it in
            every third layer from the sixth (Borgeaud et al. 2021, §2.4).
        chunk_size: tokens m of a chunk.
        num_neighbours: neighbours k used by default.
        num_read: of the neighbours found for a question, how many are read to answer it: those
            that likeliest hold it (``retro.ranking``). A head is fitted for one number.
        neighbour_len: tokens r of a neighbour, its continuation included.
        cca_dropout: dropout on what cross-attention adds, one mask a sequence.
        max_span: longest answer the span reader proposes, in decoder tokens.
        copy_head: whether next-token probabilities are mixed with a copy distribution.
        pointer: whether text may be copied from its neighbours (``retro.pointer``).
        context_neighbours: how many neighbours of a question also stand in the decoder's own
            context, before it, those likeliest to hold the answer (RETRO++, Wang et al. 2023,
            arXiv 2304.06762); 0: none.
        prior_weight: how much what search says of a neighbour (``retro.ranking``)
            counts when its answers are weighed against those of the others; 0: nothing.
        dropout_layers: top encoder layers that are rerun under Monte-Carlo dropout.
        base_name, base_hash: where the frozen base weights come from, and what they are
            (``index.weights.tensors_sha256``).
        base_training: what of the base a checkpoint holds: nothing (``frozen``), low-rank
            adapters (``lora``, of ``lora_rank``) or all of it (``full``).
        encoder_name: where the encoder's frozen embeddings come from.
    """

    model_type = "retro"

    def __init__(
        self,
        base: dict[str, Any] | None = None,
        encoder: dict[str, Any] | None = None,
        cca_layers: Sequence[int] = (),
        chunk_size: int = 64,
        num_neighbours: int = 8,
        num_read: int = 6,
        neighbour_len: int = 128,
        cca_dropout: float = 0.1,
        max_span: int = 32,
        copy_head: bool = True,
        pointer: bool = False,
        context_neighbours: int = 0,
        prior_weight: float = 0.0,
        dropout_layers: int = 1,
        base_name: str | None = None,
        base_hash: str | None = None,
        encoder_name: str | None = None,
        base_training: str = "frozen",
        lora_rank: int = 16,
        **kwargs: Any,
    ) -> None:
        self.base = base or {}
        self.encoder = encoder or {}
        self.cca_layers = list(cca_layers)
        self.chunk_size = chunk_size
        self.num_neighbours, self.num_read = num_neighbours, num_read
        self.neighbour_len = neighbour_len
        self.cca_dropout = cca_dropout
        self.max_span = max_span
        self.copy_head, self.pointer = copy_head, pointer
        self.context_neighbours = context_neighbours
        self.prior_weight = prior_weight
        self.dropout_layers = dropout_layers
        self.base_name, self.base_hash = base_name, base_hash
        self.encoder_name = encoder_name
        self.base_training, self.lora_rank = base_training, lora_rank
        super().__init__(**kwargs)

    def base_config(self) -> PretrainedConfig:
        """The decoder's configuration as its own class."""
        return AutoConfig.for_model(**self.base)

    def encoder_config(self) -> EncoderConfig:
        """The encoder's configuration."""
        return EncoderConfig(**self.encoder)

    def get_text_config(self, *_: Any, **__: Any) -> PretrainedConfig:
        """The decoder's configuration: what generation needs to size its cache."""
        return self.base_config() if self.base else self


def default_cca_layers(num_layers: int) -> list[int]:
    """Every third layer from the sixth, counted from 1 (RETRO §2.4); short decoders: the top."""
    layers = list(range(5, num_layers, 3))
    return layers or [num_layers - 1]
