"""Cuts documents into chunks of decoder tokens; knows offsets and arithmetic, nothing of files.

A document of ``n`` tokens has ``ceil(n / chunk_size)`` chunks; every chunk holds ``chunk_size``
tokens but the document's last, which holds what is left. No chunk crosses a document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SIZE = 64
"""Tokens in a chunk, as in RETRO (section 2.1)."""


@dataclass(frozen=True)
class TokenizedText:
    """``ids``: int64 [n] token ids; ``offsets``: int64 [n, 2] their characters in the text."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]


def tokenize(tokenizer: Any, texts: Sequence[str]) -> list[TokenizedText]:
    """Tokens of each text as the decoder reads them, without special tokens.

    ``tokenizer`` is a fast transformers tokenizer (``index.weights.load_tokenizer``).
    """
    encodings = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [
        TokenizedText(
            np.asarray(encoding.ids, dtype=np.int64),
            np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2),
        )
        for encoding in encodings
    ]


def num_chunks(num_tokens: int, chunk_size: int = CHUNK_SIZE) -> int:
    """How many chunks a document of ``num_tokens`` has."""
    return -(-num_tokens // chunk_size)


def chunk_lens(num_tokens: int, chunk_size: int = CHUNK_SIZE) -> list[int]:
    """The length of each chunk of a document of ``num_tokens``; they sum to ``num_tokens``."""
    full, rest = divmod(num_tokens, chunk_size)
    return [chunk_size] * full + ([rest] if rest else [])


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 of what a tokenizer does: its vocabulary and how it splits a sample of text.

    Two files of one tokenizer (the hub's, one converted from GGUF) have the same fingerprint.
    """
    sample = "In 1990, Zoë's naïve  co-worker paid $12.50\n\tfor 東京 — 3×2 unbelievabilities."
    vocabulary = sorted(tokenizer.get_vocab().items())
    ids = tokenizer.backend_tokenizer.encode(sample, add_special_tokens=False).ids
    return hashlib.sha256(json.dumps([vocabulary, ids]).encode()).hexdigest()
