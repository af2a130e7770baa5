"""Small facts kept as JSON beside an index, one dataclass a file; knows none of them by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from index.disk import write_atomically
from index.errors import UserError

T = TypeVar("T")


def write_record(record: Any, file: Path) -> None:
    """Writes a dataclass, whole or not at all."""
    write_atomically(file, json.dumps(asdict(record), indent=1) + "\n")


@contextmanager
def stored(file: Path, name: str, again: str) -> Iterator[Any]:
    """What a JSON file of a checkpoint holds, for the block that makes something of it. ``name``:
    what that is, with its article; ``again``: what to do about it.

    Raises:
        UserError: the file is missing, or the block finds in it anything but what it needs.
    """
    try:
        yield json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read the {name.split(' ', 1)[1]} {file}: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not {name} ({error!r}): {again}") from error


def read_record(kind: type[T], file: Path, fault: str, command: str) -> T | None:
    """The ``kind`` that a file holds; None if there is no file.

    Raises:
        UserError: it holds something else (``fault``, in words; ``command`` makes it again).
    """
    try:
        return kind(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: {fault} ({error}); make it again with: {command}") from error
