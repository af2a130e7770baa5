"""What an index costs at 10^6 to 10^10 chunks: measured here a chunk, multiplied there.

    python benchmarks/scale.py --index squad-index --core-hour 0.04 --gpu-hour 2.5 --gpu-rate 14200

Measured: chunks a second that one process embeds, reads and tokenizes, and writes words of (a
sample of the index's own documents); bytes a chunk of each file of the index, but for the FAISS
file, which follows from its type (8-bit codes and an 8-byte id, the centroids, and for HNSW over
them their links). Given: prices, and what one GPU embeds (14,200 short sentences a second are
sbert.net's figure for MiniLM on a V100; nothing was measured on a GPU). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from index.assemble import key_text
from index.chunks import tokenize
from index.faiss_store import faiss_type
from index.keys import open_encoder
from index.lexical import write_lexical
from index.manifest import Manifest
from index.store import TokenStore
from index.weights import load_tokenizer

SIZES = [10**n for n in range(6, 11)]
SAMPLE = 2000
LINK_BYTES = 2 * 32 * 4
"""HNSW32: twice so many neighbours in its lowest layer, four bytes each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--core-hour", type=float, default=0.04, help="dollars")
    parser.add_argument("--gpu-hour", type=float, default=2.5, help="dollars")
    parser.add_argument("--disk-month", type=float, default=0.08, help="dollars a GB")
    parser.add_argument("--gpu-rate", type=float, default=14_200, help="chunks a second")
    options = parser.parse_args()
    manifest = Manifest.read(options.index)
    rates, sizes = measured_rates(options.index, manifest), bytes_a_chunk(manifest)
    rows = [row(num, manifest.dim, rates, sizes, options) for num in SIZES]
    given = {k: v for k, v in vars(options).items() if k != "index"}
    print(json.dumps({"rates": rates, "bytes": sizes, "given": given, "sizes": rows}, indent=1))


def measured_rates(folder: Path, manifest: Manifest) -> dict[str, float]:
    """Chunks a second of one process; torch's threads are as the environment sets them."""
    store = TokenStore(folder / manifest.version)
    chunks = range(min(SAMPLE, len(store)))
    rows = sorted({store.chunk_span(chunk)[0] for chunk in chunks})
    texts, keys = [store.document(r).text for r in rows], [key_text(store, c) for c in chunks]
    windows = [store.document(r).text[a:b] for r, a, b in map(store.span, chunks)]
    encoder, tokenizer = open_encoder(manifest.embedder), load_tokenizer(manifest.tokenizer)
    encoder.encode(keys[:64])
    with tempfile.TemporaryDirectory() as scratch:
        words = Path(scratch) / "bm25"
        seconds = {
            "embed": took(lambda: encoder.encode(keys)),
            "tokenize": took(lambda: list(tokenize(tokenizer, texts))),
            "words": took(lambda: write_lexical(windows, words)),
        }
    return {name: round(len(chunks) / value, 1) for name, value in seconds.items()}


def took(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bytes_a_chunk(manifest: Manifest) -> dict[str, float]:
    """By what they hold; without the FAISS file."""
    parts = {"documents": "text", "token": "tokens", "chunk": "tokens", "bm25": "words"}
    out = dict.fromkeys(("text", "tokens", "words", "keys"), 0.0)
    for name, record in manifest.files.items():
        if name == "keys.npy":
            out["keys"] += record.size
        elif kind := next((k for start, k in parts.items() if name.startswith(start)), ""):
            out[kind] += record.size
        elif name.startswith("document_"):
            out["text"] += record.size
    return {name: round(size / manifest.num_chunks, 1) for name, size in out.items()}


def faiss_bytes(kind: str, dim: int) -> tuple[float, float]:
    """Bytes a key, and bytes whatever the keys, of the types that a build chooses."""
    found = re.fullmatch(r"IVF(\d+)(_HNSW32)?,SQ8", kind)
    if found is None:
        return 4.0 * dim, 0.0
    links = LINK_BYTES if found[2] else 0
    return dim + 8.0, int(found[1]) * (4.0 * dim + links)


def row(
    num: int, dim: int, rates: dict[str, float], sizes: dict[str, float], options: Any
) -> dict[str, Any]:
    """One size: hours, terabytes and dollars."""
    kind = faiss_type(num)
    per_key, fixed = faiss_bytes(kind, dim)
    faiss_tb = (num * per_key + fixed) / 1e12
    disk_tb = num * sum(sizes.values()) / 1e12 + faiss_tb
    core_hours = num / rates["embed"] / 3600
    gpu_hours = num / options.gpu_rate / 3600
    one_process = num * (1 / rates["tokenize"] + 1 / rates["words"]) / 3600
    return {
        "chunks": num,
        "faiss_type": kind,
        "embedding_process_hours": round(core_hours, 1),
        "embedding_dollars_cpu": round(core_hours * options.core_hour, 2),
        "embedding_gpu_hours": round(gpu_hours, 2),
        "embedding_dollars_gpu": round(gpu_hours * options.gpu_hour, 2),
        "reading_and_words_hours": round(one_process, 1),
        "faiss_tb": round(faiss_tb, 4),
        "disk_tb": round(disk_tb, 4),
        "disk_dollars_month": round(1000 * disk_tb * options.disk_month, 2),
    }


if __name__ == "__main__":
    main()
