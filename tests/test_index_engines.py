"""Keys computed on a Ray cluster of this machine, of which a node is taken away in the middle."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_fakes import small_index, tiny_tokenizer, write_facts

from index import assemble, engines
from index.engines import on_ray
from index.errors import UserError
from index.folder import Work
from index.grow import add_documents
from index.keys import HashingKeyEncoder, Keys
from index.manifest import Manifest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that computes nothing, and two nodes of one core each."""
    import ray
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        found.add_node(num_cpus=1, **small)
    ray.init(address=found.address, log_to_driver=False, logging_level="error")
    yield found
    ray.shutdown()
    found.shutdown()


def digests(folder: Path) -> dict[str, str]:
    """What makes two indexes the same: the hash of each of their files."""
    version = folder / Manifest.read(folder).version
    return {
        str(file.relative_to(version)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(version.rglob("*"))
        if file.is_file()
    }


def test_a_node_that_is_lost_in_the_middle_loses_nothing(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes as a build without a cluster; what the lost node was computing is computed
    again on the other one."""

    def slowly(name: str, fingerprint: str, texts: list[str]) -> Keys:
        time.sleep(0.5)  # so that both nodes are at work when one is lost
        return HashingKeyEncoder().encode(texts)

    monkeypatch.setattr(engines, "_encode", slowly)
    monkeypatch.setattr(assemble, "SHARD", 2)
    source = write_facts(tmp_path)
    small_index(source, tmp_path / "local")
    nodes = list(cluster.worker_nodes)
    noted: list[Any] = []
    note = Work.note

    def lose_one(work: Work, fact: dict[str, Any]) -> None:
        note(work, fact)
        noted.append(fact)
        if len(noted) == 3:
            cluster.remove_node(nodes[0], allow_graceful=False)

    monkeypatch.setattr(Work, "note", lose_one)
    small_index(source, tmp_path / "ray", engine="ray")
    assert len(noted) > 6
    assert len(cluster.worker_nodes) == 1
    assert digests(tmp_path / "ray") == digests(tmp_path / "local")
    cluster.add_node(num_cpus=1)


def test_what_is_added_is_embedded_there_too(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("The piano was built in Florence around 1700.")
    source = write_facts(tmp_path)
    found = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        small_index(source, out)
        fresh = {"encoder": HashingKeyEncoder(), "tokenizer": tiny_tokenizer(), "progress": False}
        add_documents(out, [tmp_path / "new.txt"], engine=engine, **fresh)
        found.append(digests(out))
    assert found[0] == found[1]


def test_the_command_joins_the_cluster_that_the_environment_names(
    cluster: Any, tmp_path: Path
) -> None:
    """In a process of its own: this one has joined already. It tells in a file, for Ray itself
    prints that a node was lost, even one that it lost before."""
    told = tmp_path / "told"
    code = (
        "import ray, sys;"
        "from index.engines import on_ray; from index.keys import HashingKeyEncoder;"
        "told = open(sys.argv[1], 'w'); keys = next(on_ray(HashingKeyEncoder(), [['text']]));"
        "print(len(keys), ray.get_runtime_context().gcs_address, file=told)"
    )
    environment = os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(told)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert told.read_text().split() == ["1", cluster.address]


def test_keys_come_back_in_order(cluster: Any) -> None:
    encoder = HashingKeyEncoder()
    shards = [[f"text {n} {m}" for m in range(n % 3 + 1)] for n in range(20)]
    for keys, texts in zip(on_ray(encoder, iter(shards)), shards, strict=True):
        assert np.array_equal(keys, encoder.encode(texts))


def test_a_machine_with_other_weights_of_that_name_is_told(cluster: Any) -> None:
    class Other(HashingKeyEncoder):
        fingerprint = "other"

    with pytest.raises(UserError, match="hashing: a machine of the cluster has other weights"):
        list(on_ray(Other(), [["text"]]))


def test_without_ray_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'retro-abstain\[ray\]'"):
        list(on_ray(HashingKeyEncoder(), [["text"]]))


def test_a_cluster_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself went on trying for minutes."""
    import ray

    if ray.is_initialized():  # by the tests above, to whose cluster work would go
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=f"no cluster answers at RAY_ADDRESS={address}"):
            list(on_ray(HashingKeyEncoder(), [["text"]]))
