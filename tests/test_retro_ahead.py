"""Items made ahead: the same ones in the same order, few at a time, and their errors."""

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from retro.ahead import ahead


@pytest.mark.parametrize("count", [0, 1, 5, 30])
def test_all_items_come_in_their_order(count: int) -> None:
    assert list(ahead(iter(range(20)), count)) == list(range(20))


@pytest.mark.parametrize("count", [0, 3])
def test_an_error_comes_where_its_item_would_have(count: int) -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("the third")

    found = ahead(items(), count)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(found)


def test_so_many_are_made_ahead_and_none_after_the_end() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            made.append(number)
            yield number

    before = threading.active_count()
    found = ahead(items(), 3)
    assert next(found) == 0
    until = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(made) == 4  # one is used, three wait
    found.close()
    assert threading.active_count() == before
    assert len(made) == 4
