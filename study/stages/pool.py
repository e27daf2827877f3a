"""The processes of stage `train`: one a run, one thread each, as many at once as there are places.

Imports are paid once where processes can be forked. A run is locked while it trains: a second start
of the same one waits, and finds it settled.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.formats.dataset import load_dataset, memory_share
from study.runs import RunFolder, environment, read_json, write_json
from study.runs.collect import settled_run
from study.runs.links import lock_at
from study.runs.seed_folders import seed_folder
from study.settings import Arm, Reference, Row, UserError
from study.stages.progress import Watch
from study.stages.slots import see_only
from study.terminal import describe

STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class SeedRun:
    """One run to make: everything its process needs."""

    root: Path
    arm: str
    row: Row
    seed: int
    folder: Path
    origin: dict[str, Any]
    diagnose: bool
    devices: int

    @property
    def epochs(self) -> int:
        """0 of a row that is not a network."""
        return self.row.epochs if isinstance(self.row, Arm) else 0

    def settled(self) -> RunFolder | None:
        collected = self.root / "runs" / self.arm / f"s{self.seed}"
        return settled_run(self.folder, collected, self.origin)


def run_all(jobs: Sequence[SeedRun], places: Sequence[int | None]) -> None:
    """Run the jobs, one in each place (`slots`) at a time, and show the progress.

    Raises UserError that names every run which did not end well, KeyboardInterrupt after a stop.
    """
    if not jobs:
        return
    import torch

    if any(isinstance(job.row, Arm) for job in jobs):
        import study.training.fit  # noqa: F401  (imported once, before the processes part)

    torch.set_num_threads(1)
    # fork keeps the imports; CUDA cannot be forked into, and macOS cannot fork safely.
    method = "fork" if sys.platform == "linux" and not torch.cuda.is_available() else "spawn"
    limit = memory_share(min(len(places), len(jobs)) * jobs[0].devices)
    context: Any = multiprocessing.get_context(method)
    busy: dict[int, tuple[SeedRun, Any]] = {}
    ended: list[tuple[SeedRun, int | None]] = []
    arms = list(dict.fromkeys(job.arm for job in jobs))
    what = arms[0] if len(arms) == 1 else f"{len(arms)} arms"
    with stop_on_signals(), Watch({job.folder: job.epochs for job in jobs}, what) as watch:
        try:
            for job in jobs:
                while len(busy) == len(places):
                    watch.update()
                    reap(busy, ended)
                place = next(i for i in range(len(places)) if i not in busy)
                process = context.Process(target=run_one, args=(job, places[place], limit))
                with signals_wait():  # a stop meets a child that is whole, or none
                    process.start()
                    busy[place] = job, process
            while busy:
                watch.update()
                reap(busy, ended)
        except BaseException:
            stop([process for _, process in busy.values()])
            raise
    report_broken(ended)


def reap(busy: dict[int, tuple[SeedRun, Any]], ended: list[tuple[SeedRun, int | None]]) -> None:
    """Move the runs whose process is over from their places to `ended`, with exit codes."""
    for place, (job, process) in list(busy.items()):
        if not process.is_alive():
            del busy[place]
            process.join()
            if process.exitcode:
                record_death(job, process.pid, process.exitcode)
            ended.append((job, process.exitcode))
            process.close()


def record_death(job: SeedRun, pid: int, code: int) -> None:
    """Write into the run folder how its process ended, if the process could not do that itself."""
    run = RunFolder(job.folder)
    status = run.status()
    unannounced = status.get("state") is None
    if unannounced or (status.get("state") == "running" and status.get("pid") == pid):
        with contextlib.suppress(OSError):  # a full disk: `report_broken` still names it
            run.finish("stopped", cause=how_ended(code), arm=job.arm, seed=job.seed)


def how_ended(code: int) -> str:
    how = f"killed by signal {-code} (out of memory?)" if code < 0 else f"exit code {code}"
    return f"its process ended: {how}"


def report_broken(ended: Sequence[tuple[SeedRun, int | None]]) -> None:
    """Raise UserError that names every seed whose process did not end well."""
    causes: dict[str, list[str]] = {}
    for job, code in ended:
        if code:
            cause = RunFolder(job.folder).status().get("cause") or how_ended(code)
            causes.setdefault(job.arm, []).append(f"seed {job.seed}: {cause}")
    if causes:
        message = (
            f"arm {arm!r} did not finish ({'; '.join(text)})" for arm, text in causes.items()
        )
        raise UserError(f"{'; '.join(message)}; run again to resume")


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """SIGTERM stops like Ctrl-C: checkpoints are written and the exit code says so.

    SIGINT too is set here: a shell starts background jobs with it ignored, and then the seeds would
    stop while this process waits for them.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in STOPS]
    try:
        yield
    finally:
        for number, handler in zip(STOPS, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Hold stops back while the body runs; a child that is started in it holds them back too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def stop(processes: Sequence[Any]) -> None:
    """Ask every child to checkpoint and end; kill what has not after 20 s."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + 20
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def run_one(job: SeedRun, gpu: int | None, limit_bytes: float) -> None:
    """The body of one process: lock the run, train or compute it, exit 0 when it is settled.

    `limit_bytes`: what a split may take in memory, see `load_dataset`.
    """
    see_only(gpu)
    import torch

    from study.training import process

    process.settle()
    run = RunFolder(job.folder)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # see signals_wait
        with lock_at(Path(f"{job.folder}.lock")):
            if not run.settled:
                sweep(run.path)
                compute(job, run, limit_bytes)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (MemoryError, torch.OutOfMemoryError) as error:
        # A result: the published failure rates count it.
        lines = str(error).splitlines() or [type(error).__name__]
        run.finish("failed", cause=f"out of memory: {lines[0]}")
    except (UserError, OSError) as error:
        cause = describe(error) if isinstance(error, OSError) else str(error)
        with contextlib.suppress(OSError, UserError):  # the disk may take nothing more
            run.finish("stopped", cause=cause)
        if isinstance(error, OSError):  # the caller can then only say that this process ended
            sys.stderr.write(f"study: {cause}\n")
        raise SystemExit(2) from None
    except Exception as error:
        run.finish("stopped", cause=repr(error))
        raise


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left half-written; the lock of the run is held."""
    for left in folder.rglob(".*.tmp"):
        left.unlink(missing_ok=True)


def compute(job: SeedRun, run: RunFolder, limit_bytes: float) -> None:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    record_environment(run, environment.describe(job.root, device))
    run.start(job.arm, job.seed, job.epochs, job.origin)
    folder = seed_folder(job.root / job.row.data, job.seed)
    dataset = load_dataset(folder, limit_bytes=limit_bytes)
    if isinstance(job.row, Reference):
        from study.iterative.references import run as run_reference

        run_reference(job.row, dataset, run)
    else:
        from study.training.fit import fit

        fit(job.row, dataset, job.seed, run, diagnose=job.diagnose, devices=job.devices)


def record_environment(run: RunFolder, now: dict[str, Any]) -> None:
    """environment.json of the first start; a resumed run is as dirty as its dirtiest start."""
    file = run.path / "environment.json"
    first = read_json(file)
    if first is None:
        write_json(file, now)
        return
    run.event("started again", commit=now["commit"], dirty=now["dirty"])
    mixed = bool(first["dirty"] or now["dirty"] or first["commit"] != now["commit"])
    write_json(file, {**first, "dirty": mixed if first["dirty"] is not None else None})
