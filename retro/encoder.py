"""The neighbour encoder: a small bidirectional transformer over retrieved tokens.

Knows token ids of its own vocabulary and, optionally, the decoder activations of the querying
chunk; knows nothing of the decoder, the index or text.

Axes: M rows (one neighbour of one querying chunk each), S encoder tokens, D encoder width,
m tokens of the querying chunk, H decoder width, T dropout samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from index.errors import UserError

GROUP = 3
"""Rows that a CPU encodes together: few, so that what is between two products stays in its cache,
and those of like length."""

FAMILIES = ("bert", "mpnet")
"""Pretrained encoders that can be taken: post-norm, with learned positions."""

MPNET_POSITIONS = 2
"""MPNet counts positions from here on, as RoBERTa does."""

LORA_SCALE = 2.0
"""What an adapter adds is multiplied by this (alpha is twice the rank)."""


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of the neighbour encoder; the field names are BERT's. Lengths are in tokens."""

    vocab_size: int = 30522
    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    """0: rows have no segments (MPNet)."""
    relative_attention_num_buckets: int = 0
    """Buckets of the position bias that all layers share (MPNet); 0 = none (BERT)."""
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    dropout: float = 0.1
    dropout_from: int = 0
    """The first layer with dropout: none is needed below those that Monte-Carlo dropout reruns."""
    conditioning_size: int = 0
    """Width of the decoder activations that every layer attends to; 0 = by text alone."""
    lora_rank: int = 0
    """Rank of the adapters that learn in place of the pretrained weights; 0 = these learn."""
    lora_from: int = 0
    """The first layer with adapters: those below need no backward pass."""

    @classmethod
    def of_pretrained(cls, config: dict[str, Any], **changes: Any) -> EncoderConfig:
        """The shape that the ``config.json`` of a pretrained BERT or MPNet tells, with changes.

        Raises:
            UserError: the weights are of another family, or have fewer layers than are asked for.
        """
        family = config.get("model_type")
        if family not in FAMILIES:
            raise UserError(
                f"encoder of type {family}: only {' and '.join(FAMILIES)} can read neighbours; "
                "for another, add its names to retro/encoder.py"
            )
        fields = {k: v for k, v in config.items() if k in asdict(cls())}
        if family == "mpnet":
            positions = fields["max_position_embeddings"] - MPNET_POSITIONS
            fields |= {"type_vocab_size": 0, "max_position_embeddings": positions}
        pretrained, made = cls(**fields), cls(**(fields | changes))
        if made.num_hidden_layers > pretrained.num_hidden_layers:
            raise UserError(
                f"{made.num_hidden_layers} encoder layers were asked for, the pretrained encoder "
                f"has {pretrained.num_hidden_layers}: ask for no more"
            )
        return made


class TokenSharedDropout(nn.Module):
    """Dropout with one mask per row, shared by all of its tokens (Gal & Ghahramani 2016, §4).

    A mask of [M, 1, D] instead of [M, S, D]: on a CPU drawing the random numbers of ordinary
    dropout costs more than the matrix products between which it stands.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [M, S, D]; mask [M or 1, 1, D] already scaled, or None to draw one in training."""
        if mask is None:
            if not self.training or self.p == 0:
                return x
            mask = draw_mask((x.shape[0], 1, x.shape[2]), self.p, None, x)
        return x * mask


def draw_mask(
    shape: Sequence[int], p: float, generator: torch.Generator | None, like: Tensor
) -> Tensor:
    """A scaled Bernoulli mask (0 or 1/(1-p)), drawn where the generator lives if one is given."""
    device = like.device if generator is None else generator.device
    sizes = tuple(shape)
    if generator is None:
        keep = torch.rand(sizes, device=device) >= p
    else:
        keep = torch.rand(sizes, generator=generator, device=device) >= p
    return (keep.to(like.dtype) / (1 - p)).to(like.device)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention over [M, heads, S, E]; ``bias`` [M, heads or 1, S or 1, S] is added to its logits.

    On a CPU plain batched products: the backward pass of the fused kernel takes seven times as
    long there (0.20 s against 0.03 s for 32 rows of 150 tokens and 12 heads in bf16).
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    rows, heads, size, width = q.shape
    q, k, v = (t.reshape(rows * heads, -1, width) for t in (q * width**-0.5, k, v))
    bias = bias.expand(rows, heads, size, -1).reshape(rows * heads, size, -1)
    weights = torch.baddbmm(bias, q, k.transpose(1, 2)).softmax(-1)
    return (weights @ v).view(rows, heads, size, width)


class Adapted(nn.Linear):
    """A linear layer with a low-rank adapter beside it (Hu et al. 2021, §4.1): W x + s B A x.

    B starts at zero, so that a pretrained layer starts unchanged. Rank 0: a linear layer.
    """

    def __init__(self, width_in: int, width_out: int, rank: int) -> None:
        super().__init__(width_in, width_out)
        self.rank = rank
        if rank:
            self.lora_a = nn.Parameter(torch.empty(rank, width_in))
            self.lora_b = nn.Parameter(torch.zeros(width_out, rank))
            nn.init.uniform_(self.lora_a, -(width_in**-0.5), width_in**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        y = super().forward(x)
        if not self.rank:
            return y
        low = F.linear(x, self.lora_a).flatten(0, -2)
        added = torch.addmm(y.flatten(0, -2), low, LORA_SCALE * self.lora_b.T)
        return added.view(y.shape)

    @torch.no_grad()
    def fold(self) -> None:
        """Adds the adapter to the weight it stands beside: the same layer, with less to compute."""
        if self.rank:
            added = LORA_SCALE * self.lora_b.float() @ self.lora_a.float()
            self.weight.copy_(self.weight.float() + added)
            del self.lora_a, self.lora_b
            self.rank = 0


class SelfAttention(nn.Module):
    """Bidirectional multi-head self-attention with fused projections."""

    def __init__(self, config: EncoderConfig, rank: int) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.qkv = Adapted(config.hidden_size, 3 * config.hidden_size, rank)
        self.out = Adapted(config.hidden_size, config.hidden_size, rank)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [M, S, D], ``bias`` as ``attend`` takes it -> [M, S, D]."""
        rows, size, width = x.shape
        qkv = self.qkv(x).view(rows, size, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        y = attend(qkv[0], qkv[1], qkv[2], bias)
        out: Tensor = self.out(y.transpose(1, 2).reshape(rows, size, width))
        return out


@dataclass(frozen=True)
class Conditioning:
    """The querying chunk of each row: its decoder ``activations`` [M, m, H] and which of its
    tokens are real, ``seen`` [M, m] (padding, and what a short chunk lacks, is not)."""

    activations: Tensor
    seen: Tensor


class ConditioningAttention(nn.Module):
    """Cross-attention to the querying chunk's decoder activations H_u (RETRO §2.4, Algorithm 1).

    Its output projection starts at zero, so that a pretrained encoder starts unchanged.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(config.conditioning_size, 2 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, chunk: Conditioning) -> Tensor:
        """x [M, S, D] -> [M, S, D]."""
        heads = (self.num_heads, -1)
        q = self.query(self.norm(x)).unflatten(-1, heads).transpose(1, 2)
        k, v = self.key_value(chunk.activations).chunk(2, dim=-1)
        k, v = (t.unflatten(-1, heads).transpose(1, 2) for t in (k, v))
        # Finite, so that a chunk of which nothing is seen gives no NaN.
        hidden = q.new_zeros(chunk.seen.shape).masked_fill(~chunk.seen, -1e4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=hidden[:, None, None])
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


class EncoderLayer(nn.Module):
    """A post-norm BERT layer, with conditioning attention before the feed-forward if configured.

    ``number``: which layer it is, from 0; those of the top have dropout and adapters.
    """

    num_dropouts = 2

    def __init__(self, config: EncoderConfig, number: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        rank = config.lora_rank if number >= config.lora_from else 0
        self.attention = SelfAttention(config, rank)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.conditioning = ConditioningAttention(config) if config.conditioning_size else None
        self.up = Adapted(width, config.intermediate_size, rank)
        self.down = Adapted(config.intermediate_size, width, rank)
        self.output_norm = nn.LayerNorm(width, eps=eps)
        dropped = number >= config.dropout_from
        self.dropout = TokenSharedDropout(config.dropout if dropped else 0.0)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        chunk: Conditioning | None = None,
        dropout_masks: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """x [M, S, D] -> [M, S, D]; ``bias`` as ``attend`` takes it; ``dropout_masks``: one
        [M or 1, 1, D] per dropout site."""
        return self.finish(x, self.attention(x, bias), chunk, dropout_masks)

    def finish(
        self,
        x: Tensor,
        attended: Tensor,
        chunk: Conditioning | None = None,
        dropout_masks: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """All that follows self-attention: x and what it gave for x, [M, S, D] -> [M, S, D]."""
        first, second = dropout_masks if dropout_masks is not None else (None, None)
        x = self.attention_norm(x + self.dropout(attended, first))
        if self.conditioning is not None and chunk is not None:
            x = x + self.conditioning(x, chunk)
        y = self.down(F.gelu(self.up(x)))
        out: Tensor = self.output_norm(x + self.dropout(y, second))
        return out


class NeighbourEncoder(nn.Module):
    """Encodes neighbours, each row by itself, conditioned on the chunk that retrieved it.

    Conditioning is by text (the query's tokens stand in the row, before the neighbour's) and,
    with ``conditioning_size``, by cross-attention to the decoder's activations as in the paper.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        kinds, buckets = config.type_vocab_size, config.relative_attention_num_buckets
        self.segments = nn.Embedding(kinds, width) if kinds else None
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(
            EncoderLayer(config, number) for number in range(config.num_hidden_layers)
        )
        self.distances = nn.Embedding(buckets, config.num_attention_heads) if buckets else None

    def fold(self) -> None:
        """Folds all adapters into the weights (``Adapted.fold``)."""
        for module in self.modules():
            if isinstance(module, Adapted):
                module.fold()
        self.config = replace(self.config, lora_rank=0, lora_from=0)

    def embed(self, ids: Tensor, segments: Tensor) -> Tensor:
        """ids, segments [M, S] -> [M, S, D]."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.positions(positions)
        if self.segments is not None:
            x = x + self.segments(segments)
        out: Tensor = self.norm(x)
        return out

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        segments: Tensor,
        chunk: Conditioning | None = None,
    ) -> Tensor:
        """ids, mask, segments [M, S] -> states [M, S, D].

        ``mask`` is True at real tokens. ``chunk``: the querying chunk, heard if so configured.
        """
        return self.run(self.embed(ids, segments), mask, chunk)

    def run(
        self,
        x: Tensor,
        mask: Tensor,
        chunk: Conditioning | None = None,
        first: int = 0,
        last: int | None = None,
    ) -> Tensor:
        """Takes states [M, S, D] through the layers from ``first`` to before ``last``."""
        if x.shape[0] == 0:
            return x
        bias = self.bias(mask, x.dtype)
        for layer in self.layers[first:last]:
            x = layer(x, bias, chunk)
        return x

    def bias(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """What attention adds to its logits in every layer, [M, heads or 1, S or 1, S]: padding
        (False in ``mask`` [M, S]) is not seen, and with MPNet distance counts."""
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        bias = bias.masked_fill(~mask, torch.finfo(dtype).min)[:, None, None]
        if self.distances is None:
            return bias
        places = torch.arange(mask.shape[1], device=mask.device)
        buckets = distance_buckets(places - places[:, None], self.distances.num_embeddings)
        near: Tensor = self.distances(buckets).permute(2, 0, 1)
        return (bias + near).clamp(min=torch.finfo(dtype).min)

    def run_by_length(
        self, x: Tensor, mask: Tensor, first: int = 0, last: int | None = None
    ) -> Tensor:
        """``run``; on a CPU rows of like length together, cut to it: their padding costs no time.
        Rows are padded at their end; states of padding are undefined."""
        if x.device.type != "cpu":
            return self.run(x, mask, first=first, last=last)
        out = torch.zeros_like(x)
        lengths = mask.sum(1)
        for rows in lengths.argsort(stable=True).split(GROUP):
            size = int(lengths[rows].max()) if len(rows) else 0
            out[rows, :size] = self.run(x[rows, :size], mask[rows, :size], first=first, last=last)
        return out

    def suffix_samples(
        self,
        x: Tensor,
        mask: Tensor,
        first_layer: int,
        num_samples: int,
        generator: torch.Generator,
    ) -> Tensor:
        """Runs the layers from ``first_layer`` up under ``num_samples`` dropout masks.

        x [M, S, D]: states below ``first_layer``, computed once. Every sample draws one mask a
        dropout site, shared by all rows and tokens, from ``generator`` (a CPU generator: the
        same seed gives the same masks on any device). Returns [T, M, S, D].
        """
        rows, shape = x.shape[0], (num_samples, 1, x.shape[2])
        bias = self.bias(mask, x.dtype)
        for number, layer in enumerate(self.layers[first_layer:]):
            assert isinstance(layer, EncoderLayer)
            # Before the first mask all samples are alike: attention is computed once for all.
            attended = layer.attention(x, bias)
            if number == 0:
                x, attended = (t.repeat(num_samples, 1, 1) for t in (x, attended))
                bias = bias.repeat(num_samples, 1, 1, 1)
            drawn = [
                draw_mask(shape, self.config.dropout, generator, x).repeat_interleave(rows, 0)
                for _ in range(EncoderLayer.num_dropouts)
            ]
            size = GROUP if x.device.type == "cpu" else len(x)
            parts = zip(*(t.split(size) for t in (x, attended, *drawn)), strict=True)
            x = torch.cat([layer.finish(y, given, None, masks) for y, given, *masks in parts])
        return x.view(num_samples, rows, *x.shape[1:])


def distance_buckets(distance: Tensor, buckets: int, longest: int = 128) -> Tensor:
    """Buckets of relative positions: half of them a side, of these half exact and half
    logarithmic up to ``longest`` (Raffel et al. 2020, §2.1; MPNet takes them over)."""
    side = buckets // 2
    exact = side // 2
    far = distance.abs()
    spread = torch.log(far.clamp(min=1).float() / exact) / math.log(longest / exact)
    coarse = (exact + (spread * (side - exact)).long()).clamp(max=side - 1)
    return torch.where(far < exact, far, coarse) + side * (distance > 0)


def pretrained_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A BERT or MPNet state dict (Hugging Face names, with or without the family's name before
    them) in this encoder's names."""
    state = {k.removeprefix("bert.").removeprefix("mpnet."): v for k, v in state.items()}
    out = {
        "tokens.weight": state["embeddings.word_embeddings.weight"],
        "positions.weight": state["embeddings.position_embeddings.weight"],
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    own = BERT_ATTENTION
    if "encoder.relative_attention_bias.weight" in state:
        own = MPNET_ATTENTION
        out["distances.weight"] = state["encoder.relative_attention_bias.weight"]
        out["positions.weight"] = out["positions.weight"][MPNET_POSITIONS:]
    else:
        out["segments.weight"] = state["embeddings.token_type_embeddings.weight"]
    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in state:
        out |= _layer_state(state, own, f"encoder.layer.{layer}.", f"layers.{layer}.")
        layer += 1
    return out


BERT_ATTENTION = (
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    "attention.output.LayerNorm",
)
MPNET_ATTENTION = (
    ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
    "attention.attn.o",
    "attention.LayerNorm",
)
"""What a family calls the projections, the output and the norm of its attention."""


def _layer_state(
    state: dict[str, Tensor],
    attention: tuple[tuple[str, str, str], str, str],
    old: str,
    new: str,
) -> dict[str, Tensor]:
    projections, output, norm = attention
    names = {
        "attention.out": output,
        "attention_norm": norm,
        "up": "intermediate.dense",
        "down": "output.dense",
        "output_norm": "output.LayerNorm",
    }
    out = {}
    for part in ("weight", "bias"):
        qkv = [state[f"{old}{name}.{part}"] for name in projections]
        out[f"{new}attention.qkv.{part}"] = torch.cat(qkv)
        out |= {f"{new}{k}.{part}": state[f"{old}{v}.{part}"] for k, v in names.items()}
    return out
