"""Several seeds of one arm at once on one GPU: processes, one batched network, or streams?

    python -m bench.gpu_seeds --out gpu-results [--precision tf32] [--mps]

    alone       one process, one seed: what `study train` does on a GPU today, one after another
    processes   a process a seed, each with its own graph; the card takes turns between them, or,
                under NVIDIA's MPS, works for all of them side by side
    batched     one network with stacked weights (`bench.batched`), one graph
    streams     one process, a graph a seed, each recorded and replayed on its own stream

A rate is steps of all seeds together in a second. Before they are timed the batched network and
the graphs on streams are held against the single step. On a CPU the first three run too
(`--device cpu`), which shows that they work and says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from threading import BrokenBarrierError
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.batched import SeedsStep, joined
from bench.clock import now
from bench.loop import check_recorded
from bench.subject import TOLERANCE, Subject, endless, full, relative
from study.runs import write_json
from study.training import process
from study.training.data import Batch
from study.training.graph import WARM_UP, GraphedStep
from study.training.setup import Run

MPS = "nvidia-cuda-mps-control"
MEETING_S = 300  # for the slowest process to be ready
CHECKED_STEPS = 3
SIDE_BY_SIDE_STEPS = 20


@dataclass(frozen=True)
class Rate:
    """Steps a second of all seeds together; `why` instead of a number where none was taken."""

    way: str
    seeds: int
    total: float | None
    why: str | None = None

    def record(self) -> dict[str, Any]:
        per_seed = None if self.total is None else self.total / self.seeds
        return {**asdict(self), "per_seed": per_seed}


# --- processes --------------------------------------------------------------------------------

_meeting: Any = None


def _meet(barrier: Any) -> None:
    global _meeting
    _meeting = barrier


def _train(subject: Subject, seed: int, steps: int, kind: str) -> tuple[float, float]:
    """Begin and end of `steps` steps on the clock that all processes share."""
    device = torch.device(kind)
    try:
        step = _ready(subject, seed, device)
    except BaseException:
        _meeting.abort()  # the others need not wait for this one
        raise
    _meeting.wait(MEETING_S)
    begin = time.monotonic()
    for _ in range(steps):
        step()
    now(device)
    return begin, time.monotonic()


def _ready(subject: Subject, seed: int, device: torch.device) -> Callable[[], object]:
    """The step of one seed, recorded."""
    process.settle()
    run = subject.run(seed, device)
    order = endless(run)
    for _ in range(WARM_UP + 2):
        run.module.advance(next(order))
    check_recorded(run)
    now(device)
    return lambda: run.module.advance(next(order))


def processes(subject: Subject, seeds: int, steps: int, device: torch.device) -> Rate:
    """A process a seed; timed from the first step of the first to the last of the last."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(seeds)
    with ProcessPoolExecutor(seeds, context, initializer=_meet, initargs=(barrier,)) as pool:
        jobs = [pool.submit(_train, subject, seed, steps, device.type) for seed in range(seeds)]
        wait(jobs)
    for job in jobs:  # the cause first, then those that waited for it in vain
        if job.exception() is not None and not isinstance(job.exception(), BrokenBarrierError):
            job.result()
    spans = [job.result() for job in jobs]
    taken = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return Rate("processes" if seeds > 1 else "alone", seeds, seeds * steps / taken)


# --- in one process ---------------------------------------------------------------------------


def fresh(way: Callable[..., Rate], *given: Any) -> Rate:
    """A measurement in a process that nothing else has used; its failure is a reason."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(way, *given).result()
        except (RuntimeError, ValueError) as error:  # out of memory; nothing for this arm
            return Rate(way.__name__, given[1], None, str(error).splitlines()[0])


def batched(subject: Subject, seeds: int, steps: int, device: torch.device) -> Rate:
    """One network of all seeds, by a graph where there are graphs."""
    process.settle()
    subject.check(batched_difference(subject.calm(), seeds, device), "batched against single step")
    runs = [subject.run(seed, device) for seed in range(seeds)]
    advance = GraphedStep(SeedsStep(runs), seeds * subject.arm.batch_size)
    order = _joined_batches([endless(run) for run in runs])
    rate = _rate("batched", seeds, steps, device, lambda: advance(next(order)))
    if device.type == "cuda" and advance.why_eager is not None:
        raise RuntimeError(advance.why_eager)
    return rate


def batched_difference(subject: Subject, seeds: int, device: torch.device) -> float:
    """Largest relative difference of what the batched and the single steps record."""
    single = [subject.run(seed, device) for seed in range(seeds)]
    together = SeedsStep([subject.run(seed, device) for seed in range(seeds)])
    orders, worst = [endless(run) for run in single], 0.0
    for _ in range(CHECKED_STEPS):
        batches = [next(order) for order in orders]
        pairs = zip(single, batches, strict=True)
        expected = torch.stack([run.module.step(batch) for run, batch in pairs])
        worst = max(worst, relative(together(joined(batches)), expected))
    return worst


def _joined_batches(orders: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
    while True:
        yield joined([next(order) for order in orders])


def streams(subject: Subject, seeds: int, steps: int, device: torch.device) -> Rate:
    """A graph a seed, each on its own stream; the host starts one after the other."""
    if device.type != "cuda":
        return Rate("streams", seeds, None, f"streams are CUDA's; the device is {device.type}")
    torch.set_num_threads(1)
    subject.check(streams_difference(subject.calm(), seeds, device), "streams against single step")
    runs = [subject.run(seed, device) for seed in range(seeds)]
    rate = _rate("streams", seeds, steps, device, side_by_side(runs, device))
    for run in runs:
        check_recorded(run)
    return rate


def side_by_side(runs: Sequence[Run], device: torch.device) -> Callable[[], list[torch.Tensor]]:
    """A step of every run, each on a stream of its own where there are streams."""
    on_gpu = device.type == "cuda"
    places: list[Callable[[], Any]] = [
        partial(torch.cuda.stream, torch.cuda.Stream()) if on_gpu else contextlib.nullcontext
        for _ in runs
    ]
    members = [
        (run.module.advance, endless(run), place) for run, place in zip(runs, places, strict=True)
    ]
    now(device)

    def turn() -> list[torch.Tensor]:
        records = []
        for advance, order, place in members:
            with place():
                records.append(advance(next(order)))
        return records

    return turn


def streams_difference(subject: Subject, seeds: int, device: torch.device) -> float:
    """The same for graphs that run side by side, with nothing that waits between their steps."""
    single, together = ([subject.run(seed, device) for seed in range(seeds)] for _ in range(2))
    turn = side_by_side(together, device)
    found = [turn() for _ in range(SIDE_BY_SIDE_STEPS)]
    now(device)
    orders = [endless(run) for run in single]
    pairs = list(zip(single, orders, strict=True))
    expected = [[run.module.step(next(order)) for run, order in pairs] for _ in found]
    return max(
        relative(torch.stack(ours), torch.stack(theirs))
        for ours, theirs in zip(found, expected, strict=True)
    )


def _rate(
    way: str, seeds: int, steps: int, device: torch.device, turn: Callable[[], object]
) -> Rate:
    """Median over five rounds of `turn`, in which every seed takes a step."""
    for _ in range(WARM_UP + 2):
        turn()
    rounds, each = 5, max(1, steps // 5)
    taken = []
    for _ in range(rounds):
        start = now(device)
        for _ in range(each):
            turn()
        taken.append(now(device) - start)
    return Rate(way, seeds, seeds * each / median(taken))


# --- all of them ------------------------------------------------------------------------------


def compare(subject: Subject, seeds: Sequence[int], steps: int, device: torch.device) -> list[Rate]:
    """Every way with every number of seeds, in turns."""
    rates = [processes(subject, 1, steps, device)]
    for count in seeds:
        rates.append(processes(subject, count, steps, device))
        rates.append(fresh(batched, subject, count, steps, device))
        rates.append(fresh(streams, subject, count, steps, device))
    return rates


@contextlib.contextmanager
def mps() -> Iterator[None]:
    """NVIDIA's multi-process service for the processes that start meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        os.environ.update(dict.fromkeys(names, folder))
        subprocess.run([MPS, "-d"], check=True)
        try:
            yield
        finally:
            subprocess.run([MPS], input="quit\n", text=True, check=False)
            for name in names:
                del os.environ[name]


def with_mps(
    subject: Subject, seeds: Sequence[int], steps: int, device: torch.device
) -> list[Rate]:
    with mps():
        found = [processes(subject, count, steps, device) for count in seeds]
    return [Rate("processes, MPS", rate.seeds, rate.total) for rate in found]


def show(rates: Sequence[Rate]) -> None:
    alone = next(rate.total for rate in rates if rate.way == "alone")
    table = Table("way", "seeds", "steps/s in all", "steps/s a seed", "against one after another")
    for rate in rates:
        if rate.total is None or alone is None:
            table.add_row(rate.way, str(rate.seeds), rate.why, "", "")
            continue
        numbers = (f"{rate.total:.0f}", f"{rate.total / rate.seeds:.0f}")
        table.add_row(rate.way, str(rate.seeds), *numbers, f"{rate.total / alone:.2f} x")
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Several seeds of one arm at once.")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for gpu_seeds_PRECISION.json"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4, 5, 6])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--object-px", type=int, default=156, help="36 whole batches of 16")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--precision", choices=tuple(TOLERANCE), default="fp32")
    parser.add_argument("--mps", action="store_true", help=f"start {MPS}, and measure with it too")
    asked = parser.parse_args()
    facts: dict[str, Any] = {
        "device": asked.device,
        "precision": asked.precision,
        "mps_installed": shutil.which(MPS) is not None,
    }
    file = asked.out / f"gpu_seeds_{asked.precision}.json"
    if asked.device == "cuda" and not torch.cuda.is_available():
        write_json(file, {**facts, "rates": None, "why": "no CUDA device"})
        print("gpu_seeds: no CUDA device")
        return
    subject = full(asked.object_px, asked.width).but(precision=asked.precision)
    given = (subject, asked.seeds, asked.steps, torch.device(asked.device))
    rates = compare(*given) + (with_mps(*given) if asked.mps else [])
    records = [rate.record() for rate in rates]
    write_json(file, {**facts, "steps": asked.steps, "rates": records})
    show(rates)
    if facts["mps_installed"] and not asked.mps:
        print(f"{MPS} is installed: --mps measures the processes under it")


if __name__ == "__main__":
    main()
