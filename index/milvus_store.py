"""Keys in a Milvus server, for databases past one machine; knows no text and no files.

``milvus://host:19530/name``: each version of an index has a collection of its own, ``name_v1``,
so that a build never disturbs who is reading, and says whose it is: two indexes under one name
would read each other's keys. The token in ``MILVUS_TOKEN`` is used if it is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from index.dense import EXACT, Ids, Keys, Stored, fewest_probes
from index.errors import UserError

INSERTED = 2000
"""Keys sent at a time: about 3 MB."""
MOST_FOUND = 16_384
"""Milvus gives no more neighbours of a query."""
SECONDS = 60.0
_URI = re.compile(r"milvus://(?P<host>[^/\s:@]+)(:(?P<port>\d+))?/(?P<name>[A-Za-z_]\w*)")


def check_uri(uri: str) -> None:
    """Raises UserError unless it is ``milvus://host[:port]/collection``."""
    if not _URI.fullmatch(uri):
        raise UserError(f"--store {uri}: not a store; give milvus://host:19530/collection")


class MilvusStore:
    """The nearest keys by a collection of a Milvus server; ``hidden`` chunks are never found."""

    def __init__(self, uri: str, version: str, probes: int, hidden: Ids | None = None) -> None:
        """Raises UserError when no server answers there, or it has no such collection."""
        self._uri, self._collection = uri, _collection(uri, version)
        self._probes = probes
        self._shown = "" if hidden is None or not len(hidden) else f"chunk not in {hidden.tolist()}"
        with _told(uri):
            self._client = _connect(uri)
            found = self._client.has_collection(self._collection)
        if not found:
            raise UserError(
                f"{uri}: the server has no collection {self._collection}; build the index again"
            )

    @classmethod
    def write(cls, uri: str, version: str, keys: Stored, owner: str) -> tuple[MilvusStore, float]:
        """Sends all keys to a new collection; the store, and its recall@10.

        Raises:
            UserError: another ``owner`` has a collection of that name, or no server answers.
        """
        collection, lists = _collection(uri, version), max(1, min(4096, len(keys) // 39))
        kind = "FLAT" if len(keys) <= EXACT else "IVF_SQ8"
        with _told(uri):
            client = _connect(uri)
            _make_room(client, collection, owner, uri)
            _create(client, collection, owner, keys.shape[1], kind, lists)
            for start in range(0, len(keys), INSERTED):
                block = keys[start : start + INSERTED].astype(np.float32)
                rows = [{"chunk": start + n, "key": key} for n, key in enumerate(block)]
                client.insert(collection, rows, timeout=SECONDS)
            client.flush(collection)
            client.load_collection(collection)
            store = cls(uri, version, 0)
            if kind == "FLAT":
                return store, 1.0
            store._probes, recall = fewest_probes(store._search, keys, lists)
            return store, recall

    @property
    def probes(self) -> int:
        """Inverted lists visited for a question; 0 where search is exact."""
        return self._probes

    def check(self, num_keys: int) -> None:
        """Raises ValueError unless the collection holds that many keys."""
        with _told(self._uri):
            held = self._client.get_collection_stats(self._collection)["row_count"]
        if held != num_keys:
            raise ValueError(f"{self._collection} holds {held} keys, not {num_keys}")

    def search(self, queries: Keys, depth: int) -> Ids:
        """Chunk ids of the nearest keys, best first, int64 [n, depth]; -1 where there are none."""
        with _told(self._uri):
            found = self._search(queries, depth, self._probes)
        return np.pad(found, ((0, 0), (0, depth - found.shape[1])), constant_values=-1)

    def _search(self, queries: Keys, depth: int, probes: int) -> Ids:
        depth = min(depth, MOST_FOUND)
        found = self._client.search(
            self._collection,
            data=list(queries),
            anns_field="key",
            limit=depth,
            filter=self._shown,
            search_params={"metric_type": "IP", "params": {"nprobe": probes} if probes else {}},
            consistency_level="Strong",
            timeout=SECONDS,
        )
        ids = np.full((len(queries), depth), -1, dtype=np.int64)
        for row, hits in zip(ids, found, strict=True):
            row[: len(hits)] = [hit["id"] for hit in hits]
        return ids

    def drop_others(self) -> None:
        """Drops the collections of older versions but the last, which may still be read."""
        stem, number = self._collection.rsplit("_v", 1)
        with _told(self._uri):
            for name in self._client.list_collections():
                version = re.fullmatch(re.escape(stem) + r"_v(\d+)", name)
                if version and int(version[1]) < int(number) - 1:
                    self._client.drop_collection(name)


def _make_room(client: Any, collection: str, owner: str, uri: str) -> None:
    """Drops what a killed build of the same index left."""
    if not client.has_collection(collection):
        return
    found = client.describe_collection(collection)["description"]
    if found != owner:
        raise UserError(
            f"{uri}: {collection} is there and belongs to {found or 'something else'}; "
            "give another name with --store, or drop that collection"
        )
    client.drop_collection(collection)


def _create(client: Any, collection: str, owner: str, dim: int, kind: str, lists: int) -> None:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, description=owner)
    schema.add_field("chunk", DataType.INT64, is_primary=True)
    schema.add_field("key", DataType.FLOAT_VECTOR, dim=dim)
    index = client.prepare_index_params()
    parameters = {"nlist": lists} if kind == "IVF_SQ8" else {}
    index.add_index("key", index_type=kind, metric_type="IP", params=parameters)
    client.create_collection(collection, schema=schema, index_params=index)


def _collection(uri: str, version: str) -> str:
    match = _URI.fullmatch(uri)
    assert match, uri
    return f"{match['name']}_{version}"


def _connect(uri: str) -> Any:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise UserError(f"{uri}: needs pip install 'retro-abstain[milvus]'") from error
    match = _URI.fullmatch(uri)
    assert match, uri
    address = f"http://{match['host']}:{match['port'] or 19530}"
    return MilvusClient(address, token=os.environ.get("MILVUS_TOKEN", ""), timeout=SECONDS)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Makes one line of what the client raises."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # pymilvus and grpc raise a dozen kinds
        if not type(error).__module__.startswith(("pymilvus", "grpc")):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{uri}: {reason}; is the server running there?") from error
