"""What building an index costs beside embedding its chunks, and how its memory grows.

    python benchmarks/index_build.py --corpus demo/corpus --chunks 600

Time: a build with MiniLM against ``SentenceTransformer.encode`` (batches of 32) of the same
chunks, as it comes (float32) and in the number format that the build uses (``index.devices``), by
turns in one process, the models loaded beforehand; wall and processor time.
Memory: builds of the corpus and of ten times its text, each in a process of its own, with the means
of MiniLM's word vectors for keys (far quicker, and they cluster as keys do): the peak of the
resident size (it counts pages of mapped files, which the system takes back when it needs them) and
of its anonymous part. Prints two JSON objects.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from index.assemble import key_text
from index.build import build_index
from index.chunks import CHUNK_SIZE, num_chunks, tokenize
from index.devices import fast_dtype
from index.keys import open_encoder
from index.sources import Document, read_documents
from index.store import TokenStore
from index.weights import load_tokenizer, resolve

TOKENIZER = "smollm2-135m"
TIMES = 10
TURNS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required="--build" not in sys.argv)
    parser.add_argument("--chunks", type=int, default=600, help="for the comparison of times")
    parser.add_argument("--documents", type=int, default=1000, help="at most, for the memory")
    parser.add_argument("--build", type=Path, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        source, out, words = options.build
        print(build_index([source], out, embedder=WordVectors(words)).num_chunks)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(times(options.corpus, Path(folder), options.chunks), indent=1))
        print(json.dumps(memory(options.corpus, Path(folder), options.documents), indent=1))


def times(corpus: Path, folder: Path, chunks: int) -> dict[str, Any]:
    """Seconds of builds and of plain encoding, summed over ``TURNS`` turns, and their ratios."""
    from sentence_transformers import SentenceTransformer

    source = write(folder / "some.jsonl", some_chunks(corpus, chunks))
    encoder, plain = open_encoder("minilm"), SentenceTransformer(str(resolve("minilm")))
    alike = SentenceTransformer(str(resolve("minilm"))).to(fast_dtype())
    out = folder / "index"

    def build() -> None:
        build_index([source], out, embedder=encoder, progress=False)

    build()
    [files] = out.glob("v*")
    store = TokenStore(files)
    texts = [key_text(store, chunk) for chunk in range(len(store))]
    for model in (plain, alike):
        model.encode(texts[:64])
    built, encoded, same = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
    for _ in range(TURNS):
        encoded = add(encoded, seconds(lambda: plain.encode(texts, batch_size=32)))
        same = add(same, seconds(lambda: alike.encode(texts, batch_size=32)))
        built = add(built, seconds(build))
    return {
        "chunks": len(texts),
        "build_s": built[0],
        "encode_s": encoded[0],
        "ratio": built[0] / encoded[0],
        "processor_ratio": built[1] / encoded[1],
        "encode_same_format_s": same[0],
        "ratio_same_format": built[0] / same[0],
        "processor_ratio_same_format": built[1] / same[1],
    }


def memory(corpus: Path, folder: Path, limit: int) -> dict[str, Any]:
    """Peaks in MB of a build of some documents, and of ``TIMES`` as many."""
    documents = list(
        islice((d for d in read_documents([corpus]) if isinstance(d, Document)), limit)
    )
    words = WordVectors.save(folder / "words")
    found: dict[str, Any] = {}
    for times in (1, TIMES):
        source = write(folder / f"{times}.jsonl", copies(documents, times))
        for name, peak in peaks(source, folder / f"index{times}", words).items():
            found[f"{name}_{times}x"] = peak
    for name in ("resident", "anonymous"):
        found[f"{name}_growth"] = found[f"{name}_mb_{TIMES}x"] / found[f"{name}_mb_1x"]
    return found


class WordVectors:
    """Keys for many chunks in little time: MiniLM's word vectors, averaged; they cluster as keys
    do. Kept in ``folder``."""

    name, fingerprint = "word-vectors", "word-vectors"

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._table = np.load(folder / "words.npy")
        self.dim = self._table.shape[1]

    @staticmethod
    def save(folder: Path) -> Path:
        folder.mkdir()
        source = resolve("minilm")
        shutil.copy(source / "tokenizer.json", folder)
        weights = load_file(source / "model.safetensors")
        table = weights["embeddings.word_embeddings.weight"].astype(np.float32)
        np.save(folder / "words.npy", table - table.mean(axis=0))
        return folder

    def encode(self, texts: Sequence[str]) -> Any:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        keys = np.stack([self._table[some].mean(axis=0) for some in ids])
        return keys / np.linalg.norm(keys, axis=1, keepdims=True)


def peaks(source: Path, out: Path, words: Path) -> dict[str, float]:
    """Of a build in a process of its own."""
    command = [sys.executable, __file__, "--build", str(source), str(out), str(words)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    resident = anonymous = 0
    while child.poll() is None:
        with suppress(OSError, KeyError):
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines)
            resident = int(status["VmHWM"].split()[0])
            anonymous = max(anonymous, int(status["RssAnon"].split()[0]))
        time.sleep(0.01)
    assert child.stdout is not None
    chunks = int(child.stdout.read())
    return {"resident_mb": resident / 1024, "anonymous_mb": anonymous / 1024, "chunks": chunks}


def some_chunks(corpus: Path, count: int) -> Iterator[Document]:
    """The first documents of a corpus that have ``count`` chunks."""
    tokenizer = load_tokenizer(TOKENIZER)
    for document in read_documents([corpus]):
        if isinstance(document, Document):
            yield document
            count -= num_chunks(len(tokenize(tokenizer, [document.text])[0].ids), CHUNK_SIZE)
            if count <= 0:
                return


def copies(documents: list[Document], times: int) -> Iterator[Document]:
    """Documents over and over, each time with another first word: no text comes twice."""
    for number in range(times):
        for document in documents:
            text = f"{number} {document.text}"
            yield replace(document, id=f"{number}/{document.id}", text=text)


def write(file: Path, documents: Iterator[Document]) -> Path:
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(asdict(document)) + "\n" for document in documents)
    return file


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def add(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] + other[0], one[1] + other[1]


if __name__ == "__main__":
    main()
