"""Keys in a real Milvus server: the package of the registry, in an environment of its own.

With ``RETRO_TEST_MILVUS=milvus://HOST:PORT`` a server that is running is used instead.
"""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from index_fakes import FACTS, small_index, tiny_tokenizer, write_facts, write_jsonl
from test_index_dense import Exhaustive, clustered_keys

from index.errors import UserError
from index.grow import add_documents, merge_indexes, remove_documents
from index.keys import HashingKeyEncoder
from index.milvus_store import MilvusStore, check_uri
from index.retriever import Retriever

SERVER = "milvus==2.3.5"
QUESTION = "Which planet is the hottest?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``milvus://127.0.0.1:PORT`` of a server that runs as long as this module's tests."""
    if running := os.environ.get("RETRO_TEST_MILVUS"):
        yield running
        return
    script = Path(__file__).with_name("milvus_server.py")
    command = [str(_python()), str(script), str(tmp_path_factory.mktemp("milvus"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        lines = (line.split() for line in process.stdout)
        port = next((line[1] for line in lines if line[:1] == ["port"]), None)
        if port is None:
            pytest.skip("the Milvus server does not start here")
        yield f"milvus://127.0.0.1:{port}"
        process.communicate("")


def _python() -> Path:
    """The interpreter of an environment that holds the server, made once a machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "retro-abstain" / "tests" / SERVER
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "-q", SERVER, "setuptools<80"]
        made = subprocess.run(install, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"{SERVER} cannot be installed here: {made.stderr[-200:]}")
        (folder / ".ready").touch()
    return python


def test_a_server_finds_what_exact_search_finds(server: str) -> None:
    keys = clustered_keys(3000)
    store, recall = MilvusStore.write(f"{server}/exact", "v1", keys, "a test")
    queries = keys[::100].astype(np.float32)
    expected = Exhaustive(keys).search(queries, 10)
    found = MilvusStore(f"{server}/exact", "v1", store.probes).search(queries, 10)
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(found, expected, strict=True)]
    assert recall == 1.0
    assert np.mean(shared) > 0.99
    without = MilvusStore(f"{server}/exact", "v1", 0, found[0, ::2]).search(queries[:1], 5)
    assert without[0].tolist() == found[0, 1::2].tolist()


def test_an_index_with_its_keys_in_a_server_answers_as_one_with_faiss(
    server: str, tmp_path: Path
) -> None:
    """Built, grown, and with a document removed; the reader of the old version is not disturbed."""
    facts = write_facts(tmp_path)
    more = write_jsonl(tmp_path / "more.jsonl", [{"id": "iron", "text": "Iron rusts in rain."}])
    encoder = HashingKeyEncoder()
    found = {}
    for name, store in (("faiss", ""), ("milvus", f"{server}/grown")):
        out = tmp_path / name
        small_index(facts, out, store=store)
        before = Retriever.open(out, encoder)
        add_documents(out, [more], encoder=encoder, tokenizer=tiny_tokenizer(), progress=False)
        remove_documents(out, ["venus"])
        after = Retriever.open(out, encoder)
        found[name] = [r.search(q) for r in (before, after) for q in (QUESTION, "What rusts?")]
    for one, other in zip(found["faiss"], found["milvus"], strict=True):
        assert one.doc_ids == other.doc_ids
        np.testing.assert_allclose(one.distances, other.distances)
        np.testing.assert_array_equal(one.dense_rank >= 0, other.dense_rank >= 0)
    assert found["milvus"][0].titles[0] == "Venus"
    assert "venus" not in found["milvus"][2].doc_ids
    assert found["milvus"][3].doc_ids[0] == "iron"
    assert len(found["milvus"][0]) >= len(FACTS)


def test_two_indexes_do_not_share_a_collection(server: str, tmp_path: Path) -> None:
    """A second index under the name of the first dropped its keys, and so did merging it."""
    one, other, uri = tmp_path / "one", tmp_path / "other", f"{server}/shared"
    small_index(write_facts(tmp_path), one, store=uri)
    more = write_jsonl(tmp_path / "more.jsonl", [{"id": "iron", "text": "Iron rusts in rain."}])
    with pytest.raises(UserError, match=r"shared_v1 is there and belongs to .*one; give another"):
        small_index(more, other, store=uri)
    small_index(more, other)
    merge_indexes([one, other], tmp_path / "merged", progress=False)
    for out in (one, tmp_path / "merged"):
        assert Retriever.open(out, HashingKeyEncoder()).search(QUESTION).titles[0] == "Venus"


def test_a_collection_that_is_gone_is_told(server: str, tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    out = tmp_path / "index"
    small_index(write_facts(tmp_path), out, store=f"{server}/gone")
    MilvusClient(server.replace("milvus", "http")).drop_collection("gone_v1")
    with pytest.raises(UserError, match="no collection gone_v1; build the index again"):
        Retriever.open(out, HashingKeyEncoder())


def test_a_server_that_does_not_answer_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus")
    facts, out = write_facts(tmp_path), tmp_path / "index"
    small_index(facts, out)
    with pytest.raises(UserError, match=r"milvus://127.0.0.1:9/none: .*is the server running"):
        small_index(facts, out, store="milvus://127.0.0.1:9/none")
    assert len(Retriever.open(out, HashingKeyEncoder()).search(QUESTION))


@pytest.mark.parametrize("uri", ["http://host/x", "milvus://host", "milvus://a:b/c", "milvus:///x"])
def test_what_is_no_store_is_told_at_once(uri: str) -> None:
    with pytest.raises(UserError, match="give milvus://host:19530/collection"):
        check_uri(uri)
