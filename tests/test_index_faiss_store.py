from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from test_index_dense import Exhaustive, clustered_keys

from index import faiss_store
from index.dense import RECALL
from index.errors import UserError
from index.faiss_build import write_faiss
from index.faiss_store import (
    FaissStore,
    check_type,
    faiss_type,
    fitted,
    num_probes,
    visit,
)


def made(folder: Path, keys: np.ndarray, kind: str) -> Any:
    """The index in a file that the project wrote."""
    write_faiss(folder / "made.index", keys, kind, folder)
    return faiss.read_index(str(folder / "made.index"))


KINDS = pytest.mark.parametrize("kind", ["Flat", "SQfp16", "IVF64,SQ8", "IVF64_HNSW32,SQ8"])


@KINDS
def test_every_type_finds_the_nearest_keys(tmp_path: Path, kind: str) -> None:
    keys, file = clustered_keys(), tmp_path / "faiss.index"
    written, recall = FaissStore.write(file, keys, kind)
    store = FaissStore.open(file, keys.shape, written.probes)
    queries = keys[::50].astype(np.float32)
    exact, found = Exhaustive(keys).search(queries, 10), store.search(queries, 10)
    shared = [len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > (0.999 if kind in {"Flat", "SQfp16"} else 0.9)
    assert recall >= RECALL
    np.testing.assert_array_equal(written.search(queries, 10), found)


@KINDS
def test_one_question_finds_what_it_finds_among_many(tmp_path: Path, kind: str) -> None:
    keys = clustered_keys()
    store = FaissStore(made(tmp_path, keys, kind), 8)
    queries = keys[:5].astype(np.float32)
    alone = np.concatenate([store.search(query[None], 10) for query in queries])
    np.testing.assert_array_equal(alone, store.search(queries, 10))


def test_lists_are_visited_until_the_nearest_keys_are_found(tmp_path: Path) -> None:
    """Fewer would miss the target; recall counts the ten nearest others, never the key itself."""
    keys = clustered_keys()
    faiss_index = made(tmp_path, keys, "IVF64,Flat")
    probes, recall = num_probes(lambda: faiss_index, keys)
    queries = keys[::7].astype(np.float32)
    nearest = Exhaustive(keys).search(queries, 11)[:, 1:]

    def measured(count: int) -> float:
        visit(faiss_index, count)
        pairs = zip(nearest, faiss_index.search(queries, 11)[1], strict=True)
        return float(np.mean([len(set(a) & set(b)) / 10 for a, b in pairs]))

    assert 1 < probes < 64
    assert recall >= RECALL
    assert measured(probes) == pytest.approx(recall, abs=0.02)
    assert measured(probes // 2) < RECALL


def test_exact_search_visits_no_lists_and_one_list_is_visited(tmp_path: Path) -> None:
    keys = clustered_keys(400)
    for exact in ("Flat", "SQfp16"):
        assert num_probes(partial(made, tmp_path, keys, exact), keys) == (0, 1.0)
    assert num_probes(partial(made, tmp_path, keys, "IVF1,SQ8"), keys)[0] == 1


@KINDS
def test_removed_chunks_are_never_found(tmp_path: Path, kind: str) -> None:
    keys = clustered_keys()
    faiss_index = made(tmp_path, keys, kind)
    probes, _ = num_probes(lambda: faiss_index, keys)
    query = keys[:1].astype(np.float32)
    before = FaissStore(faiss_index, probes).search(query, 20)[0]
    after = FaissStore(faiss_index, probes, before[::2]).search(query, 10)[0]
    assert after.tolist() == before[1::2].tolist()


def test_a_file_that_holds_something_else_is_told(tmp_path: Path) -> None:
    keys, file = clustered_keys(5), tmp_path / "faiss.index"
    FaissStore.write(file, keys, "Flat")
    for shape in ((5, 15), (6, 16)):
        with pytest.raises(ValueError, match="keys of"):
            FaissStore.open(file, shape, 0)


def test_the_type_grows_with_the_database_and_can_always_be_trained() -> None:
    assert faiss_type(100_000) == "SQfp16"
    assert faiss_type(120_000) == "IVF3076,SQ8"
    assert faiss_type(1_000_000) == "IVF4096,SQ8"
    assert faiss_type(1_000_001) == "IVF25641_HNSW32,SQ8"
    assert faiss_type(10_000_000) == "IVF65536_HNSW32,SQ8"
    assert faiss_type(100_000_000) == "IVF262144_HNSW32,SQ8"


@KINDS
def test_a_full_disk_is_the_systems_error(tmp_path: Path, kind: str) -> None:
    """It was FAISS's own: a traceback instead of a line that says so."""
    with pytest.raises(OSError, match="No space left"):
        FaissStore.write(Path("/dev/full"), clustered_keys(), kind, tmp_path)


@pytest.mark.parametrize("kind", ["SQ8", "HNSW8,Flat", "IVF9999,PQ8x4fs", "PCA8,IVF64,SQ8"])
def test_types_that_are_asked_for_can_be_used(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed chunks are left out with them, and what they find is measured, not assumed."""
    monkeypatch.setattr(faiss_store, "TRIED", 500)
    keys, file = clustered_keys(), tmp_path / "faiss.index"
    check_type(kind, keys.shape[1])
    written, recall = FaissStore.write(file, keys, fitted(kind, len(keys)))
    assert 0.1 < recall <= 1
    assert recall < 1 or kind == "SQ8"
    removed = np.arange(0, len(keys), 2)
    store = FaissStore.open(file, keys.shape, written.probes, removed)
    found = store.search(keys[:50].astype(np.float32), 5)
    assert not np.isin(found, removed).any()
    assert (found >= 0).any()


@pytest.mark.parametrize("kind", ["IVF64", "Nonsense", "IVF64,PQ7"])
def test_types_that_faiss_has_not_are_refused_before_any_work(kind: str) -> None:
    with pytest.raises(UserError, match=f"--faiss-type {kind}: FAISS cannot use it"):
        check_type(kind, 64)


def test_no_more_lists_are_made_than_can_be_trained() -> None:
    assert fitted("OPQ8_32,IVF65536_HNSW32,SQ8", 3900) == "OPQ8_32,IVF100_HNSW32,SQ8"
    assert fitted("IVF16,Flat", 10) == "IVF1,Flat"
    assert fitted("IVF16,Flat", 10**6) == "IVF16,Flat"
    assert fitted("", 10) == ""


@pytest.mark.parametrize(
    "kind", ["IVF64,SQ8", "IVF64_HNSW32,SQ8", "IVF64,PQ8x4fs", "PCA8,IVF64,SQ8"]
)
def test_lists_read_a_few_at_a_time_give_what_one_search_finds(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_store, "READ", 4000)
    keys = clustered_keys()
    faiss_index = made(tmp_path, keys, kind)
    queries = keys[::400].astype(np.float32)
    opened = []
    found = faiss_store._searched(lambda: opened.append(1) or faiss_index, queries, 11, 30)
    visit(faiss_index, 30)
    np.testing.assert_array_equal(found, faiss_index.search(queries, 11)[1])
    assert len(opened) > 5 or kind in {"IVF64,PQ8x4fs", "PCA8,IVF64,SQ8"}
