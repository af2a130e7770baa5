"""The whole model against RETRO's Algorithm 1, written out chunk by chunk with no cleverness.

One sequence at a time, one neighbour at a time, one head at a time; only the base decoder's own
blocks (attention, feed-forward, norms) are called as they are.
"""

from __future__ import annotations

import math
from typing import Any

import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retro.attention import ChunkedCrossAttention
from retro.context import NeighbourContext
from retro.encoder import Conditioning
from retro.model import RetroForCausalLM
from retro.windows import Rows

Encoded = list[Tensor]
"""E_u: the encoded tokens [r, D] of each of a chunk's neighbours."""


def algorithm_1(made: RetroForCausalLM, x: Tensor, rows: Rows, place: Any) -> Tensor:
    """Logits [n, V] of the tokens x [n]; ``place``: the rows of every chunk's neighbours, RET(C_u).

    Lines 3 to 17 of the algorithm. P is ``cca_layers``; C_u = (x_{(u-1)m+1}, …, x_{um}).
    """
    m, n, decoder = made.config.chunk_size, len(x), made.base.model
    h = decoder.embed_tokens(x)[None]
    rotary = decoder.rotary_emb(h, torch.arange(n)[None])
    causal = torch.full((n, n), -torch.inf, dtype=h.dtype).triu(1)[None, None]
    e: list[Encoded] | None = None
    for p, layer in enumerate(decoder.layers):
        attended, _ = layer.self_attn(
            hidden_states=layer.input_layernorm(h),
            position_embeddings=rotary,
            attention_mask=causal,
        )
        h = h + attended
        if p in made.config.cca_layers:
            if e is None:  # p = min(P): the neighbours are encoded, conditioned on H_u
                chunks = [h[0, u * m : (u + 1) * m] for u in range(len(place))]
                e = [encode(made, rows, *both) for both in zip(place, chunks, strict=True)]
            h = h + chunked_cross_attention(made.cca[str(p)], h[0], e)
        h = h + layer.mlp(layer.post_attention_layernorm(h))
    return made.base.lm_head(decoder.norm(h))[0]


def encode(made: RetroForCausalLM, rows: Rows, neighbours: list[int], h: Tensor) -> Encoded:
    """ENCODER(RET(C_u)_j, H_u) for each neighbour j, as states of its decoder tokens."""
    out = []
    for j in (j for j in neighbours if j >= 0):
        ids, mask, segments = (getattr(rows, f)[j, None] for f in ("ids", "mask", "segments"))
        chunk = Conditioning(h[None], torch.ones(1, len(h), dtype=torch.bool))
        states = made.encoder(ids, mask, segments, chunk)[0]
        out.append(torch.stack([states[i] for i in rows.first[j][rows.tokens[j] >= 0]]))
    return out


def chunked_cross_attention(cca: ChunkedCrossAttention, h: Tensor, e: list[Encoded]) -> Tensor:
    """CCA(H, E) (section 2.4): H^+_u, the last token of C_u and all but the last of C_{u+1},
    attends to E_u; the last token of the last chunk to E_l; the first m - 1 to nothing."""
    m = cca.chunk_size
    out = torch.zeros_like(h)
    for u in range(1, len(e) + 1):
        for i in range(1, m + 1):
            at = u * m + i - 1  # counted from 1, as the paper does
            if at <= len(h) and e[u - 1]:
                out[at - 1] = cross_attention(cca, h[at - 1], i, e[u - 1])
    return out


def cross_attention(cca: ChunkedCrossAttention, h: Tensor, i: int, e: Encoded) -> Tensor:
    """CA(h_i, Y), Y = E_u flattened over neighbours and their tokens, with relative positions
    (Appendix B.1.2) between attending token i and token j of a neighbour."""
    width = len(h) // cca.num_heads
    h = h / torch.sqrt((h * h).mean() + cca.norm.eps) * cca.norm.weight
    parts = []
    for head in range(cca.num_heads):
        own = slice(head * width, (head + 1) * width)
        q = cca.query.weight[own] @ h
        logits, values = [], []
        for neighbour in e:
            for j, y in enumerate(neighbour, 1):
                k = cca.key_value.weight[: len(h)][own] @ y
                r = cca.distance.weight[own] @ wave(i - j, width).to(h)
                logits.append(q @ (k + r) / math.sqrt(width))
                values.append(cca.key_value.weight[len(h) :][own] @ y)
        weights = torch.stack(logits).softmax(0)
        parts.append(sum(w * v for w, v in zip(weights, values, strict=True)))
    return cca.out.weight @ torch.cat(parts)


def wave(distance: int, width: int) -> Tensor:
    """Sine and cosine of a distance at falling rates, side by side."""
    angles = [distance / 10_000 ** (pair / width) for pair in range(0, width, 2)]
    return torch.tensor([f(a) for a in angles for f in (math.sin, math.cos)])


def places(draw: torch.Generator, chunks: int, k: int) -> list[list[list[int]]]:
    """Two sequences' neighbours, some of them missing (never all of both)."""
    here = torch.rand(2, chunks, k, generator=draw) < 0.8
    here[0, 0, 0] = True
    numbers = (here.flatten().cumsum(0) - 1).view_as(here)
    return numbers.masked_fill(~here, -1).tolist()


@torch.no_grad()
@settings(max_examples=12)
@given(
    chunks=st.integers(1, 3),
    rest=st.integers(0, 4),
    m=st.integers(1, 5),
    k=st.integers(1, 3),
    r=st.integers(2, 6),
    conditioned=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_model_computes_algorithm_1(
    chunks: int, rest: int, m: int, k: int, r: int, conditioned: bool, seed: int
) -> None:
    """Two sequences of whole chunks and a part of one, in a batch, both kinds of encoder."""
    width = 32 if conditioned else 0
    made = tiny.model(
        seed=seed,
        chunk_size=m,
        cca_layers=[[0, 1], [1]][seed % 2],
        encoder={"conditioning_size": width},
    ).double()
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 400, (2, chunks * m + rest % m), generator=draw)
    place = places(draw, chunks, k)
    rows = tiny.rows(place, width=r, seed=seed)
    context = NeighbourContext(rows)
    if not conditioned and chunks == 1:  # one chunk alone would be read as a question's
        context.encoded = _as_text(made, rows)
    found = made(tokens, neighbours=context).logits
    for b in range(2):
        expected = algorithm_1(made, tokens[b], rows, place[b])
        torch.testing.assert_close(found[b], expected, rtol=1e-4, atol=1e-5)


def _as_text(made: RetroForCausalLM, rows: Rows) -> Any:
    from retro.context import arranged

    return arranged(made.encoder(rows.ids, rows.mask, rows.segments), rows, None)
