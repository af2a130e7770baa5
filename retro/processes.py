"""One training run on several processes, each with its share of every batch; knows no model.

Under ``torchrun --nproc_per_node 2 -m -- retro.cli train …`` (``--``: else it takes ``--start`` for
an option of its own), or under ``accelerate launch -m``, every process walks through the same
batches and takes every second example. A loss divides by counts of the
whole batch (``total``, ``mean``), so the sum of all processes' gradients is the gradient that one
process would have had, whatever the lengths of the answers in a share. Only dropout differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

Item = TypeVar("Item")


@contextmanager
def processes() -> Iterator[None]:
    """Joins the processes that a launcher's environment speaks of: over NCCL with a GPU each,
    else over gloo. Without a launcher nothing happens."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """This process's number; 0 writes and speaks."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share(batch: Sequence[Item]) -> Sequence[Item]:
    """This process's part. A batch with fewer examples than processes is everyone's: their sums
    and their counts grow alike, so nothing is counted twice."""
    if not distributed.is_initialized() or len(batch) < distributed.get_world_size():
        return batch
    return batch[rank() :: distributed.get_world_size()]


def total(value: Tensor) -> Tensor:
    """The sum over all processes, without gradient."""
    value = value.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(value)
    return value


def mean(values: Tensor) -> Tensor:
    """This process's part of the mean of all processes' values [N]: the parts add up to it."""
    return values.sum() / total(torch.tensor(len(values), device=values.device))


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Every process gets the sum of all gradients. What has none anywhere keeps none: weight decay
    would move it."""
    if not distributed.is_initialized() or not parameters:
        return
    has = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device)
    for parameter, anywhere in zip(parameters, total(has.int()).tolist(), strict=True):
        if anywhere:
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = total(grad.float()).to(parameter.dtype)


def tell(line: str) -> None:
    """Prints at once, and once for all processes."""
    if rank() == 0:
        print(line, flush=True)
