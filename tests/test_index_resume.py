"""An unfinished build: when it goes on, when it starts anew, and what it says."""

from __future__ import annotations

import copy
import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_fakes import small_index, tiny_tokenizer, write_facts, write_jsonl

from index.arrays import reserve
from index.build import build_index
from index.errors import UserError
from index.folder import WORK, Work, locked
from index.keys import HashingKeyEncoder
from index.manifest import Manifest
from index.store import TokenStore

SHARD = 4
SETTINGS: dict[str, Any] = {
    "tokenizer": tiny_tokenizer(),
    "progress": False,
    "chunk_size": 8,
}


class Stopping(HashingKeyEncoder):
    """Breaks at the call number ``stop``; the first one is the probe."""

    def __init__(self, stop: int = 0, dim: int = 256) -> None:
        super().__init__(dim)
        self.stop, self.calls = stop, 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += 1
        if self.calls == self.stop:
            raise RuntimeError("power cut")
        return super().encode(texts)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.assemble.SHARD", SHARD)


def stopped(source: Path, out: Path, stop: int = 4, **options: Any) -> None:
    """A build that breaks after ``stop - 2`` shards of keys."""
    with pytest.raises(RuntimeError, match="power cut"):
        small_index(source, out, embedder=Stopping(stop), **options)


def test_a_build_goes_on_behind_the_last_whole_shard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, whole = write_facts(tmp_path), Stopping()
    reference = small_index(source, tmp_path / "reference", embedder=whole)
    stopped(source, tmp_path / "out")
    encoder = Stopping()
    manifest = small_index(source, tmp_path / "out", embedder=encoder, progress=True)
    assert manifest.files == reference.files
    assert encoder.calls == whole.calls - 2
    told = capsys.readouterr().err
    assert "going on with the unfinished build of" in told
    assert f"continuing at chunk {2 * SHARD} of {manifest.num_chunks}" in told
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["manifest.json", "v1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_size": 4}, "chunk size"),
        ({"embedder": Stopping(dim=8)}, "embedder's weights, dim"),
        ({"tokenizer": None}, "tokenizer's weights, vocab size"),
    ],
)
def test_another_recipe_starts_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    source = write_facts(tmp_path)
    stopped(source, tmp_path / "out")
    if "tokenizer" in change:
        change = {"tokenizer": other_tokenizer()}
    manifest = small_index(source, tmp_path / "out", progress=True, **change)
    assert f"starting anew, other than last time: {message}" in capsys.readouterr().err
    assert manifest.files == small_index(source, tmp_path / "reference", **change).files


def other_tokenizer() -> Any:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.add_tokens(["zeppelin"])
    return tokenizer


def test_a_changed_source_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Told by size and time: no source is read to find out."""
    source = write_facts(tmp_path)
    stopped(source, tmp_path / "out")
    os.utime(source, ns=(1, 1))
    small_index(source, tmp_path / "out", progress=True)
    assert "starting anew, other than last time: sources" in capsys.readouterr().err


def test_the_index_itself_is_no_source(tmp_path: Path) -> None:
    """Built into a folder of the sources, it must not see itself change."""
    write_facts(tmp_path)
    stopped(tmp_path, tmp_path / "out")
    encoder = Stopping()
    small_index(tmp_path, tmp_path / "out", embedder=encoder)
    again = Stopping()
    small_index(tmp_path, tmp_path / "elsewhere", embedder=again)
    assert encoder.calls == again.calls - 2


def test_a_damaged_shard_is_made_again(tmp_path: Path) -> None:
    source = write_facts(tmp_path)
    stopped(source, tmp_path / "out", stop=5)
    file = tmp_path / "out" / ".building" / "files" / "keys.npy"
    keys = np.lib.format.open_memmap(file, "r+")
    keys[SHARD] += 1
    keys.flush()
    manifest = small_index(source, tmp_path / "out")
    assert manifest.files == small_index(source, tmp_path / "reference").files


def test_a_file_that_is_gone_starts_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_facts(tmp_path)
    stopped(source, tmp_path / "out")
    (tmp_path / "out" / ".building" / "files" / "tokens.npy").unlink()
    manifest = small_index(source, tmp_path / "out", progress=True)
    assert "files of the unfinished build are gone" in capsys.readouterr().err
    assert manifest.files == small_index(source, tmp_path / "reference").files


def test_a_torn_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    source = write_facts(tmp_path)
    stopped(source, tmp_path / "out")
    with (tmp_path / "out" / ".building" / "journal.jsonl").open("a") as journal:
        journal.write('{"shard": [8, ')
    stopped(source, tmp_path / "out", stop=3)
    work = Work.found(tmp_path / "out")
    assert work is not None
    assert [start for start, _, _ in work.notes("shard")] == [0, SHARD, 2 * SHARD]


def test_a_mistake_leaves_no_unfinished_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    small_index(write_facts(tmp_path), out)
    with pytest.raises(UserError, match="nothing to index"):
        small_index(write_jsonl(tmp_path / "empty.jsonl", [{"text": ""}]), out)
    assert sorted(f.name for f in out.iterdir()) == ["manifest.json", "v1"]


def test_a_finished_version_is_published_whatever_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A break before the last step: the next command, any, does that step first."""
    source, out = write_facts(tmp_path), tmp_path / "out"
    small_index(source, out)
    write_jsonl(source, [{"id": "new", "text": "A zeppelin is an airship."}])
    with monkeypatch.context() as patch:
        patch.setattr(Work, "publish", lambda work: Stopping(1).encode([]))
        with pytest.raises(RuntimeError, match="power cut"):
            small_index(source, out)
    assert Manifest.read(out).version == "v1"
    with locked(out) as finished:
        assert finished is not None
        assert finished["operation"] == "build"
    assert (Manifest.read(out).version, Manifest.read(out).num_documents) == ("v2", 1)
    assert sorted(f.name for f in out.iterdir()) == ["manifest.json", "v2"]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    class Full(HashingKeyEncoder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            if len(texts) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().encode(texts)

    source = write_facts(tmp_path)
    with pytest.raises(UserError, match="the disk is full; free some space"):
        small_index(source, tmp_path / "out", embedder=Full())
    work = Work.found(tmp_path / "out")
    assert work is not None
    assert work.stage("words") is not None


def test_sources_in_another_order_are_another_index(tmp_path: Path) -> None:
    """Of two copies the first stays: a build in the other order once went on with the old one."""
    first, second = (tmp_path / "a.txt", tmp_path / "b.txt")
    for file in (first, second):
        file.write_text("Iron rusts in the rain. " * 9)
    with pytest.raises(RuntimeError, match="power cut"):
        build_index([first, second], tmp_path / "out", embedder=Stopping(3), **SETTINGS)
    build_index([second, first], tmp_path / "out", embedder=Stopping(), **SETTINGS)
    assert TokenStore(tmp_path / "out" / "v1").document(0).id == "b.txt"


def test_a_foreign_manifest_and_folders_beside_it_are_left_alone(tmp_path: Path) -> None:
    """A folder with any ``manifest.json`` was taken for an index: it was overwritten, and folders
    whose names begin with a v were deleted."""
    source, out = write_facts(tmp_path), tmp_path / "website"
    (out / "vendor").mkdir(parents=True)
    (out / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="no index but other files"):
        small_index(source, out)
    (out / "manifest.json").unlink()
    (out / "vendor").rename(tmp_path / "vendor")
    small_index(source, out)
    (tmp_path / "vendor").rename(out / "vendor")
    small_index(write_jsonl(source, [{"text": "A zeppelin is an airship."}]), out)
    assert sorted(f.name for f in out.iterdir()) == ["manifest.json", "v2", "vendor"]


def test_an_unfinished_build_without_its_files_does_not_touch_the_index(tmp_path: Path) -> None:
    """It counted as published, and the version that the manifest names was deleted."""
    source, out = write_facts(tmp_path), tmp_path / "out"
    small_index(source, out)
    write_jsonl(source, [{"id": "new", "text": "A zeppelin is an airship."}])
    stopped(source, out, stop=2)
    shutil.rmtree(out / WORK / "files")
    with locked(out) as finished:
        assert finished is None
    assert Manifest.read(out).broken_files(out) == []
    assert small_index(source, out).num_documents == 1


def test_an_array_is_reserved_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a sparse file that found the disk full killed the process with SIGBUS."""
    reserve(tmp_path / "a.npy", np.float16, (100_000, 4))
    stat = (tmp_path / "a.npy").stat()
    assert stat.st_blocks * 512 >= stat.st_size > 800_000

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="the disk is full"):
        small_index(write_facts(tmp_path), tmp_path / "out")
