from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ingest_fakes as fakes
import numpy as np
import pytest
from index_fakes import FACTS, small_index, tiny_tokenizer, write_facts, write_jsonl
from pyarrow import parquet

from index.grow import remove_documents
from index.manifest import Manifest
from index.retriever import Retriever
from retro.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_index(write_facts(tmp_path), tmp_path / "out")
    return tmp_path / "out"


def test_build_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.build.load_tokenizer", lambda name: tiny_tokenizer())
    (tmp_path / "docs").mkdir()
    write_facts(tmp_path / "docs")
    for name in ("photo.png", "b.png", "c.css", "broken.pdf"):
        (tmp_path / "docs" / name).write_bytes(b"x")
    out = tmp_path / "out"
    arguments = ["index", "build", str(tmp_path / "docs"), "--out", str(out)]
    assert main([*arguments, "--embedder", "hashing", "--tokenizer", "tiny"]) == 0
    shown = capsys.readouterr()
    assert "5 documents" in shown.out
    assert "4 skipped (3 of unknown types)" in shown.out
    assert "broken.pdf: no PDF" in shown.err
    assert "skipped 2 files: type '.png' is unknown" in shown.err
    assert "skipped 1 file: type '.css' is unknown" in shown.err
    assert "(known: .txt .md .rst .ipynb" in shown.err
    assert f"by name: retro index info {out})" in shown.err
    assert "photo.png" not in shown.err
    assert main(["index", "info", str(out)]) == 0
    assert "photo.png: type '.png' is unknown" in capsys.readouterr().out


def test_build_takes_a_faiss_type_and_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.build.load_tokenizer", lambda name: tiny_tokenizer())
    seen: list[int] = []

    def elsewhere(encoder: Any, shards: Iterable[list[str]]) -> Iterator[Any]:
        for texts in shards:
            seen.append(len(texts))
            yield encoder.encode(texts)

    monkeypatch.setattr("index.engines.on_ray", elsewhere)
    out = tmp_path / "out"
    arguments = ["index", "build", str(write_facts(tmp_path)), "--out", str(out)]
    arguments += ["--embedder", "hashing", "--tokenizer", "tiny"]
    assert main([*arguments, "--engine", "ray", "--faiss-type", "SQ8"]) == 0
    assert sum(seen) == Manifest.read(out).num_chunks
    assert Manifest.read(out).faiss_type == "SQ8"
    assert main([*arguments, "--engine", "mars"]) == 2
    assert main([*arguments, "--faiss-type", "Nonsense"]) == 2
    assert "--faiss-type Nonsense: FAISS cannot use it" in capsys.readouterr().err


def test_search_prints_passages_best_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "search", str(folder), "strings of a violin", "-k", "2", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["rank"] for row in rows] == [1, 2]
    assert rows[0]["doc_id"] == "violin"
    assert main(["index", "search", str(folder), "strings of a violin"]) == 0
    assert capsys.readouterr().out.startswith("1. Violin  [violin]  distance 0.")


def test_search_tells_whom_a_passage_is_trusted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": "tin", "text": "Tin melts.", "trust": "forum"}, {"id": "lead", "text": "Lead."}]
    small_index(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "out")
    arguments = ["index", "search", str(tmp_path / "out"), "Tin melts"]
    assert main([*arguments, "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["trust"], "trust" in second) == ("forum", False)
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("  trust: forum")


def test_search_tells_the_page_of_a_passage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.pdf").write_bytes(fakes.pdf([["Lead."], [], ["Tin melts."]], "Metals"))
    (tmp_path / "docs" / "b.txt").write_text("Zinc is no metal of this page.")
    small_index(tmp_path / "docs", tmp_path / "out")
    arguments = ["index", "search", str(tmp_path / "out")]
    for asked, page in (("Lead and tin that melts", 1), ("Zinc is no metal", None)):
        assert main([*arguments, asked, "--json", "-k", "1"]) == 0
        assert json.loads(capsys.readouterr().out).get("page") == page
    assert main([*arguments, "Tin melts"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("  page: 1")


def test_info_tells_what_an_index_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["documents"], facts["embedder"][:7], facts["skipped"]) == (5, "hashing", [])
    assert main(["index", "info", str(folder)]) == 0
    assert "documents         5" in capsys.readouterr().out


def test_verify_finds_a_changed_byte(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "verify", str(folder)]) == 0
    [file] = folder.glob("v1/tokens.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert main(["index", "info", str(folder)]) == 0
    assert main(["index", "verify", str(folder)]) == 2
    assert "damaged or missing: tokens.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "absent", "--out", "out"],
        ["build", "empty", "--out", "out"],
        ["search", "empty", "words"],
        ["search", "absent", " "],
        ["info", "absent"],
        ["verify", "absent"],
        ["add", "absent", "empty"],
        ["update", "empty", "absent"],
        ["remove", "absent", "id"],
        ["compact", "absent"],
        ["merge", "absent", "--out", "out"],
        ["export", "absent", "--out", "out.parquet"],
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["index", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture
def hashing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index whose tokenizer is found again."""
    monkeypatch.setattr("index.grow.load_tokenizer", lambda name: tiny_tokenizer())
    return folder


def test_an_index_grows_and_shrinks(
    hashing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = write_jsonl(tmp_path / "new.jsonl", [{"id": "tin", "text": "Tin is a soft metal."}])
    steps = [
        (["add", str(hashing), str(new)], "6 documents"),
        (["add", str(hashing), str(new)], "'tin'"),
        (["update", str(hashing), str(new)], "6 documents, .* (nothing has changed)"),
        (["remove", str(hashing), "tin", "camel"], "4 documents, .* 2 removed"),
        (["remove", str(hashing), "tin"], "no document 'tin'"),
        (["info", str(hashing)], "removed           2"),
        (["compact", str(hashing)], "4 documents, .* 0 skipped\n"),
        (["merge", str(hashing), "--out", str(tmp_path / "merged")], "4 documents"),
        (["verify", str(tmp_path / "merged")], "files are as they were written"),
    ]
    for arguments, expected in steps:
        code = main(["index", *arguments])
        shown = capsys.readouterr()
        assert (code == 2) == expected.startswith(("'", "no"))
        assert re.search(expected.replace("(", r"\(").replace(")", r"\)"), shown.out + shown.err)


def test_an_index_is_written_as_parquet(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "chunks.parquet"
    remove_documents(folder, ["venus"])
    assert main(["index", "export", str(folder), "--out", str(out), "--keys"]) == 0
    table = parquet.read_table(out)
    retriever = Retriever.open(folder)
    assert table.num_rows == retriever.manifest.num_chunks
    rows = table.to_pylist()
    assert {row["doc_id"] for row in rows} == set(retriever.store.rows)
    for row in rows:
        text = FACTS[row["title"]]
        assert row["text"] == text[row["start"] : row["end"]]
        [key] = retriever.encoder.encode([f"{row['title']}. {row['text']}"])
        np.testing.assert_allclose(row["key"], key, atol=1e-3)
    nowhere = tmp_path / "nowhere" / "chunks.parquet"  # once a traceback
    assert main(["index", "export", str(folder), "--out", str(nowhere)]) == 2
    assert main(["index", "export", str(folder), "--out", str(tmp_path / "chunks.csv")]) == 2
