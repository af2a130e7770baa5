"""FAISS on GPUs: the way there and back by a stand-in that copies, and the real one if there is a
GPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
from test_index_dense import clustered_keys

from index import gpu
from index.faiss_store import FaissStore

KINDS = pytest.mark.parametrize("kind", ["Flat", "SQfp16", "IVF64,SQ8", "IVF64_HNSW32,SQ8"])


class Card:
    """Stands for the GPU: what was copied to it, and what came back."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.options: list[Any] = []
        self.returned: list[Any] = []

    def take(self, index: Any, co: Any, ngpu: int) -> Any:
        assert ngpu == 1
        self.options.append(co)
        self.taken.append(faiss.clone_index(index))
        return self.taken[-1]

    def give(self, index: Any) -> Any:
        assert index in self.taken
        self.returned.append(index)
        return faiss.clone_index(index)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    made = Card()
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", made.take)
    monkeypatch.setattr(faiss, "index_gpu_to_cpu", made.give, raising=False)
    return made


@KINDS
def test_an_index_is_trained_filled_and_searched_there(
    card: Card, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, file = clustered_keys(), tmp_path / "faiss.index"
    written, _ = FaissStore.write(file, keys, kind)
    inverted = kind.startswith("IVF")
    if inverted:
        centroids, filled = card.taken
        assert isinstance(centroids, faiss.IndexFlat)
        assert centroids.ntotal == 64  # lists were trained with it
        assert filled.ntotal == len(keys)
    assert card.returned == card.taken[1:]  # exact keys are written where they are
    store = FaissStore.open(file, keys.shape, written.probes)
    assert len(card.taken) == 1 + 2 * inverted
    assert store._faiss is card.taken[-1]
    assert store._faiss.ntotal == len(keys)
    assert card.options[-1].allowCpuCoarseQuantizer
    if inverted:
        assert card.taken[-1].nprobe == written.probes
    else:
        assert isinstance(card.taken[-1], faiss.IndexFlat)
    queries = keys[::50].astype(np.float32)
    found = store.search(queries, 10)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    there = len(card.taken)
    plain, _ = FaissStore.write(tmp_path / "plain.index", keys, kind)
    assert len(card.taken) == there
    np.testing.assert_array_equal(found, plain.search(queries, 10))


def test_what_the_gpu_cannot_take_stays_on_the_cpu_and_is_told(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: Any, **named: Any) -> Any:
        raise RuntimeError("Error in cloner at GpuCloner.cpp:1\nnot implemented on GPU")

    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", refuse)
    keys = clustered_keys()
    store, recall = FaissStore.write(tmp_path / "faiss.index", keys, "IVF64,SQ8")
    assert recall > 0.9
    assert store.search(keys[:1].astype(np.float32), 1)[0, 0] == 0
    assert "stays on the CPU" in caplog.text
    assert "(not implemented on GPU)" in caplog.text


def test_a_search_that_leaves_out_removed_chunks_stays_on_the_cpu(
    card: Card, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU's search takes no notice of what is left out."""
    keys, file = clustered_keys(), tmp_path / "faiss.index"
    FaissStore.write(file, keys, "Flat")
    there = len(card.taken)
    store = FaissStore.open(file, keys.shape, 0, np.array([7]))
    assert len(card.taken) == there
    assert "search stays on the CPU" in caplog.text
    assert 7 not in store.search(keys[7:8].astype(np.float32), 10)


def test_without_a_gpu_nothing_is_copied() -> None:
    if gpu.num_gpus():
        pytest.skip("this machine has a GPU")
    index = faiss.IndexFlatIP(4)
    assert gpu.to_gpu(index) is index


@pytest.mark.skipif(gpu.num_gpus() == 0, reason="needs faiss-gpu and a GPU")
@KINDS
def test_a_real_gpu_finds_what_the_cpu_finds(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, file = clustered_keys(), tmp_path / "faiss.index"
    written, _ = FaissStore.write(file, keys, kind)
    queries = keys[::50].astype(np.float32)
    fast = FaissStore.open(file, keys.shape, written.probes)
    assert fast._faiss is not None
    assert "Gpu" in type(fast._faiss).__name__
    found = fast.search(queries, 10)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    exact = FaissStore.open(file, keys.shape, written.probes).search(queries, 10)
    cosines = [
        np.einsum("nkd,nd->nk", keys[rows].astype(np.float32), queries) for rows in (found, exact)
    ]
    np.testing.assert_allclose(*cosines, atol=1e-2)
