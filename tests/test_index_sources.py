from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
from pathlib import Path

import pytest

from index.errors import UserError
from index.sources import Document, Skipped, read_documents


def read(*sources: Path) -> tuple[dict[str, Document], dict[str, str]]:
    """Documents by id, and reasons by file name."""
    items = list(read_documents(sources))
    documents = {i.id: i for i in items if isinstance(i, Document)}
    return documents, {Path(i.source).name: i.reason for i in items if isinstance(i, Skipped)}


def test_a_folder_gives_every_kind_of_file_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b_note.txt").write_text("Plain text.\r\nTwo lines.\n")
    (tmp_path / "a.md").write_text("# The camel\n\nIt has a hump.\n")
    (tmp_path / "c.html").write_text("<title>Venus</title><p>Hot &amp; bright</p>")
    (tmp_path / "d.jsonl").write_text('{"text": "One"}\n\n{"id": 7, "title": "T", "text": "Two"}\n')
    (tmp_path / ".hidden.txt").write_text("not read")
    documents, skipped = read(tmp_path)
    assert skipped == {}
    assert [(d.id, d.title, d.text) for d in documents.values()] == [
        ("a.md", "The camel", "It has a hump."),
        ("c.html", "Venus", "Hot & bright"),
        ("d.jsonl:1", "", "One"),
        ("7", "T", "Two"),
        ("sub/b_note.txt", "b note", "Plain text.\nTwo lines."),
    ]


COMPRESS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files(tmp_path: Path, suffix: str) -> None:
    """Rows are read from the stream, a page as a whole, a text from a copy on the disk."""
    files = {"a.jsonl": b'{"id": "x", "text": "Hello"}', "b.md": b"# T\n\nPage", "c_d.txt": b"Text"}
    for name, content in files.items():
        (tmp_path / f"{name}.{suffix}").write_bytes(COMPRESS[suffix](content))
    documents, skipped = read(tmp_path)
    assert skipped == {}
    assert [(d.id, d.title, d.text) for d in documents.values()] == [
        ("x", "", "Hello"),
        (f"b.md.{suffix}", "T", "Page"),
        (f"c_d.txt.{suffix}", "c d", "Text"),
    ]


def test_a_pattern_names_files_below_its_fixed_part(tmp_path: Path) -> None:
    for name in ("x/one.md", "y/one.md", "y/two.txt", "one.md"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(f"Text of {name}")
    assert list(read(tmp_path / "in" / "**" / "*.md")[0]) == ["one.md", "x/one.md", "y/one.md"]
    with pytest.raises(UserError, match="no file matches"):
        read_documents([tmp_path / "*.html"])


def test_a_very_long_text_becomes_several_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.documents.DOCUMENT_CHARACTERS", 1000)
    words = [f"word{n}" for n in range(500)]
    (tmp_path / "a.txt").write_text(" ".join(words))
    documents = list(read(tmp_path)[0].values())
    assert [d.id for d in documents] == ["a.txt", "a.txt#part2", "a.txt#part3", "a.txt#part4"]
    assert " ".join(d.text for d in documents).split() == words


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    assert read(tmp_path)[1] == {"a.pdf": "needs pip install 'retro-abstain[ingest]'"}


def test_a_name_that_is_no_utf8_becomes_one(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.txt")).write_text("coffee")
    [document] = read(tmp_path)[0].values()
    assert document.id == "caf?.txt"


def test_what_cannot_be_read_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\x7fELF\0\0")
    (tmp_path / "empty.md").write_text("# Only a heading\n")
    (tmp_path / "picture.png").write_bytes(b"png")
    (tmp_path / "notes.domains.gz").write_bytes(gzip.compress(b"text"))
    rows = '{"text": "good"}\nnot json\n{"title": "no text"}\n{"text": "  "}\n[1]\n'
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe.txt")  # reading it would wait for ever
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b'{"text": "cut"}\n' * 9)[:-12])
    documents, skipped = read(tmp_path)
    assert "rows.jsonl:1" in documents
    reasons = {
        "binary.txt": "binary",
        "empty.md": "empty",
        "dangling.txt": "cannot be read: No such file",
        "pipe.txt": "not a regular file",
        "picture.png": "type '.png' is unknown",
        "notes.domains.gz": "type '.domains' is unknown",
        "rows.jsonl:2": "not JSON",
        "rows.jsonl:3": "no 'text'",
        "rows.jsonl:4": "empty",
        "rows.jsonl:5": "no 'text'",
        "torn.jsonl.gz": "cannot be read",
    }
    assert skipped.keys() >= reasons.keys()
    assert all(reason in skipped[name] for name, reason in reasons.items())


def test_one_text_counts_once_and_ids_stay_unique(tmp_path: Path) -> None:
    rows = [("a", "one"), ("a", "two"), ("b", "one"), ("a#2", "three")]
    lines = [f'{{"id": "{doc_id}", "text": "{text}"}}\n' for doc_id, text in rows]
    (tmp_path / "x.jsonl").write_text("".join(lines))
    items = list(read_documents([tmp_path]))
    assert [i.id for i in items if isinstance(i, Document)] == ["a", "a#2", "a#2#2"]
    assert [i.reason for i in items if isinstance(i, Skipped)] == [
        "'b' has the same text as 'a'",
    ]


def test_a_row_may_carry_a_trust_label(tmp_path: Path) -> None:
    rows = '{"text": "One", "trust": " peer  reviewed"}\n{"text": "Two", "trust": ["x"]}\n'
    (tmp_path / "x.jsonl").write_text(rows)
    assert [d.trust for d in read(tmp_path)[0].values()] == ["peer reviewed", ""]


def test_half_a_character_does_not_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a \\ud800 b"}\n')
    assert read(tmp_path)[0]["x.jsonl:1"].text == "a ? b"


def test_an_index_inside_the_source_is_no_document(tmp_path: Path) -> None:
    """A second build with --out inside SOURCE read the first index's own rows as documents."""
    (tmp_path / "out" / "v1").mkdir(parents=True)
    (tmp_path / "out" / "manifest.json").write_text("{}")
    (tmp_path / "out" / "v1" / "documents.jsonl").write_text('{"text": "again"}\n')
    documents, skipped = read(tmp_path)
    assert documents == {}
    assert skipped == {"out": "an index, not documents"}


@pytest.mark.parametrize("name", ["absent", "data.xls"])
def test_a_source_that_cannot_be_is_the_users_mistake(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.xls").write_text("a,b")
    with pytest.raises(UserError, match=name):
        list(read_documents([tmp_path / name]))


def test_a_named_file_without_permission_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before any work is done; ``chmod`` would not stop a test that runs as root."""
    (tmp_path / "a.txt").write_text("text")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"a.txt: cannot be read: Permission denied"):
        read_documents([tmp_path / "a.txt"])


def test_a_pattern_finds_neither_hidden_files_nor_an_index(tmp_path: Path) -> None:
    """``**/*.jsonl`` once read the files of an index, and of one that was being built."""
    for name in ("a.jsonl", "mine/v1/documents.jsonl", "mine/.building/files/documents.jsonl"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{{"text": "the text of {name}"}}\n')
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    documents, skipped = read(tmp_path / "**" / "*.jsonl")
    assert (list(documents), skipped) == (["a.jsonl:1"], {})
