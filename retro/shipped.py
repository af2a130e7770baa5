"""The checkpoint that comes with the package: where it is and what it stands on; loads no model."""

from __future__ import annotations

import json
from pathlib import Path

from index.weights import EMBEDDER

DEFAULT_CHECKPOINT = Path(__file__).parent / "checkpoint"

NUM_SAMPLES = 8
"""Monte-Carlo dropout samples with which its confidence head was fitted."""


def needed_weights() -> list[str]:
    """The weights that searching and the shipped checkpoint stand on, by name."""
    config = json.loads((DEFAULT_CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    return list(dict.fromkeys((config["base_name"], EMBEDDER, config["encoder_name"])))
