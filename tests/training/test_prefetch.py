"""Work ahead of its use: in order, never far ahead, and no thread is left behind."""

from __future__ import annotations

import gc
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.training.prefetch import prefetch


def readers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


@settings(deadline=None, max_examples=25)
@given(count=st.integers(0, 30), depth=st.integers(0, 5))
def test_everything_comes_in_order_and_at_most_so_far_ahead(count: int, depth: int) -> None:
    begun: list[int] = []

    def make(item: int) -> int:
        begun.append(item)
        return item**2

    found = []
    for result in prefetch(make, range(count), depth):
        found.append(result)
        assert len(begun) <= len(found) + depth
    assert found == [item**2 for item in range(count)]
    assert sorted(begun) == [*range(count)]


def test_work_goes_on_while_a_result_is_used() -> None:
    began = threading.Event()

    def make(item: int) -> int:
        if item == 1:
            began.set()
        return item

    results = prefetch(make, range(9), 2)
    assert next(results) == 0
    assert began.wait(10)


def test_an_error_comes_where_its_result_would_and_ends_the_threads() -> None:
    def make(item: int) -> int:
        if item == 3:
            raise LookupError("the third")
        return item

    found = []
    with pytest.raises(LookupError, match="the third"):
        found.extend(prefetch(make, range(9), 2))
    # `extend` keeps what came before the error.
    assert found == [0, 1, 2]
    assert not readers()


@pytest.mark.parametrize("how", ["closed", "dropped", "never begun"])
@pytest.mark.slow
def test_an_abandoned_iteration_leaves_no_thread(how: str) -> None:
    results = prefetch(lambda item: item, range(1000), 3)
    if how != "never begun":
        assert next(results) == 0 and readers()
    if how == "closed":
        results.close()
    del results
    gc.collect()
    assert not readers()


def test_the_threads_are_gone_before_the_last_result_is_used() -> None:
    """Who counts the results need not ask for one more."""
    results = prefetch(lambda item: item, range(5), 1)
    assert [next(results) for _ in range(5)] == [*range(5)]
    for thread in readers():
        thread.join(10)
    assert not readers()
