from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from index_fakes import FACTS, small_index, tiny_tokenizer, write_facts, write_jsonl

from index.assemble import read_skipped
from index.build import build_index
from index.errors import UserError
from index.folder import locked
from index.grow import add_documents
from index.keys import HashingKeyEncoder
from index.manifest import Manifest
from index.retriever import Retriever
from index.weights import resolve


def test_manifest_tells_what_was_built(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    write_facts(tmp_path)
    manifest = small_index(tmp_path, tmp_path / "out")
    assert Manifest.read(tmp_path / "out") == manifest
    assert (manifest.num_documents, manifest.num_skipped) == (len(FACTS), 1)
    assert (manifest.embedder, manifest.tokenizer, manifest.faiss_type) == (
        "hashing",
        "tiny",
        "SQfp16",
    )
    ids = [len(tiny_tokenizer()(text)["input_ids"]) for text in FACTS.values()]
    assert manifest.num_tokens == sum(ids)
    assert manifest.num_chunks == sum(-(-n // 8) for n in ids)
    assert [s.reason[:12] for s in read_skipped(tmp_path / "out")] == ["type '.png' "]
    assert manifest.broken_files(tmp_path / "out") == []
    assert list(manifest.own_distances) == sorted(manifest.own_distances)
    assert len(manifest.own_distances) == 21


def test_the_same_sources_give_the_same_files(tmp_path: Path) -> None:
    source = write_facts(tmp_path)
    first = small_index(source, tmp_path / "a")
    second = small_index(source, tmp_path / "b")
    assert first.files == second.files


def test_more_documents_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks were cut from a progress bar that began anew for each: only two were ever read."""
    monkeypatch.setattr("index.build.BLOCK_CHARACTERS", 2000)
    monkeypatch.setattr("index.assemble.SHARD", 50)
    rows = ({"text": f"Number {n} is {n * n} squared."} for n in range(300))
    source = write_jsonl(tmp_path / "many.jsonl", rows)
    assert small_index(source, tmp_path / "out", chunk_size=64).num_documents == 300


def test_a_rebuild_replaces_and_a_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    source = write_facts(tmp_path)
    small_index(source, tmp_path / "out")
    before = Retriever.open(tmp_path / "out")
    write_jsonl(source, [{"id": "new", "text": "A zeppelin is an airship."}])
    manifest = small_index(source, tmp_path / "out")
    assert manifest.version == "v2"
    assert set(Retriever.open(tmp_path / "out").search("zeppelin").doc_ids) == {"new"}
    assert before.search("camel hump").doc_ids[0] == "camel"
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["manifest.json", "v2"]


def test_a_build_that_breaks_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    class Broken(HashingKeyEncoder):
        def encode(self, texts: object) -> np.ndarray:
            raise RuntimeError("out of memory")

    source = write_facts(tmp_path)
    small_index(source, tmp_path / "out")
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*")}
    (tmp_path / "out" / ".building").mkdir()
    with pytest.raises(RuntimeError, match="out of memory"):
        small_index(source, tmp_path / "out", embedder=Broken())
    after = {f: f.stat().st_mtime_ns for f in before}
    assert before == after
    assert Retriever.open(tmp_path / "out").search("camel").doc_ids[0] == "camel"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no documents in the sources"),
        ({"a.txt": b"  \n"}, "a.txt: empty"),
        ({"a.txt": bytes(range(256))}, "binary"),
        ({"a.xls": b"a,b", "b.xls": b"a,b"}, "unknown.*and 1 more"),
    ],
)
def test_nothing_to_index_is_the_users_mistake(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        small_index(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_must_be_a_folder_that_holds_nothing_else(tmp_path: Path) -> None:
    source = write_facts(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        small_index(source, source)
    with pytest.raises(UserError, match="no index but other files"):
        small_index(source, tmp_path)


def test_two_builds_into_one_folder_are_kept_apart(tmp_path: Path) -> None:
    with locked(tmp_path / "out"), pytest.raises(UserError, match="another build"):
        small_index(write_facts(tmp_path), tmp_path / "out")


def test_tokenizer_of_another_model_is_told(tmp_path: Path) -> None:
    manifest = small_index(write_facts(tmp_path), tmp_path / "out")
    manifest.check_tokenizer(manifest.tokenizer_sha256, "tiny")
    with pytest.raises(UserError, match="tokens of 'tiny', the model reads those of 'gpt2'"):
        manifest.check_tokenizer("0" * 64, "gpt2")


def test_minilm_and_smollm2_from_files_to_the_right_passage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real encoder and tokenizer, over Markdown, text and HTML files.

    The encoder is given as a relative folder, which another working directory would not find.
    """
    (tmp_path / "docs").mkdir()
    for name, (title, text) in zip(("a.md", "b.txt", "c.html"), FACTS.items(), strict=False):
        shapes = {"a.md": f"# {title}\n\n{text}", "b.txt": text}
        (tmp_path / "docs" / name).write_text(shapes.get(name, f"<p>{text}</p>"))
    (tmp_path / "encoder").symlink_to(resolve("minilm"))
    monkeypatch.chdir(tmp_path)
    build_index([Path("docs")], Path("out"), embedder="encoder", progress=False)
    monkeypatch.chdir("/")
    retriever = Retriever.open(tmp_path / "out")
    best = retriever.search("Which metal are cables made from?")
    assert best.doc_ids[0] == "c.html"
    assert best.distances[0] == min(best.distances)
    raw = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert raw["embedder"] == str(resolve("minilm").resolve())
    assert (raw["tokenizer"], raw["dim"]) == ("smollm2-135m", 384)


def test_the_faiss_type_that_is_asked_for_is_made_and_kept(tmp_path: Path) -> None:
    """Adding makes it again; few keys have few inverted lists."""
    out = tmp_path / "index"
    small_index(write_facts(tmp_path), out, faiss="IVF4096,SQ8")
    assert (Manifest.read(out).faiss, Manifest.read(out).faiss_type) == ("IVF4096,SQ8", "IVF1,SQ8")
    assert Retriever.open(out).search("the smallest planet", 1).doc_ids == ("mercury",)
    (tmp_path / "new.txt").write_text("The piano was built in Florence around 1700.")
    fresh = {"encoder": HashingKeyEncoder(), "tokenizer": tiny_tokenizer(), "progress": False}
    assert add_documents(out, [tmp_path / "new.txt"], **fresh).faiss_type == "IVF1,SQ8"


def test_too_few_keys_for_a_type_get_the_usual_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their embedding was paid for: nothing is lost, and what was made is told."""
    monkeypatch.setattr("index.faiss_store.TRIED", 500)
    manifest = small_index(write_facts(tmp_path), tmp_path / "i", faiss="IVF1,PQ2", progress=True)
    assert (manifest.faiss, manifest.faiss_type) == ("IVF1,PQ2", "SQfp16")
    assert "IVF1,PQ2 cannot be made of" in capsys.readouterr().err


def test_a_type_is_refused_before_any_work(tmp_path: Path) -> None:
    source = write_facts(tmp_path)
    with pytest.raises(UserError, match="--faiss-type Nonsense: FAISS cannot use it"):
        small_index(source, tmp_path / "i", faiss="Nonsense")
    with pytest.raises(UserError, match="leave out one of the two"):
        small_index(source, tmp_path / "i", faiss="Flat", store="milvus://here:1/keys")
    assert not (tmp_path / "i").exists()
