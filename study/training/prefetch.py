"""Work done ahead of its use, by threads in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

THREADS = 2  # one waits for the disk while the other computes


def prefetch(make: Callable[[Item], Made], items: Iterable[Item], depth: int) -> Iterator[Made]:
    """`make(item)` of every item in order, each begun while at most `depth` before it are unused.

    What `make` raises is raised where its result would have come. The threads end with the last
    item, or when the iterator is closed or dropped: then they finish the items in hand at most.
    """
    threads = ThreadPoolExecutor(THREADS, "read-ahead")
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        threads.shutdown(wait=False)
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
