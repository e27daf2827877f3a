"""The processes behind `Ranks`: rank 0 is the run's own process, it starts and ends the others.

Design choices
- Workers are spawned: CUDA cannot be forked into. They write nothing, and Ctrl-C and SIGTERM never
  reach them: what a stop means is decided by rank 0 only, which then ends them.
- A worker watches its parent and is gone when that is, kill -9 included.
- Rank 0 watches its workers. When one dies, the group is aborted, so that a collective in progress
  ends instead of waiting; the error is reported as the death of that rank. A process that hangs
  is given up after `TIMEOUT`.
- The meeting point is a store of rank 0 on a port that the system chose: runs in parallel do not
  interfere. Lightning finds the group and starts no further processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing import connection, resource_tracker
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from study.settings import UserError
from study.training.process import flushes_denormals
from study.training.ranks import Ranks
from study.training.stopping import SIGNALS

HOST = "127.0.0.1"
# Longest wait for another rank: rank 0 writes checkpoints and diagnostics while the others wait.
TIMEOUT = timedelta(minutes=10)
# How long workers may take to end by themselves, and how long after a failed collective the death
# of a process may become known.
END_S, NEWS_S = 20.0, 5.0

# part(ranks, *arguments): what a worker does, inside the process group.
Part = Callable[..., None]


@contextlib.contextmanager
def together(ranks: Ranks, part: Part, arguments: tuple[Any, ...]) -> Iterator[None]:
    """Run the body as rank 0 of a process group whose other ranks run `part`; nothing for one rank.

    `part` and `arguments` are pickled. Raises UserError that names the rank when a worker dies.
    """
    if not ranks.several:
        yield
        return
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
    workers, grace_s = Workers(ranks.size), 0.0
    with _rank_environment(0):
        try:
            workers.start(store, part, arguments)
            _join(ranks, store)
            yield
            _leave()
            grace_s = END_S
        except RuntimeError as error:
            workers.blame(error)
            raise
        finally:
            workers.end(grace_s)
            _leave()


class Workers:
    """Ranks 1 to size - 1 as processes, each with a thread that waits for its end.

    `lost`: how the first of them died.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.lost: str | None = None
        self.news = threading.Event()
        self.processes: list[Any] = []
        self.watchers: list[threading.Thread] = []

    def start(self, store: TCPStore, part: Part, arguments: tuple[Any, ...]) -> None:
        """Return when every worker is ready for the process group; UserError when one died."""
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # its start would lift the mask
        for rank in range(1, self.size):
            arithmetic = (torch.get_num_threads(), flushes_denormals())
            settings = (Ranks(rank, self.size), store.port, arithmetic)
            process = context.Process(target=_live, args=(*settings, part, arguments))
            with _signals_blocked():
                process.start()
            watcher = threading.Thread(target=self._watch, args=(rank, process), daemon=True)
            watcher.start()
            self.processes.append(process)
            self.watchers.append(watcher)
        self._wait_until_ready(store)

    def _watch(self, rank: int, process: Any) -> None:
        process.join()
        if process.exitcode == 0:
            return
        code = process.exitcode
        how = (
            f"was killed by signal {-code} (out of memory?)" if code < 0 else f"exited with {code}"
        )
        self.lost = self.lost or f"rank {rank} of {self.size} {how}"
        self.news.set()
        group = dist.group.WORLD
        if group is not None:
            group.abort()

    def _wait_until_ready(self, store: TCPStore) -> None:
        names = [_ready(rank) for rank in range(1, self.size)]
        deadline = time.monotonic() + TIMEOUT.total_seconds()
        while not store.check(names):
            if self.lost is not None:
                raise UserError(f"{self.lost} before training; its error is printed above")
            if time.monotonic() > deadline:
                raise UserError(f"the other ranks did not start within {TIMEOUT}")
            time.sleep(0.02)

    def blame(self, error: Exception) -> None:
        """Raise UserError from `error` when a worker died; return when all live."""
        self.news.wait(NEWS_S)
        if self.lost is not None:
            raise UserError(f"{self.lost} during training") from error

    def end(self, grace_s: float) -> None:
        """Wait for the workers to end, then kill what is left."""
        deadline = time.monotonic() + grace_s
        for watcher in self.watchers:
            watcher.join(max(0.0, deadline - time.monotonic()))
        for process, watcher in zip(self.processes, self.watchers, strict=True):
            process.kill()
            watcher.join()
            process.close()


# --- in the worker ----------------------------------------------------------------------------


def _live(
    ranks: Ranks,
    port: int,
    arithmetic: tuple[int, bool],
    part: Part,
    arguments: tuple[Any, ...],
) -> None:
    """The whole life of a worker; `arithmetic`: threads, and whether denormals count as zero."""
    threads, flush = arithmetic
    torch.set_flush_denormal(flush)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(threads)
    store = TCPStore(HOST, port, is_master=False, timeout=TIMEOUT)
    with _rank_environment(ranks.rank):
        store.set(_ready(ranks.rank), "")
        _join(ranks, store)
        part(ranks, *arguments)
        _leave()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is a child of rank 0"
    connection.wait([parent.sentinel])
    os._exit(1)


# --- on both sides ----------------------------------------------------------------------------


def _ready(rank: int) -> str:
    return f"rank {rank} is ready"


def _join(ranks: Ranks, store: TCPStore) -> None:
    device = ranks.device if ranks.device.type == "cuda" else None
    if device is not None:
        torch.cuda.set_device(device)
    dist.init_process_group(
        ranks.backend,
        store=store,
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=TIMEOUT,
        device_id=device,
    )


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process that starts meanwhile never sees a stop signal; this one sees it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _rank_environment(rank: int) -> Iterator[None]:
    """Environment that tells Lightning about the processes, and their number of threads."""
    changes = {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
