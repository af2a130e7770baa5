"""Runs a script in two processes that find each other, as ``torchrun`` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def in_two_processes(code: str, folder: Path, *arguments: str) -> None:
    """``code`` with ``folder`` and ``arguments`` as its own; it can import the tests."""
    script = folder / "learn.py"
    script.write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--rdzv_endpoint", "127.0.0.1:0", "--rdzv_backend", "c10d"]
    command += ["--local_addr", "127.0.0.1", str(script), str(folder), *arguments]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
