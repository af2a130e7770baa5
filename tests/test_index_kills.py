from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHARD = 8  # of index_kills.py
ATTEMPTS = 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each kill needs a process: os.fork")
@pytest.mark.parametrize("operation", ["build", "rebuild", "add"])
def test_a_kill_loses_nothing(tmp_path: Path, operation: str) -> None:
    """Whatever step a kill hits, the same command ends with the same bytes, and embeds no more
    than the shard it was at a second time. ``python tests/index_kills.py`` tries every step."""
    command = [sys.executable, HERE / "index_kills.py", tmp_path, operation, "12"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) == 12
    assert all(kill["died"] and kill["readable"] for kill in kills)
    assert [kill["point"] for kill in kills if not kill["same"]] == []
    least = min(kill["embedded"] for kill in kills)
    assert all(kill["embedded"] <= least + (ATTEMPTS - 1) * (SHARD + 1) for kill in kills)
