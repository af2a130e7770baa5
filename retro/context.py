"""The neighbours of a batch on their way through the model, given beforehand or found on the way.

Knows rows, encoded states and a callable that retrieves; knows no decoder, no text and no index.

Axes: B sequences, n positions, m chunk size, L chunks, K neighbours, R tokens of a neighbour,
N = K * R, M packed neighbour rows, C chunks that retrieve together, D encoder width, H decoder
width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from retro.attention import EncodedNeighbours
from retro.copying import CopyTables
from retro.reader import SpanPosterior
from retro.windows import Rows

Chunk = tuple[int, ...]
"""Tokens of one chunk, at most m."""

Retrieve = Callable[[Sequence[Chunk]], Rows]
"""What finds neighbours: C chunks -> rows whose ``place`` is [C, 1, K]."""


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

    def likeliest(self, num: int) -> list[list[int]] | None:
        """Decoder tokens of each question's ``num`` neighbours that most probably hold the answer,
        joined, the likeliest last; None where none are wanted."""
        if not num:
            return None
        assert self.spans is not None
        k = self.spans.num_neighbours
        mass = self.spans.log_spans.exp().flatten(1).unflatten(1, (k, -1)).sum(2)
        tokens = self.spans.tokens.unflatten(1, (k, -1)).cpu()
        order = mass.topk(min(num, k)).indices.flip(1).cpu()
        rows = [tokens[b, chosen].flatten().tolist() for b, chosen in enumerate(order)]
        return [[token for token in row if token >= 0] for row in rows]

    def select(self, index: Tensor) -> NeighbourContext:
        """The context of the sequences ``index``, sharing what was encoded."""
        picked = NeighbourContext(self.rows, self.first, self.prompt_len)
        picked.encoded = self.encoded.select(index) if self.encoded else None
        picked.spans = self.spans.select(index) if self.spans else None
        if self.copy is not None:
            picked.copy = CopyTables(*(t[index] for t in vars(self.copy).values()))
        return picked


def arranged(states: Tensor, rows: Rows, spans: SpanPosterior | None) -> EncodedNeighbours:
    """Encoder states [M, S, D] as the decoder's tokens of each chunk's neighbours, [B, L, N, D]."""
    batch, count, num = rows.place.shape
    width = rows.tokens.shape[1]
    if states.shape[0] == 0:
        states = states.new_zeros(1, max(1, rows.ids.shape[1]), states.shape[2])
        rows = _one_empty_row(rows)
    aligned = states.gather(1, rows.first[..., None].expand(-1, -1, states.shape[-1]))
    here = rows.place >= 0
    index = rows.place.clamp(min=0)
    tokens = rows.tokens[index].masked_fill(~here[..., None], -1)
    bias = aligned.new_zeros(batch, count, num * width)
    if spans is not None:
        bias = (spans.token_mass() + 1e-4).log().to(aligned.dtype)[:, None]
    return EncodedNeighbours(aligned[index].flatten(2, 3), tokens.flatten(2), bias, width)


def _one_empty_row(rows: Rows) -> Rows:
    size = rows.tokens.shape[1]
    blank = {"tokens": rows.tokens.new_full((1, size), -1), "first": rows.first.new_zeros(1, size)}
    return Rows(**(vars(rows) | blank))


def of_each_row(place: Tensor, count: int, *of_chunks: Tensor) -> list[Tensor]:
    """What belongs to the chunks, [B, L, …] each, as what belongs to their neighbours' ``count``
    rows, [M, …]. No number is read back from a GPU, and a compiler sees one graph."""
    number = torch.arange(place.shape[0] * place.shape[1], device=place.device)
    row = place.where(place >= 0, count).flatten()  # what has no row goes to one behind the last
    owner = number.new_zeros(count + 1)
    owner = owner.scatter(0, row, number.repeat_interleave(place.shape[2]))
    return [each.flatten(0, 1)[owner[:count]] for each in of_chunks]


def in_chunks(x: Tensor, first: int, size: int, count: int) -> Tensor:
    """The first ``count`` chunks of x [B, n, …], whose first token stands at ``first`` of its
    chunk -> [B, count, size, …]; zeros where a chunk has no token."""
    out = x.new_zeros(x.shape[0], count * size, *x.shape[2:])
    part = x[:, : count * size - first]
    out[:, first : first + part.shape[1]] = part
    chunks: Tensor = out.unflatten(1, (count, size))
    return chunks


def chunks_of(prompt: Sequence[int], written: Sequence[int], size: int) -> list[Chunk]:
    """The chunks of one growing text that retrieve. The prompt's last token closes one, so the
    first may be short; what does not fill the last is left out."""
    tokens, begin = [*prompt, *written], -(-len(prompt) % size)
    cuts = range(begin, len(tokens) - size + 1, size)
    return [tuple(tokens[max(0, a) : a + size]) for a in cuts]


@dataclass(frozen=True)
class Querying:
    """The chunks that retrieve now: their tokens ``ids`` and which are real, ``seen``, both
    [C, m]; for encoders that are conditioned on them, their decoder ``activations`` [C, m, H]."""

    ids: Tensor
    seen: Tensor
    activations: Tensor | None

    def chunks(self) -> list[Chunk]:
        """The real tokens of each."""
        rows = zip(self.ids.tolist(), self.seen.tolist(), strict=True)
        return [tuple(t for t, real in zip(*row, strict=True) if real) for row in rows]


Encode = Callable[[Rows, Querying], Tensor]
"""Rows of neighbours and what queried them -> encoder states [M, S, D]."""


@dataclass(frozen=True)
class _Encoded:
    """One chunk's neighbours: ``states`` [K, R, D], ``tokens`` [K, R]."""

    states: Tensor
    tokens: Tensor


class ChunkRetrieval:
    """Finds neighbours while a text grows: each complete chunk is the query for the next one.

    Chunks are counted so that the prompt's last token closes one, as a question does: then the
    first token written hears what its prompt retrieved, and a prompt means the same in any batch.
    A first chunk may be shorter than m; one of padding alone retrieves nothing, and nor does what
    is written behind an end token.

    Nothing here depends on the order of sequences: a chunk's neighbours are kept by the tokens
    that led to its end, so beams may be reordered, and each neighbour is encoded once.
    """

    def __init__(
        self,
        retrieve: Retrieve,
        encode: Encode,
        chunk_size: int,
        eos: int,
        prompt_len: int | None = None,
    ) -> None:
        self.retrieve, self.encode, self.chunk_size, self.eos = retrieve, encode, chunk_size, eos
        self.prompt_len = prompt_len
        self._kept: dict[Chunk, _Encoded] = {}
        self._last: tuple[int, Tensor, NeighbourContext] | None = None

    @property
    def first(self) -> int:
        """Where in its chunk the prompt's first token stands."""
        assert self.prompt_len is not None
        return -self.prompt_len % self.chunk_size

    def context(
        self,
        ids: Tensor,
        mask: Tensor | None,
        seen: int,
        activations: Callable[[], Tensor] | None = None,
    ) -> NeighbourContext:
        """The neighbours that the positions from ``seen`` on of ``ids`` [B, n] hear.

        ``mask`` [B, n]: 0 at padding. ``activations``: gives [B, n, H], called when a chunk
        that is complete retrieves and the encoder is conditioned by them.
        """
        if self.prompt_len is None:
            self.prompt_len = ids.shape[1]
        m = self.chunk_size
        begin = max(0, (self.first + seen - (m - 1)) // m)  # the first chunk that is still heard
        end = (self.first + ids.shape[1]) // m
        known = ids[:, : end * m - self.first]
        if self._last is None or self._last[0] != begin or not torch.equal(self._last[1], known):
            real = self._real(known, mask)
            self._find(known, real, range(begin, end), activations)
            encoded = self._gathered(known, real, range(begin, end))
            made = NeighbourContext(_NO_ROWS, self.first - begin * m, encoded=encoded)
            self._last = (begin, known.clone(), made)
        return self._last[2]

    def _real(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """[B, n]: neither padding nor behind an end token that was written."""
        assert self.prompt_len is not None
        real = torch.ones_like(ids, dtype=torch.bool)
        if mask is not None:
            real &= mask[:, : ids.shape[1]] > 0
        ended = (ids == self.eos).cumsum(1)
        before = ended[:, self.prompt_len - 1 : self.prompt_len]
        real[:, self.prompt_len :] &= (ended == before)[:, self.prompt_len :]
        return real

    def _key(self, ids: Tensor, real: Tensor, chunk: int) -> Chunk | None:
        """The real tokens up to the end of a chunk; None if the chunk itself has none."""
        begin, end = (u * self.chunk_size - self.first for u in (chunk, chunk + 1))
        if not real[max(0, begin) : end].any():
            return None
        return tuple(ids[:end][real[:end]].tolist())

    def _find(
        self,
        ids: Tensor,
        real: Tensor,
        chunks: range,
        activations: Callable[[], Tensor] | None,
    ) -> None:
        """Retrieves and encodes what ``chunks`` of the sequences want and is not kept yet."""
        wanted: dict[Chunk, tuple[int, int]] = {}
        for b in range(ids.shape[0]):
            for u in chunks:
                key = self._key(ids[b], real[b], u)
                if key is not None and key not in self._kept:
                    wanted.setdefault(key, (b, u))
        if not wanted:
            return
        rows_, columns = torch.tensor(list(wanted.values()), device=ids.device).T

        def queried(x: Tensor) -> Tensor:
            return in_chunks(x, self.first, self.chunk_size, chunks.stop)[rows_, columns]

        h = queried(activations()) if activations is not None else None
        querying = Querying(queried(ids), queried(real), h)
        found = self.retrieve(querying.chunks()).to(ids.device)
        encoded = arranged(self.encode(found, querying), found, None)
        shape = (-1, encoded.neighbour_len)
        for key, states, tokens in zip(wanted, encoded.states, encoded.tokens, strict=True):
            parts = (part[0].unflatten(0, shape) for part in (states, tokens))
            self._kept[key] = _Encoded(*parts)

    def _gathered(self, ids: Tensor, real: Tensor, chunks: range) -> EncodedNeighbours:
        """What is kept for ``chunks`` of the sequences, as one batch."""
        grid = [[self._key(ids[b], real[b], u) for u in chunks] for b in range(ids.shape[0])]
        like = next(iter(self._kept.values()))
        held = [self._kept[key] for row in grid for key in row if key is not None] or [like]
        num, width = (max(e.tokens.shape[axis] for e in held) for axis in (0, 1))
        shape = (len(grid), len(chunks), num, width)
        states = like.states.new_zeros(*shape, like.states.shape[-1])
        tokens = like.tokens.new_full(shape, -1)
        for b, row in enumerate(grid):
            for u, key in enumerate(row):
                if key is not None:
                    one = self._kept[key]
                    k, r = one.tokens.shape
                    states[b, u, :k, :r], tokens[b, u, :k, :r] = one.states, one.tokens
        states, tokens = states.flatten(2, 3), tokens.flatten(2)
        return EncodedNeighbours(states, tokens, states.new_zeros(tokens.shape), width)


_E = torch.empty(0, 0)
_NO_ROWS = Rows(_E, _E, _E, _E, _E, _E, _E, _E, _E, place=torch.empty(0, 0, 0))
