"""How long ``retro --help`` takes from a cold interpreter: the claim is under 0.3 s.

Prints the median and the slowest of some runs, after one that warms the disk cache, and the
processor time, which a busy machine does not lengthen.
"""

from __future__ import annotations

import os
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


def processor_seconds() -> float:
    """User and system time of all the runs so far."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    seconds()
    before = processor_seconds()
    times = [seconds() for _ in range(RUNS)]
    processor = (processor_seconds() - before) / RUNS
    print(f"retro --help, {RUNS} runs: median {statistics.median(times):.3f} s, ", end="")
    print(f"slowest {max(times):.3f} s, processor {processor:.3f} s")


if __name__ == "__main__":
    main()
