"""Stage `train`: every seed of one arm, side by side on the cores, each found again by its hash.

Design choices
- A run lives in `work/<hash>`, where the hash says what is trained, on which data, by which
  behaviour: a finished seed is never trained again, an unfinished one resumes.
- One process a seed and one thread a process: deterministic, and imports are paid once (fork).
- One lock a run: a second start of the same seed waits for the first and finds it finished.
- At the end the runs are copied to `runs/<arm>`, which DVC caches as one output.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from study import environment
from study.formats.dataset import load_dataset, load_manifest
from study.params import Arm, Reference, Row, UserError, find_row, leaves, load_study, run_hash
from study.runs import RunFolder, write_json
from study.stages.fingerprint import update
from study.stages.progress import Watch
from study.stages.simulate import check_disk

BYTES_PER_RUN = 60_000_000  # weights, checkpoint and diagnostics of one unfinished quick run


@dataclass(frozen=True)
class Job:
    """One run to make: everything its process needs."""

    root: Path
    arm: str
    row: Row
    seed: int
    folder: Path
    origin: dict[str, Any]
    diagnose: bool


def train_arm(
    root: Path, name: str, seeds: Sequence[int] | None = None, diagnose: bool = False
) -> list[RunFolder]:
    """Train (or resume, or find) the seeds of an arm and collect them under runs/<arm>.

    Raises UserError for settings that cannot work, before anything is written, and
    KeyboardInterrupt after a stop, with every checkpoint kept.
    """
    study = load_study(root / "params.yaml")
    row = find_row(study, name)
    chosen = tuple(seeds) if seeds else row.seeds
    unknown = sorted(set(chosen) - set(row.seeds))
    if unknown:
        raise UserError(f"arm {name!r} has no seed {unknown[0]}; its seeds: {list(row.seeds)}")
    check_row(root, row)
    check_disk(root / "work", BYTES_PER_RUN * len(chosen))
    if not (root / "fingerprints" / f"{name}.json").is_file():
        update(study, root / "fingerprints", [name])  # outside the pipeline: no stage made it
    jobs = plan(root, name, row, chosen, diagnose)
    run_all(jobs)
    folders = [RunFolder(job.folder) for job in jobs]
    collect(folders, jobs, root / "runs" / name)
    return folders


def check_row(root: Path, row: Row) -> None:
    """Refuse a row whose network, clip or data set cannot work, before anything is allocated."""
    manifest = load_manifest(root / row.data)
    if isinstance(row, Arm):
        from study.training import check

        check(row, manifest.n, manifest.group_size)


def plan(root: Path, name: str, row: Row, seeds: Sequence[int], diagnose: bool) -> list[Job]:
    """One job a seed, with the hashes it starts from."""
    data_hash = load_manifest(root / row.data).content_sha256
    behaviour = (root / "fingerprints" / f"{name}.json").read_bytes()
    fingerprint = hashlib.sha256(behaviour).hexdigest()
    origin = {"data_sha256": data_hash, "fingerprint": fingerprint, "settings": leaves(row)}
    return [
        Job(
            root=root,
            arm=name,
            row=row,
            seed=seed,
            folder=root / "work" / run_hash(row, seed, data_hash, fingerprint),
            origin=origin,
            diagnose=diagnose,
        )
        for seed in seeds
    ]


def pending(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if not RunFolder(job.folder).settled]


def run_all(jobs: Sequence[Job]) -> None:
    """Run what is pending, as many at once as there are cores, and show the progress."""
    waiting = pending(jobs)
    if not waiting:
        return
    import torch

    torch.set_num_threads(1)
    on_gpu = torch.cuda.is_available()
    # fork keeps the imports; CUDA cannot be forked into, and macOS cannot fork safely.
    method = "fork" if sys.platform == "linux" and not on_gpu else "spawn"
    slots = 1 if on_gpu else environment.cores()
    context: Any = multiprocessing.get_context(method)
    processes: list[Any] = []
    with stop_on_sigterm(), Watch([job.folder for job in waiting], waiting[0].arm) as watch:
        try:
            for job in waiting:
                while sum(p.is_alive() for p in processes) >= slots:
                    watch.update()
                processes.append(context.Process(target=run_one, args=(job,)))
                processes[-1].start()
            while any(p.is_alive() for p in processes):
                watch.update()
        except KeyboardInterrupt:
            stop(processes)
            raise
    broken = [job for job, p in zip(waiting, processes, strict=True) if p.exitcode]
    if broken:
        causes = "; ".join(
            f"seed {job.seed}: {RunFolder(job.folder).status().get('cause')}" for job in broken
        )
        raise UserError(f"arm {broken[0].arm!r} did not finish ({causes}); run again to resume")


@contextlib.contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """SIGTERM stops like Ctrl-C: checkpoints are written and the exit code says so."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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


def run_one(job: Job) -> None:
    """The body of one process: lock the run, train or compute it, exit 0 when it is settled."""
    import torch

    torch.set_num_threads(1)
    run = RunFolder(job.folder)
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{job.folder}.lock"):
            if not run.settled:
                compute(job, run)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except UserError as error:
        run.finish("stopped", cause=str(error))
        raise SystemExit(2) from None
    except Exception as error:
        run.finish("stopped", cause=repr(error))
        raise


def compute(job: Job, run: RunFolder) -> None:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    write_json(run.path / "environment.json", environment.describe(job.root, device))
    run.start(job.arm, job.seed, getattr(job.row, "epochs", 0), job.origin)
    dataset = load_dataset(job.root / job.row.data)
    if isinstance(job.row, Reference):
        from study.iterative.references import run as run_reference

        run_reference(job.row, dataset, run)
    else:
        from study.training.fit import fit

        fit(job.row, dataset, job.seed, run, diagnose=job.diagnose)


LIVE_ONLY = ("checkpoint.pt", "*.tmp")


def collect(folders: Sequence[RunFolder], jobs: Sequence[Job], out: Path) -> None:
    """Copy the settled runs to runs/<arm>, whole: built beside it, then renamed."""
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    for folder, job in zip(folders, jobs, strict=True):
        target = building / f"s{job.seed}"
        shutil.copytree(folder.path, target, ignore=shutil.ignore_patterns(*LIVE_ONLY))
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
