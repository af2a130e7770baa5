from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.arrays import allocate, give_back, in_blocks, mapped, rows_in_blocks


def resident() -> int:
    """Bytes of mapped files that count as this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.fixture
def big(tmp_path: Path) -> np.ndarray:
    np.save(tmp_path / "big.npy", np.arange(1 << 22).reshape(-1, 2))
    return mapped(tmp_path / "big.npy")


def test_what_was_read_is_given_back(big: np.ndarray) -> None:
    before = resident()
    whole = int(big.sum())
    assert resident() - before > big.nbytes // 2
    give_back(big)
    assert resident() - before < big.nbytes // 4
    sums = []
    for block in in_blocks(big, 1 << 12):
        sums.append(int(block.sum()))
        assert resident() - before < big.nbytes // 2
    assert sum(sums) == whole == int(big.sum())


def test_rows_are_read_block_by_block(big: np.ndarray) -> None:
    rows = np.sort(np.random.default_rng(0).choice(len(big), 500, replace=False))
    before = resident()
    parts = []
    for part in rows_in_blocks(big, rows, 1 << 12):
        parts.append(part)
        assert resident() - before < big.nbytes // 2
    np.testing.assert_array_equal(np.concatenate(parts), big[rows])
    assert list(rows_in_blocks(big, rows[:0], 1 << 12)) == []


def test_what_is_in_memory_has_no_pages_to_give_back() -> None:
    array = np.arange(10)
    give_back(array)
    assert [block.tolist() for block in in_blocks(array, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_file_is_made_as_long_as_it_will_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as stream:
        stream.write(b"head")
        allocate(stream, 10_000)
    assert file.read_bytes() == b"head" + bytes(9_996)
    assert file.stat().st_blocks * 512 >= 10_000
