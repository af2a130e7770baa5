"""From text to the reader's rows: neighbours tokenised twice and aligned by character offsets.

A neighbour is read by the encoder in the encoder's vocabulary and copied from in the decoder's.
This file knows both tokenizers and how their tokens overlap; it knows no model.

Axes: M rows, S encoder tokens, R decoder tokens of a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Ints = np.ndarray[Any, np.dtype[np.int32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

BERT_MARKS, ROBERTA_MARKS = ("[CLS]", "[SEP]", "[PAD]"), ("<s>", "</s>", "<pad>")
"""What begins a row, ends a part of it and fills it up; MPNet has the latter."""

MAX_QUESTION = 48
MAX_CHUNK = 96
MAX_TITLE = 32
MAX_NEIGHBOUR = 220
"""Encoder tokens kept of a question, a chunk of text, a title (its last ones: what names a section
stands there) and a neighbour."""


@dataclass(frozen=True)
class Window:
    """One neighbour [N, F], tokenised for the encoder and the decoder.

    ``title_ids``, ``encoder_ids``: encoder tokens. ``tokens`` [R]: decoder tokens, with their
    characters ``starts``, ``ends`` [R] in the window's text. ``first``, ``last`` [R]: the first
    and last encoder token that a decoder token overlaps. ``may_start``, ``may_end`` [R]: whether
    an answer may begin / end there (never inside an encoder token).
    """

    title_ids: Ints
    encoder_ids: Ints
    tokens: Ints
    starts: Ints
    ends: Ints
    first: Ints
    last: Ints
    may_start: Bools
    may_end: Bools

    def span_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Decoder tokens (first, last) covering characters [start, end), or None."""
        if not len(self.ends) or end > self.ends[-1]:
            return None  # beyond the text, or beyond what was kept of it
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, end, side="left")) - 1
        if not 0 <= first <= last < len(self.tokens) or self.starts[first] > start:
            return None
        while first > 0 and not self.may_start[first]:
            first -= 1
        while last < len(self.tokens) - 1 and not self.may_end[last]:
            last += 1
        return (first, last) if self.may_start[first] and self.may_end[last] else None


@dataclass(frozen=True)
class Rows:
    """A batch for the neighbour encoder: M packed rows, and where each belongs.

    ``ids, mask, segments`` [M, S]; ``tokens`` [M, R] decoder ids (-1 = none); ``first, last``
    [M, R] encoder positions; ``may_start, may_end`` [M, R]; ``prior`` [M]: what is known of a row
    before it is read, added to the logits of its spans; ``place`` [B, L, K]: the row of neighbour
    k of chunk l of sequence b, -1 where there is none.
    """

    ids: Tensor
    mask: Tensor
    segments: Tensor
    tokens: Tensor
    first: Tensor
    last: Tensor
    may_start: Tensor
    may_end: Tensor
    prior: Tensor
    place: Tensor

    def to(self, device: torch.device | str) -> Rows:
        """The same rows on another device; a GPU is not waited for if the memory is pinned."""
        ahead = torch.device(device).type == "cuda"  # the other way the values would come too late
        moved = {name: value.to(device, non_blocking=ahead) for name, value in vars(self).items()}
        return Rows(**moved)

    def pinned(self) -> Rows:
        """The same rows in memory that a GPU can copy from by itself."""
        return Rows(**{name: value.pin_memory() for name, value in vars(self).items()})


class Windower:
    """Makes windows and rows with a fast encoder tokenizer and a fast decoder tokenizer."""

    def __init__(self, encoder_tokenizer: Any, decoder_tokenizer: Any) -> None:
        self.encoder = encoder_tokenizer
        self.decoder = decoder_tokenizer
        ids = encoder_tokenizer.get_vocab()
        names = BERT_MARKS if BERT_MARKS[0] in ids else ROBERTA_MARKS
        self.cls, self.sep, self.pad = (ids.get(t, 0) for t in names)

    def is_word(self, word: str) -> bool:
        """Whether the encoder's vocabulary holds it whole: rarer words come in pieces."""
        pieces = self.encoder.tokenize(f" {word}")
        return [piece.lstrip("Ġ▁") for piece in pieces] == [word]

    def question(self, text: str) -> Ints:
        """Encoder tokens of a question, the first ``MAX_QUESTION``."""
        return self._ids([text])[0][:MAX_QUESTION]

    def chunk(self, text: str) -> Ints:
        """Encoder tokens of a chunk that retrieves: the last ``MAX_CHUNK``, nearest to what will be
        written."""
        return self._ids([text])[0][-MAX_CHUNK:]

    def windows(self, texts: Sequence[str], titles: Sequence[str]) -> list[Window]:
        """One window a text; tokens beyond ``MAX_NEIGHBOUR`` encoder tokens are cut."""
        if not texts:
            return []
        encoded = self.encoder(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        decoded = self.decoder(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        title_ids = self._ids(titles)
        return [
            _align(
                text,
                title_ids[i][-MAX_TITLE:],
                (encoded["input_ids"][i], encoded["offset_mapping"][i]),
                (decoded["input_ids"][i], decoded["offset_mapping"][i]),
            )
            for i, text in enumerate(texts)
        ]

    def _ids(self, texts: Sequence[str]) -> list[Ints]:
        out = self.encoder(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [np.asarray(ids, np.int32) for ids in out]

    def rows(
        self,
        queries: Sequence[Ints],
        neighbours: Sequence[Sequence[Window]],
        priors: Sequence[Sequence[float]] | None = None,
    ) -> Rows:
        """Rows ``[CLS] query [SEP] title [SEP] neighbour [SEP]`` for B queries, L = 1.

        ``priors``: one number a neighbour, see ``Rows.prior``; without them all are alike.
        """
        flat = [(q, w) for q, windows in zip(queries, neighbours, strict=True) for w in windows]
        size = max((len(q) + len(w.title_ids) + len(w.encoder_ids) + 4 for q, w in flat), default=1)
        width = max((len(w.tokens) for _, w in flat), default=1)
        ids = np.full((len(flat), size), self.pad, np.int64)
        segments = np.zeros((len(flat), size), np.int64)
        tokens = np.full((len(flat), width), -1, np.int64)
        first, last = np.zeros((2, len(flat), width), np.int64)
        may_start, may_end = np.zeros((2, len(flat), width), bool)
        lengths = np.zeros(len(flat), np.int64)
        for i, (q, w) in enumerate(flat):
            head = [self.cls, *q, self.sep]
            row = [*head, *w.title_ids, self.sep, *w.encoder_ids, self.sep]
            base, r = len(row) - 1 - len(w.encoder_ids), len(w.tokens)
            ids[i, : len(row)] = row
            segments[i, len(head) : len(row)] = 1
            lengths[i] = len(row)
            tokens[i, :r] = w.tokens
            first[i, :r], last[i, :r] = w.first + base, w.last + base
            may_start[i, :r], may_end[i, :r] = w.may_start, w.may_end
        prior = np.zeros(len(flat), np.float32)
        if priors is not None:
            prior[:] = [value for row in priors for value in row]
        place = _places([len(windows) for windows in neighbours])
        mask = np.arange(size)[None] < lengths[:, None]
        arrays = (ids, mask, segments, tokens, first, last, may_start, may_end, prior, place)
        return Rows(*(torch.from_numpy(a) for a in arrays))


def _places(counts: Sequence[int]) -> np.ndarray[Any, Any]:
    place = np.full((len(counts), 1, max([1, *counts])), -1, np.int64)
    row = 0
    for i, count in enumerate(counts):
        place[i, 0, :count] = np.arange(row, row + count)
        row += count
    return place


def _align(
    text: str,
    title_ids: Ints,
    encoded: tuple[list[int], list[tuple[int, int]]],
    decoded: tuple[list[int], list[tuple[int, int]]],
) -> Window:
    """Aligns two tokenisations of one text: a decoder token overlaps the encoder tokens that
    share one of its characters; a token of blanks alone takes the next encoder token."""
    encoder_ids = np.asarray(encoded[0][:MAX_NEIGHBOUR], np.int32)
    e_starts, e_ends = _offsets(encoded[1][:MAX_NEIGHBOUR])
    tokens = np.asarray(decoded[0], np.int32)
    starts, ends = _offsets(decoded[1])
    starts = _skip_blanks(text, starts, ends)
    kept = len(tokens)
    if len(e_ends):
        kept = int(np.searchsorted(starts, e_ends[-1], side="left"))
    tokens, starts, ends = tokens[:kept], starts[:kept], ends[:kept]
    limit = max(len(e_starts) - 1, 0)
    first = np.minimum(np.searchsorted(e_ends, starts, side="right"), limit)
    last = np.minimum(np.maximum(np.searchsorted(e_starts, ends, side="left") - 1, first), limit)
    blank = starts >= ends
    before = np.where(blank, first - 1, last)  # a blank takes nothing from the word behind it
    may_start = np.append(True, first[1:] != before[:-1])[:kept] & ~blank
    may_end = np.append(last[:-1] != first[1:], True)[:kept] & ~blank
    first, last = first.astype(np.int32), last.astype(np.int32)
    return Window(title_ids, encoder_ids, tokens, starts, ends, first, last, may_start, may_end)


def _offsets(pairs: Iterable[tuple[int, int]]) -> tuple[Ints, Ints]:
    array = np.asarray(list(pairs), np.int32).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _skip_blanks(text: str, starts: Ints, ends: Ints) -> Ints:
    """Moves each start over leading blanks, so that ' Denver' starts at its D."""
    out = starts.copy()
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        while start < end and text[start].isspace():
            start += 1
        out[i] = start
    return out
