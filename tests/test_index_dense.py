from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.dense import (
    RECALL,
    DenseIndex,
    build_faiss,
    faiss_type,
    num_probes,
    own_distances,
    visit,
)


def clustered_keys(num: int = 4000, dim: int = 16) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, dim))
    keys = centres[rng.integers(0, 20, num)] + 0.3 * rng.normal(size=(num, dim))
    return (keys / np.linalg.norm(keys, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("kind", ["Flat", "IVF64,SQ8", "IVF64_HNSW32,SQ8"])
def test_every_type_finds_the_nearest_keys(tmp_path: Path, kind: str) -> None:
    import faiss

    keys = clustered_keys()
    np.save(tmp_path / "keys.npy", keys)
    faiss_index = build_faiss(keys, kind)
    probes, _ = num_probes(faiss_index, keys)
    faiss.write_index(faiss_index, str(tmp_path / "faiss.index"))
    dense = DenseIndex(tmp_path, keys.shape, probes)
    queries = keys[::50].astype(np.float32)
    exact = np.argsort(-queries @ keys.T.astype(np.float32), axis=1)[:, :10]
    found = dense.search(queries, 10)
    shared = [len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > (0.999 if kind == "Flat" else 0.9)
    cosines = dense.cosines(queries[0], exact[0])
    np.testing.assert_allclose(cosines, keys[exact[0]].astype(np.float32) @ queries[0])


def test_lists_are_visited_until_the_nearest_keys_are_found() -> None:
    """Fewer would miss the target; recall counts the ten nearest others, never the key itself."""
    keys = clustered_keys()
    faiss_index = build_faiss(keys, "IVF64,Flat")
    probes, recall = num_probes(faiss_index, keys)
    rows = np.arange(0, len(keys), 7)
    nearest = np.argsort(-(keys[rows] @ keys.T).astype(np.float32), axis=1)[:, 1:11]

    def measured(count: int) -> float:
        visit(faiss_index, count)
        found = faiss_index.search(keys[rows].astype(np.float32), 11)[1]
        return float(
            np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest, found, strict=True)])
        )

    assert 1 < probes < 64
    assert recall >= RECALL
    assert measured(probes) == pytest.approx(recall, abs=0.02)
    assert measured(probes // 2) < RECALL


def test_exact_search_visits_no_lists_and_a_tiny_index_all() -> None:
    keys = clustered_keys(5)
    assert num_probes(build_faiss(keys, "Flat"), keys) == (0, 1.0)
    assert num_probes(build_faiss(clustered_keys(), "IVF1,SQ8"), clustered_keys())[0] == 1


def test_depth_is_no_more_than_there_are_keys(tmp_path: Path) -> None:
    import faiss

    keys = clustered_keys(5)
    np.save(tmp_path / "keys.npy", keys)
    faiss.write_index(build_faiss(keys, "Flat"), str(tmp_path / "faiss.index"))
    assert DenseIndex(tmp_path, (5, 16), 0).search(keys[:2].astype(np.float32), 100).shape == (2, 5)


@pytest.mark.parametrize("kind", ["Flat", "IVF64,SQ8", "IVF64_HNSW32,SQ8"])
def test_removed_chunks_are_never_found(tmp_path: Path, kind: str) -> None:
    import faiss

    keys = clustered_keys()
    np.save(tmp_path / "keys.npy", keys)
    faiss_index = build_faiss(keys, kind)
    probes, _ = num_probes(faiss_index, keys)
    faiss.write_index(faiss_index, str(tmp_path / "faiss.index"))
    query = keys[:1].astype(np.float32)
    before = DenseIndex(tmp_path, keys.shape, probes).search(query, 20)[0]
    after = DenseIndex(tmp_path, keys.shape, probes, before[::2]).search(query, 10)[0]
    assert after.tolist() == before[1::2].tolist()


def test_files_that_hold_something_else_are_told(tmp_path: Path) -> None:
    import faiss

    keys = clustered_keys(5)
    np.save(tmp_path / "keys.npy", keys)
    faiss.write_index(build_faiss(keys, "Flat"), str(tmp_path / "faiss.index"))
    for shape in ((5, 15), (6, 16)):
        with pytest.raises(ValueError, match="keys of"):
            DenseIndex(tmp_path, shape, 0)


def test_the_type_grows_with_the_database_and_can_always_be_trained() -> None:
    assert faiss_type(100_000) == "Flat"
    assert faiss_type(120_000) == "IVF3076,SQ8"
    assert faiss_type(1_000_000) == "IVF4096,SQ8"
    assert faiss_type(1_000_001) == "IVF25641_HNSW32,SQ8"
    assert faiss_type(10_000_000) == "IVF65536_HNSW32,SQ8"
    assert faiss_type(100_000_000) == "IVF262144_HNSW32,SQ8"


def test_own_distances_leave_out_a_chunks_own_document() -> None:
    keys = np.eye(6, 4, dtype=np.float16)[[0, 0, 0, 1, 1, 1]]
    rows = np.asarray([0, 0, 0, 1, 1, 1], dtype=np.int32)
    faiss_index = build_faiss(keys, "Flat")
    np.testing.assert_allclose(own_distances(faiss_index, keys, rows), np.ones(21))
    assert len(own_distances(faiss_index, keys, np.zeros(6, np.int32))) == 0
