"""One changed byte in any file: told, or without effect on what is shown as evidence."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from index_fakes import small_index, write_facts

from index.errors import UserError
from index.keys import HashingKeyEncoder
from index.manifest import NAME, Manifest
from index.retriever import Retriever
from retro.cli import main

QUESTIONS = ["Which planet is the hottest?", "How many strings has a violin?", "copper camel"]
FLIPS = 6


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    small_index(write_facts(folder), folder / "out")
    return folder / "out"


def files_of(out: Path) -> list[Path]:
    version = out / Manifest.read(out).version
    return [out / NAME, *(version / name for name in Manifest.read(out).files)]


@contextmanager
def flipped(file: Path, seed: int) -> Iterator[None]:
    """One random byte of a file is another one, for a while."""
    content = file.read_bytes()
    rng = random.Random(f"{file.name} {seed}")
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= rng.randrange(1, 256)
    file.write_bytes(changed)
    try:
        yield
    finally:
        file.write_bytes(content)


def test_every_changed_byte_is_told(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By ``verify``, which names the file, and when an index of this size is opened."""
    assert main(["index", "verify", str(out)]) == 0
    for file in files_of(out):
        for seed in range(FLIPS if file.stat().st_size else 0):
            with flipped(file, seed):
                capsys.readouterr()
                assert main(["index", "verify", str(out)]) == 2
                assert file.name in capsys.readouterr().err
                with pytest.raises(UserError, match=r"retro index verify|damaged|not readable"):
                    Retriever.open(out, HashingKeyEncoder())


def test_evidence_is_true_whatever_is_damaged(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a database too large to be read when it is opened, damage may change which passages are
    found, never what a passage says, and ends in no other error than a UserError."""
    monkeypatch.setattr("index.manifest.CHECKED_AT_OPEN", -1)
    whole = Retriever.open(out, HashingKeyEncoder()).store
    told = 0
    for file in files_of(out):
        for seed in range(FLIPS if file.stat().st_size else 0):
            with flipped(file, seed):
                try:
                    retriever = Retriever.open(out, HashingKeyEncoder())
                    found = retriever.search_batch(QUESTIONS, k=30)
                except UserError:
                    told += 1
                    continue
            for one in found:
                for rank, chunk in enumerate(map(int, one.chunk_ids)):
                    row, start, end = whole.span(chunk)
                    document = whole.document(row)
                    assert one.doc_ids[rank] == document.id
                    assert one.texts[rank] == document.text[start:end]
                    np.testing.assert_array_equal(one.tokens[rank], whole.value(chunk))
                    np.testing.assert_array_equal(one.offsets[rank], whole.offsets(chunk))
    assert told > 10


def test_files_that_nobody_wrote_are_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = [out / "v1" / "notes.txt", out / "v9" / "tokens.npy"]
    (out / "v9").mkdir()
    for file in foreign:
        file.touch()
    assert main(["index", "verify", str(out)]) == 2
    assert "v1/notes.txt, v9; delete them" in capsys.readouterr().err
    for file in foreign:
        file.unlink()
    (out / "v9").rmdir()
    (out / "certificate.json").touch()  # others keep files beside the manifest
    assert main(["index", "verify", str(out)]) == 0


def test_a_manifest_in_other_words_is_damaged(out: Path) -> None:
    """The same facts with other blanks are not the bytes that were written."""
    file = out / NAME
    content = file.read_bytes()
    for old, new in ((b"\n", b"\r"), (b"\n ", b"\n\t"), (b'"format": 3', b'"format": 4')):
        file.write_bytes(content.replace(old, new, 1))
        with pytest.raises(UserError, match="damaged"):
            Manifest.read(out)
    file.write_bytes(content)
