"""Where keys are computed: in this process, or on a Ray cluster; knows texts, no files.

On Ray a shard is a task that remembers nothing, so one whose machine is lost is computed again on
another. What has come back is written and noted by the build (``index.assemble``), on the machine
that started it; should that one be lost, the build goes on from its journal. So Ray's tasks are
enough, and nothing of Ray Data's own plan has to outlive a failure.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, Literal

from index.errors import UserError
from index.keys import KeyEncoder, Keys, open_encoder

Engine = Literal["local", "ray"]

Encode = Callable[[Iterable[list[str]]], Iterator[Keys]]
"""Keys [n, dim] of each shard of n texts, in order; it may read ahead."""

AHEAD = 2
"""Shards on their way, for each that the cluster computes at a time."""

SECONDS = 5.0
"""Time that a cluster has to answer."""


def encode_with(encoder: KeyEncoder, engine: Engine) -> Encode:
    """The encoder, run by an engine; both engines give the same keys."""
    return partial(on_ray if engine == "ray" else in_this_process, encoder)


def in_this_process(encoder: KeyEncoder, shards: Iterable[list[str]]) -> Iterator[Keys]:
    """The keys [n, dim] of each shard of n texts, in order."""
    return map(encoder.encode, shards)


def nothing_new(shards: Iterable[list[str]]) -> Iterator[Keys]:
    """For an index whose keys are all copied."""
    for _ in shards:
        raise AssertionError("new documents need an encoder")
    return iter(())


def on_ray(encoder: KeyEncoder, shards: Iterable[list[str]]) -> Iterator[Keys]:
    """The keys [n, dim] of each shard of n texts, in order, as ``encoder`` would compute them.

    The cluster that ``RAY_ADDRESS`` names, or one of this machine's cores. A task takes a core, or
    a GPU where the cluster has any; each process opens the encoder by its name, once.

    Raises:
        UserError: Ray is not installed, no cluster answers, or a machine has other weights.
    """
    ray = _started()
    resources = ray.cluster_resources()
    need: dict[str, Any] = {"num_gpus": 1} if resources.get("GPU") else {"num_cpus": 1}
    task = ray.remote(max_retries=-1, **need)(_encode)
    waiting: deque[Any] = deque()
    which = (encoder.name, encoder.fingerprint)
    for texts in shards:
        waiting.append(task.remote(*which, texts))
        while len(waiting) > AHEAD * _at_a_time(ray, need):
            yield _result(ray, waiting.popleft())
    while waiting:
        yield _result(ray, waiting.popleft())


def _encode(name: str, fingerprint: str, texts: list[str]) -> Keys:
    return _opened(name, fingerprint).encode(texts)


@lru_cache(maxsize=1)
def _opened(name: str, fingerprint: str) -> KeyEncoder:
    encoder = open_encoder(name)
    if encoder.fingerprint != fingerprint:
        raise UserError(
            f"{name}: a machine of the cluster has other weights of that name than the one that "
            "builds; bring the same to all"
        )
    return encoder


def _started() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError(
            "--engine ray needs Ray: pip install 'retro-abstain[ray]', on every machine"
        ) from error
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports to its makers
        _check_address(os.environ.get("RAY_ADDRESS", ""))
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"--engine ray: no cluster to work on ({error}); check RAY_ADDRESS, or unset it "
                "to use this machine alone"
            ) from error
    return ray


def _check_address(address: str) -> None:
    """Ray itself tries an address where nobody listens for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), SECONDS).close()
    except OSError as error:
        raise UserError(
            f"--engine ray: no cluster answers at RAY_ADDRESS={address} ({error}); start it, mend "
            "the address, or unset it to use this machine alone"
        ) from error


def _at_a_time(ray: Any, need: dict[str, Any]) -> int:
    """Tasks that the cluster runs at a time, as many machines as it has now."""
    kind = "GPU" if "num_gpus" in need else "CPU"
    return max(1, int(ray.cluster_resources().get(kind, 1)))


def _result(ray: Any, task: Any) -> Keys:
    try:
        keys: Keys = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from error
        raise
    return keys
