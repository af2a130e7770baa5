"""Keys that an index, or a build left unfinished, already holds: which are copied, which made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_fakes import FACTS, small_index, tiny_tokenizer, write_jsonl

from index.folder import EARLIER, WORK, Work
from index.grow import add_documents, remove_documents
from index.keys import HashingKeyEncoder

ROWS = [{"id": title.lower(), "title": title, "text": text} for title, text in FACTS.items()]


class Counting(HashingKeyEncoder):
    """Notes whose chunks it embeds; breaks when it has embedded ``room`` of them."""

    def __init__(self, room: int = 1000, dim: int = 256) -> None:
        super().__init__(dim)
        self.room, self.seen = room, list[str]()

    @property
    def titles(self) -> list[str]:
        """Titles of what was embedded, without the probe."""
        return list(dict.fromkeys(text.split(". ")[0] for text in self.seen[1:]))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if len(self.seen) + len(texts) > self.room + 1:
            raise RuntimeError("power cut")
        self.seen += texts
        return super().encode(texts)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.assemble.SHARD", 4)


def source(tmp_path: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    return write_jsonl(tmp_path / "facts.jsonl", rows)


def stopped(file: Path, out: Path, room: int, **options: Any) -> None:
    """A build of ``file`` that ends when ``room`` chunks have keys; then the file is touched."""
    with pytest.raises(RuntimeError, match="power cut"):
        small_index(file, out, embedder=Counting(room), **options)
    os.utime(file, ns=(room, room))


def same_as_new(tmp_path: Path, file: Path, out: Path, encoder: Counting, **options: Any) -> bool:
    """Builds into ``out`` what then equals, byte for byte, an index built where none was."""
    built = small_index(file, out, embedder=encoder, **options)
    names = sorted(f.name for f in out.iterdir())
    whole = small_index(file, tmp_path / "whole", **options)
    return built.files == whole.files and names == ["manifest.json", built.version]


def test_a_rebuild_embeds_what_is_new(tmp_path: Path) -> None:
    out, encoder = tmp_path / "out", Counting()
    small_index(source(tmp_path, ROWS[1:]), out)
    assert same_as_new(tmp_path, source(tmp_path), out, encoder)
    assert encoder.titles == ["Mercury"]


@pytest.mark.parametrize("part", ["title", "text"])
def test_a_rebuild_embeds_what_has_changed(tmp_path: Path, part: str) -> None:
    out, encoder = tmp_path / "out", Counting()
    small_index(source(tmp_path), out)
    changed = [*ROWS[:2], ROWS[2] | {part: "Brass"}, *ROWS[3:]]
    assert same_as_new(tmp_path, source(tmp_path, changed), out, encoder)
    assert len(encoder.titles) == 1


def test_a_removed_document_that_comes_back_is_embedded(tmp_path: Path) -> None:
    out, encoder = tmp_path / "out", Counting()
    small_index(source(tmp_path), out)
    remove_documents(out, ["venus"])
    assert same_as_new(tmp_path, source(tmp_path), out, encoder)
    assert encoder.titles == ["Venus"]


@pytest.mark.parametrize(
    "change", [{"chunk_size": 4}, {"embedder": Counting(dim=8)}, {"tokenizer": "other"}]
)
def test_keys_made_otherwise_are_not_copied(tmp_path: Path, change: dict[str, Any]) -> None:
    if "tokenizer" in change:
        other = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
        other.add_tokens(["zeppelin"])
        change = {"tokenizer": other}
    encoder = change.pop("embedder", Counting())
    small_index(source(tmp_path), tmp_path / "whole")
    stopped(source(tmp_path), tmp_path / "whole", 0, chunk_size=9)
    small_index(source(tmp_path), tmp_path / "whole", embedder=encoder, **change)
    assert len(encoder.titles) == len(ROWS)


def test_a_rebuild_mends_damaged_keys(tmp_path: Path) -> None:
    out, encoder = tmp_path / "out", Counting()
    version = small_index(source(tmp_path), out).version
    with (out / version / "keys.npy").open("r+b") as stream:
        stream.seek(-3, os.SEEK_END)
        stream.write(b"\x11")
    assert same_as_new(tmp_path, source(tmp_path), out, encoder)
    assert len(encoder.titles) == len(ROWS)


def test_a_touched_source_loses_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A disk that was mounted anew had hours of embedding thrown away."""
    file, out, encoder = source(tmp_path), tmp_path / "out", Counting()
    small_index(file, tmp_path / "all", embedder=encoder)
    every = len(encoder.seen) - 1
    stopped(file, out, 8)
    rest = Counting()
    small_index(file, out, embedder=rest, progress=True)
    told = capsys.readouterr().err
    assert "starting anew, other than last time: sources; keys of documents that stay" in told
    assert len(rest.seen) - 1 == every - 8
    assert same_as_new(tmp_path, file, out, Counting(0))


def test_work_that_starts_anew_again_and_again_keeps_the_most_keys(tmp_path: Path) -> None:
    """The third build stopped before it had copied what the second had."""
    file, out = source(tmp_path), tmp_path / "out"
    stopped(file, out, 8)
    stopped(file, out, 4)  # 8 are copied, 4 made
    assert len(list(Work(out, EARLIER).notes("shard"))) == 2
    changed = source(tmp_path, [{"title": "Iron", "text": "Iron rusts in the rain."}, *ROWS])
    stopped(changed, out, 0)
    assert len(list(Work(out, EARLIER).notes("shard"))) == 3
    stopped(changed, out, 0)
    assert len(list(Work(out, EARLIER).notes("shard"))) == 3
    encoder = Counting()
    assert same_as_new(tmp_path, changed, out, encoder)
    assert encoder.titles[0] == "Iron"
    assert "Mercury" not in encoder.titles


def test_a_kill_while_work_is_set_aside_loses_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out, encoder = source(tmp_path), tmp_path / "out", Counting()
    stopped(file, out, 8)
    with monkeypatch.context() as patch:
        patch.setattr(Work, "begin", lambda *_: Counting(-2).encode([]))
        with pytest.raises(RuntimeError, match="power cut"):
            small_index(file, out)
    assert [f.name for f in out.iterdir()] == [EARLIER]
    assert same_as_new(tmp_path, file, out, encoder)
    assert "Mercury" not in encoder.titles


@pytest.mark.parametrize("damage", ["gone", "changed", "shorter"])
def test_keys_that_are_gone_meanwhile_are_made(tmp_path: Path, damage: str) -> None:
    """They were there when the build that needs them began."""
    file, out, encoder = source(tmp_path), tmp_path / "out", Counting()
    stopped(file, out, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("index.assemble._copied", lambda *_: Counting(-2).encode([]))
        with pytest.raises(RuntimeError, match="power cut"):
            small_index(file, out)
    keys = out / EARLIER / "files" / "keys.npy"
    if damage == "gone":
        keys.unlink()
    elif damage == "changed":
        whole = np.lib.format.open_memmap(keys, "r+")
        whole[5] += 1
        whole.flush()
    else:
        os.truncate(keys, keys.stat().st_size // 2)
    assert (out / WORK).exists()
    assert same_as_new(tmp_path, file, out, encoder)
    assert ("Mercury" in encoder.titles) == (damage != "changed")


def test_documents_added_in_two_goes_are_embedded_once(tmp_path: Path) -> None:
    out, settings = tmp_path / "out", {"tokenizer": tiny_tokenizer(), "progress": False}
    small_index(source(tmp_path, ROWS[:1]), out)
    more = write_jsonl(tmp_path / "more.jsonl", ROWS[1:])
    with pytest.raises(RuntimeError, match="power cut"):
        add_documents(out, [more], encoder=Counting(9), **settings)
    os.utime(more, ns=(1, 1))
    encoder = Counting()
    added = add_documents(out, [more], encoder=encoder, **settings)
    assert "Venus" not in encoder.titles
    assert encoder.titles[-1] == "Camel"
    whole = small_index(source(tmp_path), tmp_path / "whole")
    assert added.files["keys.npy"] == whole.files["keys.npy"]
