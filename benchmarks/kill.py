"""How many builds that were killed at a random moment end, started again, with the same bytes.

    python benchmarks/kill.py --corpus demo/corpus --kills 100

Each build is a process of its own, forked from this one, which has loaded the libraries; SIGKILL
comes after a random part of the time that a whole build takes from its plan on. Keys are hashed
words (no model) in shards of 64, so that kills fall into every stage. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from index.folder import PLAN, WORK, Work
from index.manifest import Manifest

SHARD = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.update(TOKENIZERS_PARALLELISM="false")  # its threads do not survive a fork
    import faiss

    from index import assemble
    from index.weights import load_tokenizer

    assemble.SHARD = SHARD
    faiss.omp_set_num_threads(1)
    load_tokenizer("smollm2-135m")
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options.corpus, Path(folder), options.kills, options.seed)))


def measure(corpus: Path, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    whole = folder / "whole"
    child = start(corpus, whole)
    await_plan(child, whole)
    started = time.perf_counter()
    wait(child)
    seconds = time.perf_counter() - started
    rng, hits, same = random.Random(seed), Counter[str](), 0
    for number in range(kills):
        print(f"\r{number} kills, {same} the same", end="", file=sys.stderr)
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        place = kill(corpus, out, rng.uniform(0, seconds))
        hits[place] += 1
        if place != "after the end":
            begun = work.built if (work := Work.found(out)) else None
            wait(start(corpus, out))
            if begun and Manifest.read(out).built != begun:
                continue
        same += content(out) == content(whole)
    print(file=sys.stderr)
    return {"kills": kills, "same": same, "seconds": round(seconds, 2), "killed_in": dict(hits)}


def kill(corpus: Path, out: Path, seconds: float) -> str:
    """Kills a build some time after it has planned its work; what it was doing."""
    child = start(corpus, out)
    await_plan(child, out)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    work = Work.found(out)
    if work is None:
        return "after the end" if (out / "manifest.json").exists() else "before the plan"
    stages = ("store", "words", "keys", "dense")
    return next((stage for stage in stages if work.stage(stage) is None), "publishing")


def await_plan(child: int, out: Path) -> None:
    """Returns when a build has written its plan, or has ended."""
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while not (out / WORK / PLAN).exists() and os.waitid(os.P_PID, child, ended) is None:
        time.sleep(0.001)


def start(corpus: Path, out: Path) -> int:
    """The process id of a build."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            from index.build import build_index

            build_index([corpus], out, embedder="hashing", progress=False)
            status = 0
        finally:
            os._exit(status)
    return child


def wait(child: int) -> None:
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"a build that was left alone ended with {status}")


def content(out: Path) -> dict[str, Any]:
    """Every byte of an index but the date, and that nothing else is left in its folder."""
    manifest = Manifest.read(out)
    files = (f for f in (out / manifest.version).rglob("*") if f.is_file())
    names = sorted(f.name for f in out.iterdir())
    facts = asdict(manifest) | {"built": None}
    return {"names": names, "facts": facts} | {
        str(f.relative_to(out)): f.read_bytes() for f in files
    }


if __name__ == "__main__":
    main()
