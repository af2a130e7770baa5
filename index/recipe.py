"""How the chunks and keys of an index are made: what two indexes must share to become one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from index.chunks import tokenizer_fingerprint
from index.errors import UserError
from index.keys import KeyEncoder
from index.manifest import Manifest

PROBE_TEXT = "Who wrote the first encyclopedia, and in which year was it printed?"
PROBE_COSINE = 0.98


@dataclass(frozen=True)
class Recipe:
    """``probe`` is the key of ``PROBE_TEXT``: an encoder that gives another is another encoder.
    ``store``: where the keys are searched, a Milvus server or, empty, FAISS; ``faiss``: its factory
    string, or empty for the type that suits their number. ``keep_duplicates``: whether texts that
    nearly repeat another stay.
    """

    chunk_size: int
    embedder: str
    embedder_sha256: str
    dim: int
    probe: tuple[float, ...]
    tokenizer: str
    tokenizer_sha256: str
    vocab_size: int
    store: str = ""
    keep_duplicates: bool = False
    faiss: str = ""

    @classmethod
    def of(
        cls,
        encoder: KeyEncoder,
        name: str,
        tokenizer: Any,
        chunk_size: int,
        store: str = "",
        keep_duplicates: bool = False,
        faiss: str = "",
    ) -> Self:
        """``name`` is the tokenizer's, by which it is found again."""
        return cls(
            chunk_size=chunk_size,
            embedder=encoder.name,
            embedder_sha256=encoder.fingerprint,
            dim=encoder.dim,
            probe=tuple(round(float(x), 6) for x in encoder.encode([PROBE_TEXT])[0]),
            tokenizer=lasting(name),
            tokenizer_sha256=tokenizer_fingerprint(tokenizer),
            vocab_size=len(tokenizer),
            store=store,
            keep_duplicates=keep_duplicates,
            faiss=faiss,
        )

    @classmethod
    def used(cls, manifest: Manifest) -> Self:
        """The recipe that an index was made by."""
        return cls(**{f.name: getattr(manifest, f.name) for f in fields(cls)})

    def identity(self) -> dict[str, Any]:
        """What tells recipes apart; not the probe, which another number of threads rounds anew."""
        return {name: value for name, value in asdict(self).items() if name != "probe"}

    def check_encoder(self, encoder: KeyEncoder, folder: Path) -> None:
        """Two encoders are one if they give the same key to a probe; names and files may differ.

        Raises:
            UserError: the keys of the index in ``folder`` are another encoder's.
        """
        same = encoder.dim == self.dim
        if same:
            cosine = float(encoder.encode([PROBE_TEXT])[0] @ np.asarray(self.probe, np.float32))
            same = cosine > PROBE_COSINE
        if not same:
            raise UserError(
                f"{folder}: its keys were made by another embedder than '{encoder.name}' "
                f"('{self.embedder}' at the time); build the index again"
            )

    def check_tokenizer(self, tokenizer: Any, folder: Path) -> None:
        """Raises UserError if the index in ``folder`` holds another tokenizer's tokens."""
        if tokenizer_fingerprint(tokenizer) != self.tokenizer_sha256:
            raise UserError(
                f"{folder}: '{self.tokenizer}' is another tokenizer than at the time of the build; "
                "build the index again"
            )

    def check_same(self, other: Recipe, folder: Path, other_folder: Path) -> None:
        """Raises UserError, with what differs, unless two indexes can become one."""
        same_keys = self.dim == other.dim and np.dot(self.probe, other.probe) > PROBE_COSINE
        pairs = {
            "embedder": (self.embedder, other.embedder, same_keys),
            "tokenizer": (
                self.tokenizer,
                other.tokenizer,
                self.tokenizer_sha256 == other.tokenizer_sha256,
            ),
            "chunk size": (
                self.chunk_size,
                other.chunk_size,
                self.chunk_size == other.chunk_size,
            ),
        }
        for what, (one, another, same) in pairs.items():
            if not same:
                raise UserError(
                    f"{other_folder}: its {what} is {another}, that of {folder} is {one}; "
                    "build one of them again"
                )


def lasting(name: str) -> str:
    """A name that finds the same weights from any working directory."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if name and folder.is_dir() else name
