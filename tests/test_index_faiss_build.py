from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from test_index_dense import clustered_keys

from index import faiss_build
from index.faiss_build import write_faiss

LAID_OUT = [
    "SQfp16",
    "SQ8",
    "IVF64,SQ8",
    "IVF64_HNSW32,SQ8",
    "IVF300,SQ8",
    "PCA8,IVF64,SQ8",
    "IVF64,PQ4x4",
]
OTHERWISE = ["Flat", "HNSW8,Flat", "IVF64,PQ8x4fs", "IVF64,SQ8,Refine(Flat)"]


class Added:
    """Watches what is added to FAISS indexes in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        filled = faiss_build._filled
        monkeypatch.setattr(faiss_build, "_filled", lambda *given: self._told(filled(*given)))

    def _told(self, faiss_index: Any) -> Any:
        self.count += faiss_index.ntotal
        return faiss_index


def by_faiss(keys: np.ndarray, kind: str, folder: Path) -> bytes:
    """The same trained index, filled and written by FAISS itself."""
    faiss_index = faiss_build._trained(keys, kind, folder)
    faiss_index.add(keys.astype(np.float32))
    return bytes(faiss.serialize_index(faiss_index).tobytes())


@pytest.mark.parametrize(
    ("kind", "block"),
    [(kind, 1 << 12) for kind in [*LAID_OUT, *OTHERWISE]] + [(kind, 700) for kind in LAID_OUT],
)
def test_the_file_is_the_one_that_faiss_writes(
    tmp_path: Path, kind: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists that lie in several blocks of keys, and empty ones, too."""
    monkeypatch.setattr("index.dense.BLOCK", block)
    monkeypatch.setattr(faiss_build, "BLOCK", block)
    keys = clustered_keys()
    added = Added(monkeypatch)
    write_faiss(tmp_path / "faiss.index", keys, kind, tmp_path)
    assert (tmp_path / "faiss.index").read_bytes() == by_faiss(keys, kind, tmp_path)
    assert added.count == (len(keys) if kind in OTHERWISE else 0)
    (tmp_path / "sample.npy").unlink(missing_ok=True)
    assert [file.name for file in tmp_path.iterdir()] == ["faiss.index"]


def test_nothing_is_printed_without_scipy(tmp_path: Path) -> None:
    """FAISS's k-means says on stdout that it lacks it; some read what a build prints."""
    script = (
        "import sys, numpy as np; from pathlib import Path; sys.modules['scipy'] = None;"
        "from index.faiss_build import write_faiss;"
        "keys = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float16);"
        "write_faiss(Path(sys.argv[1], 'faiss.index'), keys, 'IVF8,SQ8', Path(sys.argv[1]))"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout == b""
    assert (tmp_path / "faiss.index").stat().st_size > 400 * 8
