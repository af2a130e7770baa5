"""How long one question takes, warm and from a cold start, and how much memory it needs.

    python benchmarks/ask.py --index demo/index --questions demo/questions.jsonl

Warm: median and 90th percentile over the questions, one at a time, k = 8, with Monte-Carlo dropout
(and without, as a ratio in the same run). Cold: `retro ask` in a new process, three times.
Memory: the peak resident size of one such process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--kind", help="only questions of this kind")
    parser.add_argument("--limit", type=int, default=30)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.questions.open()]
    questions = [row["question"] for row in rows if options.kind in (None, row.get("kind"))]
    questions = questions[: options.limit]
    print(json.dumps(cold(options.index, questions[0]) | warm(options.index, questions), indent=1))


def warm(index: Path, questions: list[str]) -> dict[str, float]:
    """Milliseconds a question in this process, alternating with and without dropout."""
    from retro.answer import Answerer

    answerer = Answerer.open(index)
    drafter, samples = answerer.drafter, answerer.drafter.num_samples
    answerer.answer(questions[0])
    with_dropout, without = [], []
    for question in questions:
        drafter.num_samples = samples
        with_dropout.append(_milliseconds(partial(answerer.answer, question)))
        drafter.num_samples = 0
        without.append(_milliseconds(partial(_drafted, answerer, question)))
    return {
        "warm_ms_median": statistics.median(with_dropout),
        "warm_ms_p90": statistics.quantiles(with_dropout, n=10)[-1],
        "without_dropout_ms_median": statistics.median(without),
        "dropout_ratio": statistics.median(with_dropout) / statistics.median(without),
    }


def cold(index: Path, question: str) -> dict[str, float]:
    """Seconds of `retro ask` from start to exit, median of three, and its peak memory in MB."""
    command = [sys.executable, "-m", "retro.cli", "ask", "--index", str(index), question]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"cold_s_median": statistics.median(times), "peak_memory_mb": peak}


def _drafted(answerer: Any, question: str) -> None:
    """Search and draft alone: without dropout the head lacks signals, so nothing is decided."""
    answerer.drafts([question], answerer.find([question]))


def _milliseconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
