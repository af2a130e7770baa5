from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from index.errors import UserError
from index.keys import HashingKeyEncoder, SentenceKeyEncoder
from index.weights import resolve

TEXTS = [
    "Who wrote Faust?",
    "Camels. A camel stores fat in its hump and can drink a hundred litres of water.",
    "Zoë's naïve co-worker — 東京.",
    "x",
    "",
    "word " * 400,
]


def test_hashing_is_deterministic_and_near_for_shared_words() -> None:
    encoder = HashingKeyEncoder()
    keys = encoder.encode([*TEXTS, "the hump of a camel", "camel hump"])
    np.testing.assert_array_equal(
        keys, encoder.encode([*TEXTS, "the hump of a camel", "camel hump"])
    )
    assert keys.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, atol=1e-5)
    assert keys[-1] @ keys[-2] > keys[-1] @ keys[1] > keys[-1] @ keys[0]


def test_plain_transformers_give_the_vectors_of_sentence_transformers() -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    ours = SentenceKeyEncoder(dtype=torch.float32).encode(TEXTS)
    theirs = SentenceTransformer(str(resolve("minilm")), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_bfloat16_stays_close_and_a_batch_changes_little() -> None:
    import torch

    exact = SentenceKeyEncoder(dtype=torch.float32).encode(TEXTS)
    encoder = SentenceKeyEncoder(dtype=torch.bfloat16)
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert (np.sum(exact * together, axis=1) > 0.999).all()
    assert (np.sum(alone * together, axis=1) > 0.999).all()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}]),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
    ],
)
def test_what_is_no_such_encoder_is_declined(tmp_path: Path, file: str, content: object) -> None:
    with pytest.raises(UserError, match=r"no config.json, so no embedder"):
        SentenceKeyEncoder(str(tmp_path))
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).symlink_to(resolve("minilm") / name)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match="mean or CLS"):
        SentenceKeyEncoder(str(tmp_path))
