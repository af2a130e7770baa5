from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_fakes import FACTS, small_index, tiny_tokenizer, write_jsonl

from index.assemble import read_skipped
from index.errors import UserError
from index.grow import add_documents, compact_index, merge_indexes, remove_documents
from index.keys import HashingKeyEncoder
from index.manifest import Manifest
from index.retriever import Retriever

ROWS = [{"id": t.lower(), "title": t, "text": text} for t, text in FACTS.items()]
QUESTIONS = ("Which planet is the hottest?", "How many strings has a violin?", "copper camel")


class Counting(HashingKeyEncoder):
    """Counts the texts that it is asked to encode, but for the one with which it is probed."""

    count = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.count += len(texts) if len(texts) > 1 else 0
        return super().encode(texts)


def index(folder: Path, name: str, rows: Sequence[dict[str, Any]], **options: Any) -> Path:
    """An index of some rows, in the folder ``name``."""
    small_index(write_jsonl(folder / "rows.jsonl", rows), folder / name, **options)
    return folder / name


def grow(out: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Manifest:
    source = write_jsonl(out.parent / "rows.jsonl", rows)
    settings = {"encoder": HashingKeyEncoder(), "tokenizer": tiny_tokenizer(), "progress": False}
    return add_documents(out, [source], **settings | options)


def content(out: Path) -> dict[str, bytes]:
    version = out / Manifest.read(out).version
    files = (file for file in version.rglob("*") if file.is_file())
    return {file.relative_to(version).as_posix(): file.read_bytes() for file in files}


def changed(row: dict[str, Any], text: str) -> dict[str, Any]:
    return row | {"text": text}


def test_adding_gives_what_building_gives(tmp_path: Path) -> None:
    """The same bytes as one build of all documents, though only the new ones are embedded."""
    out, encoder = index(tmp_path, "out", ROWS[:3]), Counting()
    manifest = grow(out, ROWS[3:], encoder=encoder)
    assert content(out) == content(index(tmp_path, "whole", ROWS))
    assert (manifest.version, manifest.num_documents) == ("v2", 5)
    store = Retriever.open(out).store
    assert encoder.count == sum(len(store.chunks_of(row)) for row in (3, 4))


def test_a_document_that_is_there_is_named(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS[:2])
    before = content(out)
    with pytest.raises(UserError, match=r"'venus'.*in the index already.*retro index update"):
        grow(out, ROWS[1:3])
    assert content(out) == before
    assert sorted(f.name for f in out.iterdir()) == ["manifest.json", "v1"]


def test_updating_replaces_what_changed_and_adds_what_is_new(tmp_path: Path) -> None:
    out, encoder = index(tmp_path, "out", ROWS[:3]), Counting()
    new = changed(ROWS[0], "Mercury is also a liquid metal, which is poisonous.")
    grow(out, [new, ROWS[1], ROWS[3]], update=True, encoder=encoder)
    assert content(out) == content(index(tmp_path, "whole", [*ROWS[1:3], new, ROWS[3]]))
    store = Retriever.open(out).store
    assert encoder.count == sum(len(store.chunks_of(row)) for row in (2, 3))


def test_a_new_trust_label_is_a_change(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS)
    grow(out, [ROWS[0] | {"trust": "reviewed"}], update=True)
    found = Retriever.open(out).search(ROWS[0]["text"], 1)
    assert (found.doc_ids, found.trusts) == (("mercury",), ("reviewed",))


def test_texts_that_change_places_are_both_kept(tmp_path: Path) -> None:
    """Each new text is one that the index holds, under the other name."""
    out = index(tmp_path, "out", ROWS[:3])
    one, two = changed(ROWS[0], ROWS[1]["text"]), changed(ROWS[1], ROWS[0]["text"])
    grow(out, [one, two], update=True)
    assert content(out) == content(index(tmp_path, "whole", [ROWS[2], one, two]))


def test_updating_with_what_is_there_changes_nothing(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS)
    assert grow(out, ROWS, update=True) == Manifest.read(out)
    assert sorted(f.name for f in out.iterdir()) == ["manifest.json", "v1"]


def test_a_text_that_is_there_under_another_name_is_skipped(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS[:2])
    manifest = grow(out, [ROWS[0] | {"id": "copy"}, ROWS[2], {"text": ""}])
    assert manifest.num_documents == 3
    reasons = [skipped.reason for skipped in read_skipped(out)]
    assert sorted(reasons) == ["'copy' has the same text as 'mercury'", "empty"]
    grow(out, [ROWS[0] | {"id": "copy"}, ROWS[3], {"text": ""}], update=True)
    assert sorted(s.reason for s in read_skipped(out)).count("empty") == 1


def test_nothing_to_add_is_the_users_mistake(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS[:2])
    with pytest.raises(UserError, match=r"nothing to add: all was skipped: .*rows.jsonl: empty"):
        grow(out, [])
    with pytest.raises(UserError, match=r"all was skipped: .*rows.jsonl:1: empty"):
        grow(out, [{"text": " "}], update=True)
    assert sorted(f.name for f in out.iterdir()) == ["manifest.json", "v1"]


def test_another_encoder_or_tokenizer_is_told(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS[:2])
    with pytest.raises(UserError, match="another embedder"):
        grow(out, ROWS[2:], encoder=HashingKeyEncoder(dim=8))
    with pytest.raises(UserError, match="another tokenizer"):
        grow(out, ROWS[2:], tokenizer=other_tokenizer())


def other_tokenizer() -> Any:
    """The tiny one with one more word."""
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.add_tokens(["zeppelin"])
    return tokenizer


def test_removed_documents_are_never_found(tmp_path: Path) -> None:
    """What is removed is searched around as if it were excluded; nothing but the manifest moves."""
    out = index(tmp_path, "out", ROWS)
    before, opened = content(out), Retriever.open(out)
    manifest = remove_documents(out, ["venus"])
    assert content(out) == before
    assert (manifest.num_documents, manifest.removed) == (4, (1,))
    after = Retriever.open(out)
    assert "venus" not in after.store.rows
    for question in QUESTIONS:
        expected = opened.search(question, k=5, exclude=["venus"])
        found = after.search(question, k=5)
        assert found.doc_ids == expected.doc_ids
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert opened.search(QUESTIONS[0]).doc_ids[0] == "venus"
    assert manifest.fingerprint != opened.manifest.fingerprint
    assert Manifest.read(out).broken_files(out) == []


def test_removing_what_is_not_there_removes_nothing(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS[:2])
    with pytest.raises(UserError, match="no document 'pluto'"):
        remove_documents(out, ["venus", "pluto"])
    with pytest.raises(UserError, match="no document would be left"):
        remove_documents(out, ["venus", "mercury"])
    assert Manifest.read(out).removed == ()
    remove_documents(out, ["venus"])
    with pytest.raises(UserError, match="no document 'venus'"):
        remove_documents(out, ["venus"])


def test_compacting_gives_what_building_gives(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS)
    assert compact_index(out, progress=False).version == "v1"
    remove_documents(out, ["venus"])
    remove_documents(out, ["camel"])
    compact_index(out, progress=False)
    rest = [row for row in ROWS if row["id"] not in {"venus", "camel"}]
    assert content(out) == content(index(tmp_path, "whole", rest))


def test_what_was_removed_can_be_added_again(tmp_path: Path) -> None:
    out = index(tmp_path, "out", ROWS)
    remove_documents(out, ["venus"])
    manifest = grow(out, [ROWS[1]])
    assert (manifest.num_documents, manifest.removed) == (5, ())
    assert content(out) == content(index(tmp_path, "whole", [ROWS[0], *ROWS[2:], ROWS[1]]))


def test_merging_gives_what_building_gives(tmp_path: Path) -> None:
    one, two = index(tmp_path, "one", ROWS[:2]), index(tmp_path, "two", ROWS[2:])
    merge_indexes([one, two], tmp_path / "out", progress=False)
    assert content(tmp_path / "out") == content(index(tmp_path, "whole", ROWS))


def test_indexes_that_cannot_become_one_are_told(tmp_path: Path) -> None:
    one = index(tmp_path, "one", ROWS[:2])
    clashing = index(tmp_path, "two", ROWS[1:])
    with pytest.raises(UserError, match=r"'venus' is in .*one and in .*two"):
        merge_indexes([one, clashing], tmp_path / "out")
    others = {
        "chunk size is 4, that of .* is 8": {"chunk_size": 4},
        "its embedder is": {"embedder": HashingKeyEncoder(dim=8)},
        "its tokenizer is": {"tokenizer": other_tokenizer()},
    }
    for number, (message, options) in enumerate(others.items()):
        other = index(tmp_path, f"other{number}", ROWS[2:], **options)
        with pytest.raises(UserError, match=message):
            merge_indexes([one, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reader_keeps_its_version_while_the_index_grows(tmp_path: Path) -> None:
    """Ids are read when they are first asked for: after the files were deleted."""
    out = index(tmp_path, "out", ROWS[:2])
    reader = Retriever.open(out)
    grow(out, ROWS[2:])
    assert not (out / "v1").exists()
    assert set(reader.search(QUESTIONS[0], exclude=["mercury"]).doc_ids) == {"venus"}


def test_an_index_that_is_replaced_while_it_is_opened_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = index(tmp_path, "out", ROWS[:2])
    check = Manifest.check_sizes

    def replaced(manifest: Manifest, folder: Path) -> None:
        monkeypatch.setattr(Manifest, "check_sizes", check)
        grow(out, ROWS[2:])
        check(manifest, folder)

    monkeypatch.setattr(Manifest, "check_sizes", replaced)
    assert Retriever.open(out, HashingKeyEncoder()).manifest.version == "v2"


def test_damaged_keys_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied, they would get a new hash, and be damaged for ever."""
    monkeypatch.setattr("index.manifest.CHECKED_AT_OPEN", -1)
    out = index(tmp_path, "out", ROWS[:3])
    keys = np.lib.format.open_memmap(out / "v1" / "keys.npy", "r+")
    keys[0, 0] += 1
    keys.flush()
    with pytest.raises(UserError, match=r"v1/keys.npy is damaged"):
        grow(out, ROWS[3:])
    with pytest.raises(UserError, match=r"v1/keys.npy is damaged"):
        merge_indexes([out], tmp_path / "merged")


LONG = (
    "Copper has been worked for ten thousand years and is still one of the metals that people use "
    "most, because it carries heat and electricity well, bends without breaking, and resists rust."
)


def test_adding_leaves_out_what_a_build_leaves_out(tmp_path: Path) -> None:
    """Copies in other case, and near duplicates, once came in by the back door of ``add``."""
    first = [ROWS[0] | {"text": LONG}, ROWS[1]]
    more = [
        {"id": "near", "text": f"And {LONG}"},
        {"id": "capitals", "text": ROWS[1]["text"].upper()},
        ROWS[3],
    ]
    out = index(tmp_path, "out", first)
    grow(out, more)
    assert set(Retriever.open(out).store.rows) == {"mercury", "venus", "violin"}
    assert sorted(s.reason for s in read_skipped(out)) == [
        "'capitals' has the same text as 'venus'",
        "'near' is a near duplicate of 'mercury'",
    ]
    kept = index(tmp_path, "kept", first, keep_duplicates=True)
    grow(kept, more)
    assert "near" in Retriever.open(kept).store.rows


def test_what_is_read_again_tells_anew_what_is_skipped(tmp_path: Path) -> None:
    """A copy that was offered twice was listed twice; what was mended stayed on the list."""
    out = index(tmp_path, "out", [ROWS[0], {"text": ""}])
    for new in (ROWS[2], ROWS[3]):
        grow(out, [ROWS[0] | {"id": "copy"}, new | {"id": f"{new['id']} again"}])
    assert [s.reason for s in read_skipped(out)] == ["'copy' has the same text as 'mercury'"]
