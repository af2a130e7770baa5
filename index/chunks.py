"""Cuts documents into chunks of decoder tokens; knows offsets and arithmetic, nothing of files.

A section of ``n`` tokens has ``ceil(n / chunk_size)`` chunks; every chunk holds ``chunk_size``
tokens but the section's last, which holds what is left. No chunk crosses a section; a document
without headings is one section.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SIZE = 64
"""Tokens in a chunk, as in RETRO (section 2.1)."""
PIECE = 1_000_000
LONGEST_WORD = 24
POINTS = ".,:"
"""Stand within a number."""


@dataclass(frozen=True)
class TokenizedText:
    """``ids``: int64 [n] token ids; ``offsets``: int64 [n, 2] their characters in the text."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]


def tokenize(tokenizer: Any, texts: Sequence[str]) -> list[TokenizedText]:
    """Tokens of each text as the decoder reads them, without special tokens.

    ``tokenizer`` is a fast transformers tokenizer (``index.weights.load_tokenizer``). Texts longer
    than ``PIECE`` characters are read in pieces that end with a word, to spare memory.
    """
    pieces = [list(_pieces(text)) for text in texts]
    flat = [piece for some in pieces for piece in some]
    encodings = iter(tokenizer.backend_tokenizer.encode_batch(flat, add_special_tokens=False))
    return [_joined(some, [next(encodings) for _ in some]) for some in pieces]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PIECE:
        end = max(text.rfind(mark, start, start + PIECE) for mark in "\n ")
        end = end if end > start else start + PIECE
        yield text[start:end]
        start = end
    yield text[start:]


def _joined(pieces: Sequence[str], encodings: Sequence[Any]) -> TokenizedText:
    """The tokens of one text, from those of its pieces."""
    ids = [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]
    begins = np.cumsum([0, *map(len, pieces)])
    offsets = [
        np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2) + begin
        for encoding, begin in zip(encodings, begins, strict=False)
    ]
    return TokenizedText(np.concatenate(ids), np.concatenate(offsets))


def whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Where some characters of a text begin and end with the words at their ends whole: a chunk
    ends after a token, and "2|010" is another year. What goes on for more than ``LONGEST_WORD``
    characters is no word."""
    before, behind = start, end
    while before > max(0, start - LONGEST_WORD) and _within_word(text, before):
        before -= 1
    while behind < min(len(text), end + LONGEST_WORD) and _within_word(text, behind):
        behind += 1
    return (
        start if _within_word(text, before) else before,
        end if _within_word(text, behind) else behind,
    )


def _within_word(text: str, place: int) -> bool:
    """Whether a word or a number goes on there."""
    around = [*text[max(0, place - 2) : place].rjust(2), *text[place : place + 2].ljust(2)]
    far, before, at, behind = around
    if _in_word(before) and _in_word(at):
        return True
    return (far.isdigit() and before in POINTS and at.isdigit()) or (
        before.isdigit() and at in POINTS and behind.isdigit()
    )


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def num_chunks(num_tokens: int, chunk_size: int = CHUNK_SIZE) -> int:
    """How many chunks a document of ``num_tokens`` has."""
    return -(-num_tokens // chunk_size)


def chunk_lens(num_tokens: int, chunk_size: int = CHUNK_SIZE) -> list[int]:
    """The length of each chunk of a document of ``num_tokens``; they sum to ``num_tokens``."""
    full, rest = divmod(num_tokens, chunk_size)
    return [chunk_size] * full + ([rest] if rest else [])


def cut(
    offsets: NDArray[np.int64], starts: Sequence[int], chunk_size: int = CHUNK_SIZE
) -> tuple[list[int], list[int]]:
    """The length of each chunk of a document whose sections begin at these characters, and the
    number of its section.

    ``offsets`` [n, 2]: characters of the document's tokens. A token that begins before a section
    belongs to the one before it; what has no tokens of its own is no section.
    """
    firsts = np.searchsorted(offsets[:, 0], np.asarray(starts, np.int64)).tolist()
    lens: list[int] = []
    numbers: list[int] = []
    for number, (first, end) in enumerate(pairwise(sorted({0, *firsts, len(offsets)}))):
        some = chunk_lens(end - first, chunk_size)
        lens += some
        numbers += [number] * len(some)
    return lens, numbers


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 of what a tokenizer does: its vocabulary and how it splits a sample of text.

    Two files of one tokenizer (the hub's, one converted from GGUF) have the same fingerprint.
    """
    sample = "In 1990, Zoë's naïve  co-worker paid $12.50\n\tfor 東京 — 3×2 unbelievabilities."
    vocabulary = sorted(tokenizer.get_vocab().items())
    ids = tokenizer.backend_tokenizer.encode(sample, add_special_tokens=False).ids
    return hashlib.sha256(json.dumps([vocabulary, ids]).encode()).hexdigest()
