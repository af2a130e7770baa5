"""What an index folder says of itself, and whether its files agree; knows no search.

    DIR/manifest.json   names the current version and every file of it; replaced atomically
    DIR/v1/             the files of one version, never changed; another one is written beside it

A reader that opened the older version keeps what it mapped; a killed build changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from index.disk import write_atomically
from index.errors import UserError
from index.weights import file_sha256

FORMAT = 3
NAME = "manifest.json"
CHECKED_AT_OPEN = 1 << 22
"""Files of up to so many bytes are compared with their hash when an index is opened."""
READ_WHOLE = ("faiss.index", "bm25/vocab.json")
"""So are those that opening reads anyway: FAISS does not survive every damage."""


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> Self:
        return cls(file.stat().st_size, file_sha256(file))


@dataclass(frozen=True)
class Manifest:
    """``files``: by name inside the version's folder; ``built``: UTC, ISO 8601.

    ``removed`` are the rows, ascending, of documents that count as absent though the files hold
    them; the other numbers leave them out. ``probe`` is the key of a fixed text, ``store`` where
    keys are searched, ``faiss`` the type asked for and ``faiss_type`` the one that it became,
    ``keep_duplicates`` whether near duplicates stay (``index.recipe``).
    ``own_distances`` are equally spaced quantiles, ascending, of the distance from a chunk to the
    nearest one of another document: what "near" means in this database. ``num_probes``: inverted
    lists to visit for a question, 0 if search is exact; ``recall_at_10``: what they find.
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
    removed: tuple[int, ...] = ()
    store: str = ""
    keep_duplicates: bool = False
    faiss: str = ""

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
        parts = {name: r.sha256 for name, r in self.files.items()} | {"removed": self.removed}
        return _digest(parts)

    def write(self, file: Path) -> None:
        """Writes it, with its own SHA-256, in one step that cannot be half done."""
        data = asdict(self)
        write_atomically(file, _text(data | {"sha256": _digest(data)}))

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

    def check_small(self, folder: Path) -> None:
        """Compares those files with their hash for which that takes no time worth mentioning.

        Raises:
            UserError: one is not what was written.
        """
        for name, record in self.files.items():
            if record.size <= CHECKED_AT_OPEN or name in READ_WHOLE:
                self.check_file(folder, name)

    def check_file(self, folder: Path, name: str) -> None:
        """Raises UserError if one file is not what was written."""
        if file_sha256(folder / self.version / name) != self.files[name].sha256:
            raise UserError(damaged(folder, f"{self.version}/{name} is damaged"))

    def broken_files(self, folder: Path) -> list[str]:
        """Names of the files whose content is not what was written; reads everything."""
        version = folder / self.version
        return [
            name
            for name, record in self.files.items()
            if not (version / name).is_file() or FileRecord.of(version / name) != record
        ]

    def superfluous_files(self, folder: Path) -> list[str]:
        """Files in the version's folder that nobody wrote, and other versions' folders."""
        version = folder / self.version
        known = {version / name for name in self.files}
        found = {f for f in version.rglob("*") if f.is_file()} - known
        found |= {f for f in versions(folder) if f != version}
        return sorted(f.relative_to(folder).as_posix() for f in found)

    def check_tokenizer(self, fingerprint: str, name: str) -> None:
        """Raises UserError unless the index holds tokens of the tokenizer called ``name``."""
        if fingerprint != self.tokenizer_sha256:
            raise UserError(
                f"the index holds tokens of '{self.tokenizer}', the model reads those of "
                f"'{name}'; build the index again with: --tokenizer {name}"
            )


def versions(folder: Path) -> list[Path]:
    """The versions in an index folder; whatever else lies there is the user's."""
    return [f for f in folder.glob("v*") if f.name[1:].isdecimal() and f.is_dir()]


def is_index(folder: Path) -> bool:
    """Whether a folder is an index, if maybe damaged: many a project has a ``manifest.json``."""
    return (folder / NAME).is_file() and bool(versions(folder))


def damaged(folder: Path, what: str) -> str:
    """The words for a damage that was met while reading."""
    return f"{folder}: {what}; see which files are with: retro index verify {folder}"


def _digest(data: dict[str, Any]) -> str:
    plain = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()


def _parse(folder: Path) -> dict[str, Any]:
    file = folder / NAME
    if not file.is_file():
        raise UserError(
            f"{folder}: no index there (no {NAME}); "
            f"build one with: retro index build SOURCE --out {folder}"
        )
    try:
        text = file.read_bytes().decode()
        data = json.loads(text)
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{file}: not readable ({error}); build the index again") from error
    if not isinstance(data, dict):
        raise UserError(f"{file}: not a manifest; build the index again")
    digest = data.pop("sha256", None)  # which manifests of format 1 had not
    if digest is None and data.get("format") != FORMAT:
        return data
    if digest != _digest(data) or text != _text(data | {"sha256": digest}):
        raise UserError(f"{file}: damaged; restore it or build the index again")
    return data


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)
