"""How long ``retro --help`` takes from a cold interpreter: the claim is under 0.3 s.

Prints the median and the slowest of some runs, in seconds, after one that warms the disk cache.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 20
COMMAND = [sys.executable, "-m", "retro.cli", "--help"]


def seconds() -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    subprocess.run(COMMAND, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    seconds()
    times = [seconds() for _ in range(RUNS)]
    print(
        f"retro --help: median {statistics.median(times):.3f} s, slowest {max(times):.3f} s of {RUNS}"
    )


if __name__ == "__main__":
    main()
