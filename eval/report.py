"""Writes figures down as JSON and Markdown, with where they came from; computes none."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from index.progress import bar

if TYPE_CHECKING:
    from eval.conditions import Prediction
    from index.manifest import Manifest

T = TypeVar("T")
Cell = str | int | float | Sequence[float] | None


@dataclass(frozen=True)
class Table:
    """A table of the Markdown report. ``note`` says how to read it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def markdown(self) -> str:
        head = [" | ".join(self.columns), " | ".join(["---"] * len(self.columns))]
        lines = [*head, *(" | ".join(cell(value) for value in row) for row in self.rows)]
        note = f"{self.note}\n\n" if self.note else ""
        return f"## {self.title}\n\n{note}" + "\n".join(f"| {line} |" for line in lines) + "\n"


@dataclass(frozen=True)
class Report:
    """``figures``: everything, as JSON; ``tables``: what a person reads; ``plots``: PNG names."""

    name: str
    figures: dict[str, Any]
    tables: Sequence[Table]
    plots: Sequence[str] = ()
    remarks: Sequence[str] = ()

    def markdown(self, origin: dict[str, Any]) -> str:
        """The report as a page."""
        facts = "\n".join(f"- {key}: {_short(value)}" for key, value in origin.items())
        remarks = "".join(f"{remark}\n\n" for remark in self.remarks)
        tables = "\n".join(table.markdown() for table in self.tables)
        plots = "".join(f"\n![{name}]({name})\n" for name in self.plots)
        return f"# retro eval {self.name}\n\n{facts}\n\n{remarks}{tables}{plots}"

    def save(self, out: Path, origin: dict[str, Any]) -> None:
        """Writes ``report.json`` and ``report.md`` into the folder ``out``."""
        whole = {"name": self.name, "origin": origin, **self.figures}
        text = json.dumps(_plain(whole), indent=1, ensure_ascii=False, allow_nan=False)
        (out / "report.json").write_text(text + "\n", encoding="utf-8")
        (out / "report.md").write_text(self.markdown(origin), encoding="utf-8")


def watched(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, with a progress line on stderr; a rare one where nobody sits before it."""
    yield from bar(items, label, "answer", True, total)


def origin(data: Path, manifest: Manifest | None, **more: Any) -> dict[str, Any]:
    """Where figures come from: command, date, commit, data, settings, and the index if any."""
    parts = {} if manifest is None else asdict(manifest)
    index = {name: part for name, part in parts.items() if name != "probe"}
    return {
        "command": shlex.join(["retro", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "data": str(data),
        **more,
        **({"index": index} if index else {}),
    }


def commit() -> str:
    """The commit of the code that runs, "+ changes" if edited; the version if not a checkout."""
    here = Path(__file__).parent
    try:
        if not _git(here, "ls-files", "--", "report.py"):
            return _version()
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
        return _git(here, "rev-parse", "HEAD") + (" + changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return _version()


def write_rows(path: Path, rows: Iterable[Prediction]) -> list[Prediction]:
    """Writes each prediction as it comes, so that a run cut short loses nothing; gives all.

    The folder's older report goes with the older predictions, so that the two always agree.
    """
    kept = []
    for name in ("report.json", "report.md"):
        path.with_name(name).unlink(missing_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(_plain(row.to_dict()), ensure_ascii=False) + "\n")
            stream.flush()
            kept.append(row)
    return kept


def cell(value: Cell) -> str:
    """A table cell: three decimals, ".912 [.905, .921]" for an interval, "–" for unknown."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (str, int)):
        return str(value).replace("|", "\\|").replace("\n", " ")
    middle, low, high = (cell(float(v)) for v in value)
    return f"{middle} [{low}, {high}]"


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"retro-abstain {version('retro-abstain')}"
    except PackageNotFoundError:
        return "unknown"


def _short(value: Any) -> str:
    """One line of a page for a value of ``origin``: an index in its counts."""
    if isinstance(value, dict):
        names = ("num_documents", "num_chunks", "embedder", "tokenizer", "faiss_type", "built")
        return ", ".join(f"{name} {value[name]}" for name in names if name in value)
    return f"`{value}`"


def _plain(value: Any) -> Any:
    """JSON has no NaN: unknown figures become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
