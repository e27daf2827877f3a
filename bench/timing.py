"""Fair timing: the candidates alternate in rounds, and each round gives one ratio.

`interleaved` compares functions in this process. `in_turns` compares programs: each candidate has a
separate process with its own settings, and only one of them works at a time.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

Times = dict[str, list[float]]
Call = Callable[[], object]


def timed(call: Call, repeats: int = 1) -> float:
    """CPU seconds of this thread per call."""
    start = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - start) / repeats


def interleaved(
    candidates: Mapping[str, Call], rounds: int, repeats: int = 1, warm: int = 2
) -> Times:
    """CPU seconds per call, one number per round and candidate."""
    for call in candidates.values():
        for _ in range(warm):
            call()
    times: Times = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            times[name].append(timed(call, repeats))
    return times


def in_turns(factories: Mapping[str, Callable[[], Call]], rounds: int, warm: int = 3) -> Times:
    """CPU seconds per call, with each candidate in a separate process.

    `factories`: module-level functions that are called in the process and return the candidate.
    """
    context = multiprocessing.get_context("spawn")
    workers: dict[str, tuple[Any, Any]] = {}
    try:
        for name, factory in factories.items():
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(factory, theirs), daemon=True)
            process.start()
            theirs.close()
            workers[name] = (process, ours)
        for _, connection in workers.values():
            for _ in range(warm):
                _ask(connection)
        times: Times = {name: [] for name in workers}
        for _ in range(rounds):
            for name, (_, connection) in workers.items():
                times[name].append(_ask(connection))
        return times
    finally:
        for process, connection in workers.values():
            connection.close()
            process.join()


def _ask(connection: Any) -> float:
    connection.send("again")
    return connection.recv()


def _serve(factory: Callable[[], Call], connection: Any) -> None:
    """One timed call per message, until the connection is closed."""
    call = factory()
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(timed(call))


def speedup(times: Times, ours: str, theirs: str) -> float:
    """How many times as fast `ours` is: median over the rounds of the ratio of times."""
    pairs = zip(times[theirs], times[ours], strict=True)
    return median(slow / fast for slow, fast in pairs)


def milliseconds(times: Times) -> dict[str, float]:
    """Median milliseconds of each candidate."""
    return {name: round(1e3 * median(values), 3) for name, values in times.items()}
