"""Makes what comes next while what is there is used: a GPU need not wait for the next batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

T = TypeVar("T")


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """The items in their order, up to ``count`` of them made ahead in one thread; what making one
    raises is raised where it would have come. ``count`` 0: none is made ahead, without a thread.
    """
    if not count:
        yield from items
        return
    left, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    try:
        made: deque[Any] = deque(pool.submit(next, left, end) for _ in range(count))
        while (item := made.popleft().result()) is not end:
            made.append(pool.submit(next, left, end))
            yield cast(T, item)
    finally:
        pool.shutdown(cancel_futures=True)
