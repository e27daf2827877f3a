"""The processes of stage `train`: one per run with one thread each, limited by the number of slots.

Where processes can be forked, modules are imported only once. A run is locked while it trains: a
second process for the same run waits and then finds it settled.
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
from study.reading import read_mapping
from study.runs import RunFolder, environment, write_json
from study.runs.collect import settled_run
from study.runs.links import lock_at
from study.runs.provenance import read_environment
from study.runs.seed_folders import seed_folder
from study.settings import Arm, Reference, Row, UserError
from study.stages.progress import Watch
from study.stages.slots import see_only
from study.terminal import describe

STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class SeedRun:
    """One run to compute, with everything that its process needs.

    `folder`: its folder in work/; `origin`: hashes and settings from which it starts; `diagnose`:
    write diagnostics; `devices`: GPUs (or cores) that it uses.
    """

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
        """Epochs of a network; 0 for other rows."""
        return self.row.epochs if isinstance(self.row, Arm) else 0

    def settled(self) -> RunFolder | None:
        """The finished run, in work/ or collected, or None."""
        collected = self.root / "runs" / self.arm / f"s{self.seed}"
        return settled_run(self.folder, collected, self.origin)


def run_all(jobs: Sequence[SeedRun], places: Sequence[int | None]) -> None:
    """Run the jobs, one per slot at a time, and show the progress.

    `places`: GPU (or None) of each slot (`study.stages.slots`). Raises UserError naming all runs
    whose process failed, and KeyboardInterrupt after a stop.
    """
    if not jobs:
        return
    import torch

    if any(isinstance(job.row, Arm) for job in jobs):
        import study.training.fit  # noqa: F401  (imported once, before the processes fork)

    torch.set_num_threads(1)
    # fork keeps the imports, but does not work with CUDA and is unsafe on macOS.
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
                with signals_wait():  # a stop must not arrive while a child is being started
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
    """Move runs whose process has ended from `busy` to `ended`, with their exit codes."""
    for place, (job, process) in list(busy.items()):
        if not process.is_alive():
            del busy[place]
            process.join()
            if process.exitcode:
                record_death(job, process.pid, process.exitcode)
            ended.append((job, process.exitcode))
            process.close()


def record_death(job: SeedRun, pid: int, code: int) -> None:
    """Record in the run folder how its process ended, if the process did not do so itself."""
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
    """Raise UserError naming all seeds whose process failed, with the causes."""
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
    """Handle SIGTERM like Ctrl-C: checkpoints are written, and the exit code shows the stop.

    SIGINT is also set here, because shells start background jobs with SIGINT ignored.
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
    """Block stop signals while the body runs; a child started in it inherits the block."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def stop(processes: Sequence[Any]) -> None:
    """Ask all children to write a checkpoint and end; kill those still running after 20 s."""
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
    """The body of a process: lock the run, train or compute it, and exit with 0 if it is settled.

    `limit_bytes`: largest size of a split in memory, see `load_dataset`.
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
        # This is a result, which counts in the failure rates.
        lines = str(error).splitlines() or [type(error).__name__]
        run.finish("failed", cause=f"out of memory: {lines[0]}")
    except (UserError, OSError) as error:
        cause = describe(error) if isinstance(error, OSError) else str(error)
        with contextlib.suppress(OSError, UserError):  # the disk may be full
            run.finish("stopped", cause=cause)
        if isinstance(error, OSError):  # the caller may be unable to read the cause
            sys.stderr.write(f"study: {cause}\n")
        raise SystemExit(2) from None
    except Exception as error:
        run.finish("stopped", cause=repr(error))
        raise


def sweep(folder: Path) -> None:
    """Remove incomplete files of killed processes; the caller holds the lock of the run."""
    for left in folder.rglob(".*.tmp"):
        left.unlink(missing_ok=True)


def compute(job: SeedRun, run: RunFolder, limit_bytes: float) -> None:
    """Train the network or compute the reference of a run in its folder."""
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
    """Write environment.json at the first start.

    When a run is resumed, it is marked dirty if any of its starts was dirty or if the commit
    changed. Raises UserError for a damaged file.
    """
    file = run.path / "environment.json"
    first = read_environment(file)
    if first is None:
        write_json(file, now)
        return
    run.event("started again", commit=now["commit"], dirty=now["dirty"])
    mixed = bool(first.dirty or now["dirty"] or first.commit != now["commit"])
    content = read_mapping(file) or {}
    write_json(file, {**content, "dirty": mixed if first.dirty is not None else None})
