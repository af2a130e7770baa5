from __future__ import annotations

import numpy as np
import pytest

from index.dense import RECALL, DenseIndex, fewest_probes, own_distances


def clustered_keys(num: int = 4000, dim: int = 16) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, dim))
    keys = centres[rng.integers(0, 20, num)] + 0.3 * rng.normal(size=(num, dim))
    return (keys / np.linalg.norm(keys, axis=1, keepdims=True)).astype(np.float16)


class Exhaustive:
    """A store that compares everything."""

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = keys.astype(np.float32)

    def search(self, queries: np.ndarray, depth: int) -> np.ndarray:
        return np.argsort(-queries @ self.keys.T, axis=1, kind="stable")[:, :depth]


def test_distances_are_those_of_the_keys_whoever_found_them() -> None:
    keys = clustered_keys(300)
    dense = DenseIndex(keys, Exhaustive(keys))
    query = keys[:1].astype(np.float32)
    found = dense.search(query, 10)[0]
    assert found[0] == 0
    cosines = dense.cosines(query[0], found)
    np.testing.assert_allclose(cosines, keys[found].astype(np.float32) @ query[0])
    assert np.all(np.diff(cosines) <= 0)


def test_depth_is_no_more_than_there_are_keys() -> None:
    keys = clustered_keys(5)
    assert DenseIndex(keys, Exhaustive(keys)).search(keys[:2].astype(np.float32), 100).shape == (
        2,
        5,
    )


def test_probes_grow_until_the_nearest_others_are_found() -> None:
    """A store that sees a tenth of the keys for each probe: ten probes see all, 16 are tried."""
    keys = clustered_keys(1000)
    exact, asked = Exhaustive(keys), []

    def search(queries: np.ndarray, depth: int, probes: int) -> np.ndarray:
        asked.append(probes)
        found = exact.search(queries, len(keys))
        seen = [row[row % 10 < probes][:depth] for row in found]
        return np.stack([np.pad(row, (0, depth - len(row)), constant_values=-1) for row in seen])

    probes, recall = fewest_probes(search, keys, 100)
    assert (probes, recall) == (16, 1.0)
    assert asked == [1, 2, 4, 8, 16]
    assert fewest_probes(search, keys, 5)[0] == 5
    assert fewest_probes(search, keys, 5)[1] < RECALL


def test_own_distances_leave_out_a_chunks_own_document() -> None:
    keys = np.eye(6, 4, dtype=np.float16)[[0, 0, 0, 1, 1, 1]]
    rows = np.asarray([0, 0, 0, 1, 1, 1], dtype=np.int32)
    np.testing.assert_allclose(own_distances(keys, rows), np.ones(21))
    assert len(own_distances(keys, np.zeros(6, np.int32))) == 0


def test_own_distances_are_of_the_nearest_key_in_whatever_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("index.dense.BLOCK", 33)
    keys = clustered_keys(300)
    rows = np.arange(300, dtype=np.int32) // 3
    cosines = keys.astype(np.float32) @ keys.astype(np.float32).T
    cosines[rows[:, None] == rows] = -1
    wanted = np.quantile(1 - cosines.max(axis=1), np.linspace(0, 1, 21))
    np.testing.assert_allclose(own_distances(keys, rows), wanted, atol=1e-6)
