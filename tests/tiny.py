"""Tiny stand-ins made from nothing: tokenizers, decoders, an encoder, an index, a checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retro.config import RetroConfig
from retro.model import RetroForCausalLM
from retro.windows import Rows

DOCUMENTS = {
    "Mercury": "Mercury is the smallest planet. Its year lasts 88 days.\n\nProbes came in 1974.",
    "Venus": "Venus is the hottest planet because of its thick clouds of acid.",
    "Mars": "Mars has two moons. Phobos is the larger one; Deimos was seen first, in 1877.",
    "Copper": "Copper is a red metal that conducts electricity well. Wires are made of it.",
    "Gold": "Gold is a soft yellow metal. It melts at 1,064 degrees and never rusts.",
    "Violin": "The violin has four strings tuned in fifths and is played with a bow.",
    "Piano": "Cristofori built the first piano in Florence around 1700. It has 88 keys.",
    "Camel": "A camel stores fat in its hump and can drink a hundred litres of water.",
    "Eagle": "The bald eagle builds the largest nest of any bird in North America.",
    "Danube": "The Danube rises in Germany and flows through ten countries to the Black Sea.",
    "Curie": "Marie Curie was born in Warsaw in 1867. She won two Nobel prizes.",
    "Café": "Zoë’s naïve café in Zürich — “Über” — charges 12½ € for a crêpe.",
}
END = "<|endoftext|>"


@lru_cache
def decoder_tokenizer() -> Any:
    """Byte-level BPE of some 400 tokens that splits numbers into digits, as SmolLM2's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_spoken(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, name_or_path="tiny")


@lru_cache
def encoder_tokenizer() -> Any:
    """A lower-casing WordPiece tokenizer of some 300 tokens, as BERT's, the same in every process.

    (A trained one is not: the pieces that its trainer takes of those equally frequent differ.)
    Words of more than five letters are two pieces.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = sorted(set(re.findall(r"[a-z]+|[^a-z\s]", " ".join(_spoken()).lower())))
    letters = sorted(set("".join(words)) | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    pieces = [*(w[:5] for w in words), *(f"##{w[5:]}" for w in words if len(w) > 5)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = dict.fromkeys([*special, *letters, *(f"##{c}" for c in letters), *pieces])
    numbered = {piece: number for number, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbered, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")


def _spoken() -> list[str]:
    return [*DOCUMENTS.values(), *DOCUMENTS, "Question: who, what, when, where?\nAnswer: it"] * 2


def decoder(family: str = "llama", seed: int = 0) -> Any:
    """A two-layer decoder with random weights, float32, in evaluation mode."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        family,
        vocab_size=len(decoder_tokenizer()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=0,
        max_position_embeddings=256,
        **({} if family == "gpt2" else {"intermediate_size": 64}),
        **({} if family in ("gpt2", "gpt_neox") else {"num_key_value_heads": 2, "head_dim": 8}),
    )
    return AutoModelForCausalLM.from_config(config).eval()


def model(family: str = "llama", *, seed: int = 0, **changes: Any) -> RetroForCausalLM:
    """A RETRO model around ``decoder(family)``: float32, chunks of 4, every new part random."""
    base = decoder(family, seed)
    encoder = {
        "vocab_size": len(encoder_tokenizer()),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    } | changes.pop("encoder", {})
    settings = {"cca_layers": [0, 1], "chunk_size": 4, "neighbour_len": 8, "max_span": 3}
    config = RetroConfig(base=base.config.to_dict(), encoder=encoder, **(settings | changes))
    out = RetroForCausalLM(config, base)
    randomise(out, seed)
    return out.eval()


def randomise(model: RetroForCausalLM, seed: int = 0) -> None:
    """Gives every weight that RETRO adds a value that matters (zeros hide mistakes)."""
    torch.manual_seed(seed + 1)
    parts = [model.cca, model.encoder, model.reader, model.gate]
    parts += [model.pointer] if model.pointer is not None else []
    with torch.no_grad():
        for module in parts:
            for parameter in module.parameters():
                parameter.normal_(0, 0.3).add_(1.0 if parameter.dim() == 1 else 0.0)


def rows(
    place: Sequence[Sequence[Sequence[int]]], *, size: int = 7, width: int = 5, seed: int = 0
) -> Rows:
    """Random rows for a given ``place`` [B, L, K]: ``size`` encoder tokens, ``width`` decoder
    tokens, some of them missing at the end."""
    where = torch.tensor(place)
    count = int(where.max()) + 1
    draw = torch.Generator().manual_seed(seed)

    def below(high: int, *shape: int, low: int = 0) -> Tensor:
        return torch.randint(low, high, shape, generator=draw)

    lengths = below(width + 1, count, 1, low=2)
    real = torch.arange(width) < lengths
    first = below(size, count, width)
    return Rows(
        ids=below(len(encoder_tokenizer()), count, size, low=4),
        mask=torch.arange(size) < below(size + 1, count, 1, low=3),
        segments=below(2, count, size),
        tokens=below(len(decoder_tokenizer()), count, width, low=1).masked_fill(~real, -1),
        first=first,
        last=(first + below(2, count, width)).clamp(max=size - 1),
        may_start=real & (below(4, count, width) > 0),
        may_end=real & (below(4, count, width) > 0),
        prior=torch.zeros(count),
        place=where,
    )


@dataclass(frozen=True)
class World:
    """Folders: an index of ``DOCUMENTS``, a base decoder, an encoder and a checkpoint of both."""

    index: Path
    base: Path
    encoder: Path
    checkpoint: Path


def world(folder: Path) -> World:
    """Writes everything that answering needs to ``folder``."""
    from retro.retrofit import retrofit, save

    base, encoder = write_base(folder / "base"), write_encoder(folder / "encoder")
    made = retrofit(str(base), str(encoder), chunk_size=32, max_span=6, cca_layers=[1])
    randomise(made)
    save(made, folder / "checkpoint")
    write_head(folder / "checkpoint")
    return World(write_index(folder / "index"), base, encoder, folder / "checkpoint")


def write_head(checkpoint: Path) -> None:
    """A confidence head of one signal, and the default policy."""
    from retro.answer import HEAD, POLICY
    from retro.calibration import PLAIN
    from retro.policy import AbstentionPolicy
    from retro.uncertainty import ConfidenceHead, Factor, Feature

    feature = Feature("span_probability", "identity", mean=0.2, deviation=0.1, weight=1.0)
    ConfidenceHead((Factor((feature,), 0.0),), PLAIN).save(checkpoint / HEAD)
    AbstentionPolicy().save(checkpoint / POLICY)


def write_base(folder: Path, family: str = "llama") -> Path:
    """A decoder's folder, as ``index.weights.resolve`` gives it."""
    decoder(family).save_pretrained(folder)
    decoder_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_encoder(folder: Path) -> Path:
    """A tiny BERT's folder."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(encoder_tokenizer()),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(folder)
    encoder_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_index(folder: Path, chunk_size: int = 8, tokenizer: Any = None) -> Path:
    """An index of ``DOCUMENTS`` with the hashing encoder and, if not told, the decoder's tokens."""
    from index.build import build_index
    from index.keys import HashingKeyEncoder

    source = folder.with_name(f"{folder.name}-source.jsonl")
    lines = [
        json.dumps({"id": title.lower(), "title": title, "text": text})
        for title, text in DOCUMENTS.items()
    ]
    source.write_text("\n".join(lines), encoding="utf-8")
    build_index(
        [source],
        folder,
        embedder=HashingKeyEncoder(),
        tokenizer=tokenizer or decoder_tokenizer(),
        chunk_size=chunk_size,
        progress=False,
    )
    return folder
