"""What an index is asked to be made of: tells whether unfinished work may go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from index.folder import Request
from index.manifest import FORMAT, Manifest
from index.recipe import Recipe
from index.sources import expand, walk

LIBRARIES = (
    "retro-abstain faiss-cpu faiss-gpu numpy pystemmer tokenizers torch "
    "charset-normalizer py3langid pyarrow pypdfium2 rensa selectolax".split()
)
"""What shapes the files: searches and embeds; reads."""


def request(
    operation: str,
    out: Path,
    recipe: Recipe,
    *,
    sources: Sequence[Path] = (),
    bases: Sequence[Manifest] = (),
    **options: bool | str,
) -> Request:
    """All that decides the bytes of an index, as plain JSON."""
    return {
        "operation": operation,
        "sources": [[str(source.resolve()), _listing(source, out)] for source in sources],
        "bases": [base.fingerprint for base in bases],
        **recipe.identity(),
        **options,
        "format": FORMAT,
        "libraries": libraries(),
    }


def is_done(finished: Request | None, wanted: Request) -> bool:
    """Whether the work that was just published is what is wanted; its base is gone since."""
    return finished is not None and set(_differing(finished, wanted)) <= {"bases"}


def differences(one: Request, other: Request) -> str:
    """The names of what differs, for people; empty if nothing does."""
    return ", ".join(_differing(one, other)).replace("_sha256", "'s weights").replace("_", " ")


def libraries() -> dict[str, str]:
    """Versions of what shapes the files."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout, never installed
            continue
    return found


def _differing(one: Request, other: Request) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _listing(source: Path, out: Path) -> str:
    """SHA-256 of the names, sizes and times of all files of a source; reads none of them."""
    digest = hashlib.sha256()
    for found, root in expand(source):
        for file in _files(found, out.resolve()):
            stat = file.stat()
            row = [file.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns]
            digest.update(json.dumps(row).encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def _files(source: Path, out: Path) -> Iterator[Path]:
    """What will be read of a source; without ``out``, which changes while it is written."""
    found = walk(source, out) if source.is_dir() else [source]
    return (file for file in found if isinstance(file, Path) and file.is_file())
