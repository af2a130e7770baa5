"""How fast and how exactly keys are found, from ten thousand to a million of them.

    python benchmarks/search.py --sizes 10000 100000 1000000
    python benchmarks/search.py --sizes 10000000 --type IVF16384_HNSW32,SQ8
    python benchmarks/search.py --keys my-index/v1/keys.npy --sizes 50000

One line of JSON a size: FAISS type, build seconds, lists visited (chosen as a build chooses them),
recall@10 on keys that are not in the database, milliseconds of one question through ``DenseIndex``
and through bare FAISS on the same file, one thread each (their ratio is what our wrapping costs),
bytes a chunk, seconds from opening the files to the first result, the peak of the memory that
building took (MB, all that is resident). Without --keys they are
synthetic: a mixture of 2,000 unequal clusters of low rank, as embeddings of text are. --plot draws
recall and milliseconds by size. --milvus sends the keys to a server too: the share of the ten
nearest that both stores find, and its milliseconds.

    python benchmarks/search.py --keys my-index/v1/keys.npy --sizes 50000 \\
        --milvus milvus://127.0.0.1:19530/benchmark
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from index.arrays import ArrayWriter, mapped
from index.dense import DenseIndex, numbered_blocks
from index.faiss_store import FaissStore, faiss_type, visit
from index.milvus_store import MilvusStore

DIM, CLUSTERS, RANK, BLOCK = 384, 2000, 24, 1 << 16
QUERIES = 300


def main() -> None:
    """Prints one JSON object a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--keys", type=Path, help="keys.npy of an index")
    parser.add_argument("--type", help="FAISS factory string; default: as a build chooses")
    parser.add_argument("--milvus", help="milvus://HOST:PORT/NAME of a running server")
    parser.add_argument("--plot", type=Path, help=".png to draw")
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "keys.npy"
            queries = kept_out(options.keys, size, file) if options.keys else synthetic(size, file)
            keys = mapped(file)
            row = measured(keys, queries, options.type or faiss_type(len(keys)), options.milvus)
        print(json.dumps(row), flush=True)
        rows.append(row)
    if options.plot:
        draw(rows, options.plot)


def kept_out(source: Path, size: int, file: Path) -> Any:
    """Writes up to ``size`` of an index's keys; others of them as questions, float32 [n, dim]."""
    every = np.load(source)
    order = np.random.default_rng(2).permutation(len(every))[: size + QUERIES]
    np.save(file, every[order[QUERIES:]])
    return every[order[:QUERIES]].astype(np.float32)


def synthetic(num: int, file: Path) -> Any:
    """Writes float16 unit keys [num, DIM]; more of them as questions, float32 [QUERIES, DIM]."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, DIM)) + 0.7 * rng.normal(size=DIM)
    spread = rng.normal(size=(CLUSTERS // 10, RANK, DIM)) / RANK**0.5
    weights = rng.zipf(1.3, CLUSTERS).clip(max=200).astype(float)
    cluster = rng.choice(CLUSTERS, QUERIES + num, p=weights / weights.sum())

    def drawn(part: Any) -> Any:
        local = np.einsum(
            "nr,nrd->nd", rng.normal(size=(len(part), RANK)), spread[part % len(spread)]
        )
        block = centres[part] + 1.2 * local + 0.3 * rng.normal(size=(len(part), DIM))
        return block / np.linalg.norm(block, axis=1, keepdims=True)

    queries = drawn(cluster[:QUERIES]).astype(np.float32)
    with ArrayWriter(file, np.float16, (DIM,)) as keys:
        for start in range(QUERIES, len(cluster), BLOCK):
            keys.extend(drawn(cluster[start : start + BLOCK]))
    return queries


def measured(keys: Any, queries: Any, kind: str, milvus: str | None) -> dict[str, Any]:
    """All figures of one database."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
        begin = time.perf_counter()
        written, recall = FaissStore.write(folder / "faiss.index", keys, kind)
        probes, seconds = written.probes, time.perf_counter() - begin
        del written
        peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
        size = (folder / "faiss.index").stat().st_size
        begin = time.perf_counter()
        store = FaissStore.open(folder / "faiss.index", keys.shape, probes)
        dense = DenseIndex(keys, store)
        dense.search(queries[:1], 10)
        opened = time.perf_counter() - begin
        bare = faiss.read_index(str(folder / "faiss.index"))
        visit(bare, probes)
        faiss.omp_set_num_threads(1)
        ours, theirs = alternating(dense.search, bare.search, queries)
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        found = dense.search(queries, 10)
        exact = nearest(keys, queries)
        shared = [np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]
        return {
            "keys": len(keys),
            "type": kind,
            "build_s": round(seconds, 1),
            "build_mb": int(peak) // 1024,
            "probes": probes,
            "recall_at_build": round(recall, 3),
            "recall_at_10": round(float(np.mean(shared)), 3),
            "ms": round(ours, 3),
            "bare_ms": round(theirs, 3),
            "ratio": round(ours / theirs, 3),
            "bytes_per_chunk": round(size / len(keys)),
            "open_s": round(opened, 3),
            **(served(milvus, keys, queries, found) if milvus else {}),
        }


def served(uri: str, keys: Any, queries: Any, found: Any) -> dict[str, Any]:
    """The same keys in a Milvus server, beside what FAISS ``found``, [queries, 10]."""
    store, _ = MilvusStore.write(uri, "v1", keys, "benchmark")
    theirs = store.search(queries, 10)
    shared = [np.isin(a, b).mean() for a, b in zip(found, theirs, strict=True)]
    taken = []
    for query in queries:
        begin = time.perf_counter()
        store.search(query[None], 10)
        taken.append(1000 * (time.perf_counter() - begin))
    return {
        "milvus_agreement_at_10": round(float(np.mean(shared)), 4),
        "milvus_ms": round(statistics.median(taken), 3),
    }


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Recall and milliseconds of one question by the number of keys."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    sizes = [row["keys"] for row in rows]
    left.semilogx(sizes, [row["recall_at_10"] for row in rows], "o-")
    left.set(xlabel="keys", ylabel="recall@10", ylim=(0.9, 1.002))
    right.loglog(sizes, [row["ms"] for row in rows], "o-", label="through DenseIndex")
    right.loglog(sizes, [row["bare_ms"] for row in rows], "x--", label="bare FAISS")
    right.set(xlabel="keys", ylabel="ms, one question, one thread")
    for row in rows:
        right.annotate(row["type"], (row["keys"], row["ms"]), fontsize=7, rotation=15)
    right.legend()
    figure.savefig(file, dpi=120)


def alternating(
    ours: Callable[..., Any], theirs: Callable[..., Any], queries: Any
) -> tuple[float, float]:
    """Median milliseconds of one question each, taken in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for query in queries:
        for search, taken in zip((ours, theirs), times, strict=True):
            begin = time.perf_counter()
            search(query[None], 10)
            taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[0]), statistics.median(times[1])


def nearest(keys: Any, queries: Any) -> Any:
    """Exact ids [queries, 10]."""
    cosines = np.empty((len(queries), 0), np.float32)
    ids = np.empty((len(queries), 0), np.int64)
    for start, stored in numbered_blocks(keys):
        block = stored.astype(np.float32)
        near, places = faiss.knn(queries, block, 10, metric=faiss.METRIC_INNER_PRODUCT)
        cosines, ids = np.hstack([cosines, near]), np.hstack([ids, places + start])
    return np.take_along_axis(ids, np.argsort(-cosines, axis=1)[:, :10], 1)


if __name__ == "__main__":
    main()
