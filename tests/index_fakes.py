"""A tiny tokenizer and a small index, made in memory without any model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from index.build import build_index
from index.keys import HashingKeyEncoder
from index.manifest import Manifest

FACTS = {
    "Mercury": "Mercury is the smallest planet. Its year lasts eighty eight days.",
    "Venus": "Venus is the hottest planet because of its thick clouds of acid.",
    "Copper": "Copper is a red metal that conducts electricity well. Wires are made of it.",
    "Violin": "The violin has four strings tuned in fifths and is played with a bow.",
    "Camel": "A camel stores fat in its hump and can drink a hundred litres of water.",
}


@lru_cache
def tiny_tokenizer() -> Any:
    """A byte-level BPE tokenizer of some 300 tokens: any text can be encoded and decoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(FACTS.values(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, name_or_path="tiny")


def write_jsonl(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_facts(folder: Path) -> Path:
    """``FACTS`` as one ``.jsonl``: the title in lower case is the id."""
    rows = [{"id": t.lower(), "title": t, "text": text} for t, text in FACTS.items()]
    return write_jsonl(folder / "facts.jsonl", rows)


def small_index(source: Path, out: Path, chunk_size: int = 8, **options: Any) -> Manifest:
    """Builds an index of ``source`` with the hashing encoder and the tiny tokenizer."""
    settings = {"embedder": HashingKeyEncoder(), "tokenizer": tiny_tokenizer(), "progress": False}
    return build_index([source], out, chunk_size=chunk_size, **settings | options)
