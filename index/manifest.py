"""What an index folder says of itself, and whether its files agree; knows no search.

    DIR/manifest.json   names the current version and every file of it; replaced atomically
    DIR/v1/             the files of one version; a rebuild writes v2 beside it, then swaps

A reader that opened the older version keeps what it mapped; a killed build changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from index.errors import UserError
from index.weights import file_sha256

FORMAT = 1
NAME = "manifest.json"
PROBE_TEXT = "Who wrote the first encyclopedia, and in which year was it printed?"


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``files``: by name inside the version's folder; ``built``: UTC, ISO 8601.

    ``probe`` is the key of ``PROBE_TEXT``: an encoder that gives another is another encoder.
    ``own_distances`` are equally spaced quantiles, ascending, of the distance from a chunk to the
    nearest one of another document: what "near" means in this database. ``num_probes``: inverted
    lists to visit for a question, 0 if FAISS searches exactly; ``recall_at_10``: what they find.
    """

    format: int
    version: str
    built: str
    num_documents: int
    num_chunks: int
    num_tokens: int
    num_skipped: int
    chunk_size: int
    embedder: str
    embedder_sha256: str
    dim: int
    probe: tuple[float, ...]
    tokenizer: str
    tokenizer_sha256: str
    vocab_size: int
    faiss_type: str
    libraries: dict[str, str]
    files: dict[str, FileRecord]
    own_distances: tuple[float, ...] = ()
    num_probes: int = 0
    recall_at_10: float = 1.0

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of an index folder.

        Raises:
            UserError: there is none, it is broken, or this version cannot read it.
        """
        data = _parse(folder)
        if data.get("format") != FORMAT:
            raise UserError(
                f"{folder}: index format {data.get('format')}, this version reads {FORMAT}; "
                f"build it again with: retro index build SOURCE --out {folder}"
            )
        try:
            return cls._from_json(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{folder / NAME}: incomplete ({error!r}); build the index again"
            ) from error

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Manifest:
        known = {f.name for f in fields(cls)}
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        files = {name: FileRecord(**record) for name, record in data["files"].items()}
        return cls(**plain | {"files": files})

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content of all files: another database, another fingerprint."""
        hashes = json.dumps({name: r.sha256 for name, r in self.files.items()}, sort_keys=True)
        return hashlib.sha256(hashes.encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Makes this manifest the folder's current one, in one step that cannot be half done."""
        scratch = folder / f"{NAME}.new"
        with scratch.open("w", encoding="utf-8") as stream:
            json.dump(asdict(self), stream, indent=1, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(folder / NAME)

    def check_sizes(self, folder: Path) -> None:
        """Quick test that every file is there in full.

        Raises:
            UserError: a file is missing or has another size than when it was written.
        """
        for name, record in self.files.items():
            file = folder / self.version / name
            size = file.stat().st_size if file.exists() else None
            if size != record.size:
                found = "is missing" if size is None else f"has {size} bytes"
                raise UserError(
                    f"{file}: {found}, the manifest says {record.size}; "
                    "restore the file or build the index again"
                )

    def broken_files(self, folder: Path) -> list[str]:
        """Names of the files whose content is not what was written; reads everything."""
        version = folder / self.version
        return [
            name
            for name, record in self.files.items()
            if not (version / name).is_file() or file_sha256(version / name) != record.sha256
        ]

    def check_tokenizer(self, fingerprint: str, name: str) -> None:
        """Raises UserError unless the index holds tokens of the tokenizer called ``name``."""
        if fingerprint != self.tokenizer_sha256:
            raise UserError(
                f"the index holds tokens of '{self.tokenizer}', the model reads those of "
                f"'{name}'; build the index again with: --tokenizer {name}"
            )


def record_files(version: Path) -> dict[str, FileRecord]:
    """Sizes and hashes of all files of a version's folder, by relative name, sorted."""
    files = sorted(f for f in version.rglob("*") if f.is_file())
    return {
        f.relative_to(version).as_posix(): FileRecord(f.stat().st_size, file_sha256(f))
        for f in files
    }


def _parse(folder: Path) -> dict[str, Any]:
    file = folder / NAME
    if not file.is_file():
        raise UserError(
            f"{folder}: no index there (no {NAME}); "
            f"build one with: retro index build SOURCE --out {folder}"
        )
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{file}: not readable ({error}); build the index again") from error
    if not isinstance(data, dict):
        raise UserError(f"{file}: not a manifest; build the index again")
    return data
