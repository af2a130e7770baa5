"""Frozen encoders that turn text into keys; they know nothing of chunks, files or indexes.

Legend: n texts, l tokens of the longest in a batch, h hidden width = dim.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.devices import fast_dtype
from index.errors import UserError
from index.weights import EMBEDDER, file_sha256, resolve

if TYPE_CHECKING:
    import torch

Keys = NDArray[np.float32]
BATCH_TOKENS = 2048


class KeyEncoder(Protocol):
    """Maps texts to unit vectors. ``name`` finds it again, ``fingerprint`` tells its weights."""

    name: str
    dim: int

    @property
    def fingerprint(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Keys:
        """[n, dim] float32, every row of length 1."""
        ...


class SentenceKeyEncoder:
    """A sentence-transformers encoder run by plain transformers, which imports five times faster.

    Gives the vectors that sentence-transformers gives (a test compares them). In the
    number format that the machine multiplies fastest (``index.devices``) unless one is given.

    Raises:
        UserError: the folder is no sentence encoder with mean or CLS pooling.
    """

    def __init__(self, name: str = EMBEDDER, *, dtype: torch.dtype | None = None) -> None:
        import torch
        from tokenizers import Tokenizer

        self.name = name
        self._folder = resolve(name)
        _check_files(self._folder)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._cls_pooling = _pools_cls(self._folder)
        self._tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_max_len(self._folder))
        self._model = _load(self._folder, dtype or fast_dtype(self._device)).to(self._device)
        self.dim = int(self._model.config.hidden_size)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return file_sha256(self._folder / "model.safetensors")

    def encode(self, texts: Sequence[str]) -> Keys:
        """[n, dim] float32 unit vectors; batches hold texts of like length, so little padding."""
        import torch

        ids = [e.ids for e in self._tokenizer.encode_batch(list(texts))]
        keys = np.empty((len(ids), self.dim), dtype=np.float32)
        with torch.inference_mode():
            for batch in _batches([len(i) for i in ids]):
                keys[batch] = self._encode_batch([ids[row] for row in batch])
        return keys

    def _encode_batch(self, ids: list[list[int]]) -> Keys:
        import torch

        longest = max(map(len, ids))
        ids_nl = torch.zeros(len(ids), longest, dtype=torch.long)
        mask_nl = torch.zeros(len(ids), longest, dtype=torch.long)
        for row, tokens in enumerate(ids):
            ids_nl[row, : len(tokens)] = torch.tensor(tokens)
            mask_nl[row, : len(tokens)] = 1
        ids_nl, mask_nl = ids_nl.to(self._device), mask_nl.to(self._device)
        # Equal lengths need no mask, and without one attention takes its fastest path.
        mask = None if bool(mask_nl.all()) else mask_nl
        hidden_nlh = self._model(input_ids=ids_nl, attention_mask=mask).last_hidden_state.float()
        if self._cls_pooling:
            pooled_nh = hidden_nlh[:, 0]
        else:
            pooled_nh = (hidden_nlh * mask_nl[..., None]).sum(1) / mask_nl.sum(1, keepdim=True)
        keys: Keys = torch.nn.functional.normalize(pooled_nh, dim=-1).cpu().numpy()
        return keys


class HashingKeyEncoder:
    """A deterministic stand-in without a model: hashed words and character trigrams.

    For tests and quick tries: texts that share words are near, nothing else is promised.
    """

    def __init__(self, dim: int = 256) -> None:
        self.name = "hashing"
        self.dim = dim

    @property
    def fingerprint(self) -> str:
        return f"hashing-{self.dim}"

    def encode(self, texts: Sequence[str]) -> Keys:
        keys = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for feature in _features(text):
                code = zlib.crc32(feature.encode())
                keys[row, code % self.dim] += 1.0 if code & (1 << 31) else -1.0
        norms = np.linalg.norm(keys, axis=1, keepdims=True)
        keys[:, 0] += norms[:, 0] == 0  # a text without words still has a unit vector
        return keys / np.maximum(norms, 1e-9) if norms.all() else _renormalised(keys)


def open_encoder(name: str) -> KeyEncoder:
    """The encoder called ``name``: ``hashing``, or the name, folder or hub id of a sentence one."""
    return HashingKeyEncoder() if name == "hashing" else SentenceKeyEncoder(name)


def _renormalised(keys: Keys) -> Keys:
    unit: Keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    return unit


def _features(text: str) -> Iterator[str]:
    for word in re.findall(r"\w+", text.lower()):
        yield word
        padded = f"<{word}>"
        yield from (padded[i : i + 3] for i in range(len(padded) - 2))


def _batches(lens: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Row numbers in batches of like length, about ``BATCH_TOKENS`` tokens each, padding in."""
    order = np.argsort(np.asarray(lens), kind="stable")[::-1]
    start = 0
    while start < len(order):
        size = max(1, BATCH_TOKENS // max(1, lens[order[start]]))
        yield order[start : start + size]
        start += size


def _load(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModel.from_pretrained(folder, dtype=dtype).eval()


def _check_files(folder: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder}: no {name}, so no embedder; give a sentence encoder's folder"
            )


def _pools_cls(folder: Path) -> bool:
    """True for CLS pooling, False for mean pooling (also of a folder that does not say)."""
    kinds = {m["type"].rsplit(".", 1)[-1] for m in _json(folder / "modules.json", [])}
    pooling = _json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    modes = {m for m, on in pooling.items() if m.startswith("pooling_mode_") and on is True}
    known = ({"pooling_mode_cls_token"}, {"pooling_mode_mean_tokens"})
    if kinds - {"Transformer", "Pooling", "Normalize"} or modes not in known:
        raise UserError(f"{folder}: an embedder needs mean or CLS pooling; choose another")
    return "pooling_mode_cls_token" in modes


def _max_len(folder: Path) -> int:
    return int(_json(folder / "sentence_bert_config.json", {}).get("max_seq_length", 512))


def _json(file: Path, default: Any) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default
