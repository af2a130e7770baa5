"""The checkpoint that comes with the package: where it is and what it stands on; loads no model."""

from __future__ import annotations

import json
from pathlib import Path

from index.weights import EMBEDDER

DEFAULT_CHECKPOINT = Path(__file__).parent / "checkpoint"

RANKER = "ranker.json"

NUM_SAMPLES = 8
"""Monte-Carlo dropout samples with which its confidence head was fitted."""


def ranker_of(checkpoint: Path) -> Path:
    """The file of the ranker that chooses what a checkpoint reads: its own, else the one shipped,
    which counts words of questions and passages and depends on no model."""
    own = checkpoint / RANKER
    return own if own.is_file() else DEFAULT_CHECKPOINT / RANKER


def needed_weights() -> list[str]:
    """The weights that searching and the shipped checkpoint stand on, by name."""
    config = json.loads((DEFAULT_CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    return list(dict.fromkeys((config["base_name"], EMBEDDER, config["encoder_name"])))
