"""Stage `train`: every seed of one arm, side by side on the cores, each found again by its hash.

Design choices
- A run lives in `work/<hash>`, where the hash says what is trained, on which data, by which
  behaviour: a finished seed is never trained again, an unfinished one resumes (`collect.py`).
- One process a seed and one thread a process: deterministic, and imports are paid once (fork). A
  GPU takes several (`slots.py`).
- One lock a run: a second start of the same seed waits for the first and finds it finished.
- At the end the runs are copied to `runs/<arm>`, which DVC caches as one output.
- On a cluster the head prepares and collects, and the jobs only train: they would race.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from study import environment
from study.formats.dataset import check_request, load_dataset, load_manifest, memory_share
from study.params import (
    Arm,
    Reference,
    Row,
    Study,
    UserError,
    find_row,
    leaves,
    load_study,
    run_hash,
)
from study.runs import RunFolder, read_json, write_json
from study.stages.collect import collect, settled_run
from study.stages.fingerprint import update
from study.stages.progress import Watch
from study.stages.simulate import check_disk
from study.stages.slots import see_only, slots

Part = Literal["prepare", "train", "collect"]
NEED_TRUTH = ("supervised", "oracle")
BYTES_PER_PIXEL = 8  # of a pattern on the device: amplitude, and counts for some losses
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
    devices: int

    def settled(self) -> RunFolder | None:
        collected = self.root / "runs" / self.arm / f"s{self.seed}"
        return settled_run(self.folder, collected, self.origin)


def train_arm(
    root: Path,
    name: str,
    seeds: Sequence[int] | None = None,
    diagnose: bool = False,
    devices: int = 1,
    at_once: int | None = None,
    only: Part | None = None,
) -> list[RunFolder]:
    """Train (or resume, or find) seeds of an arm and collect all that are settled in runs/<arm>.

    `seeds` None means all. Every run uses `devices` GPUs, or cores where there is no GPU; `at_once`
    None means as many runs as the machine holds. `only` does one part, for runs of one arm on
    several machines: `prepare` checks and takes the fingerprint, `train` writes work/ alone,
    `collect` trains nothing.

    Raises UserError for settings that cannot work, before anything is written, and
    KeyboardInterrupt after a stop, with every checkpoint kept.
    """
    study = load_study(root / "params.yaml")
    row = find_row(study, name)
    chosen = tuple(seeds) if seeds else row.seeds
    unknown = sorted(set(chosen) - set(row.seeds))
    if unknown:
        raise UserError(f"arm {name!r} has no seed {unknown[0]}; its seeds: {list(row.seeds)}")
    check_row(root, study, row, devices)
    check_disk(root / "work", BYTES_PER_RUN * len(chosen))
    places = slots(run_bytes(root, row), devices, at_once)
    if only in (None, "prepare") and "DVC_STAGE" not in os.environ:
        # By hand: no stage has just looked whether the code still behaves as it did.
        update(study, root / "fingerprints", [name])
    jobs = plan(root, name, row, diagnose, devices)
    if only in (None, "train"):
        run_all([job for job in jobs if job.seed in chosen and not job.settled()], places)
    found = {job.seed: run for job in jobs if (run := job.settled()) is not None}
    if only == "collect":
        refuse_unsettled(name, sorted(set(chosen) - set(found)))
    if only in (None, "collect"):
        collect(found.items(), root / "runs" / name)
    return [run for seed, run in found.items() if seed in chosen]


def refuse_unsettled(name: str, seeds: Sequence[int]) -> None:
    """Raise UserError when runs that were to be collected are not there."""
    if seeds:
        listed = ", ".join(map(str, seeds))
        raise UserError(
            f"seeds {listed} of {name} are not settled for the settings, data and code that hold "
            "now: stale, run again"
        )


def check_row(root: Path, study: Study, row: Row, devices: int) -> None:
    """Refuse a row whose network, clip, data set or devices cannot work; nothing is written yet."""
    manifest = load_manifest(root / row.data)
    room, _, name = row.data.partition("/")
    if room == "data":
        check_request(manifest, study.data[name])
    needs_truth = (row.loss if isinstance(row, Arm) else row.source).name in NEED_TRUTH
    if needs_truth and manifest.kind == "imported":
        raise UserError(
            f"{row.data} was measured and holds no true object, which "
            f"{' and '.join(NEED_TRUTH)} need; choose another loss or source"
        )
    if isinstance(row, Arm):
        from study.training import check
        from study.training.precision import check_precision

        check(row, manifest.n, manifest.group_size, devices)
        check_precision(row.precision)
    elif devices > 1:
        raise UserError(
            f"--devices is {devices}, but a row with the source {row.source.name!r} is no network "
            "and takes one core; leave --devices out"
        )


def plan(root: Path, name: str, row: Row, diagnose: bool, devices: int) -> list[Job]:
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
            devices=devices,
        )
        for seed in row.seeds
    ]


def run_bytes(root: Path, row: Row) -> int:
    """Memory that one run of a row trains in; a row without a network counts as nothing."""
    if not isinstance(row, Arm):
        return 0
    from study.generators import size

    manifest = load_manifest(root / row.data)
    network = size(row.generator, manifest.n, manifest.group_size)
    patterns = manifest.patterns["train"] + manifest.patterns["validation"]
    data = patterns * manifest.group_size * manifest.n**2 * BYTES_PER_PIXEL
    return network.training_bytes(row.batch_size) + data


def run_all(jobs: Sequence[Job], places: Sequence[int | None]) -> None:
    """Run the jobs, one in each place (`slots`) at a time, and show the progress."""
    if not jobs:
        return
    import torch

    if isinstance(jobs[0].row, Arm):
        import study.training.fit  # noqa: F401  (imported once, before the processes part)

    torch.set_num_threads(1)
    # fork keeps the imports; CUDA cannot be forked into, and macOS cannot fork safely.
    method = "fork" if sys.platform == "linux" and not torch.cuda.is_available() else "spawn"
    limit = memory_share(min(len(places), len(jobs)) * jobs[0].devices)
    context: Any = multiprocessing.get_context(method)
    processes: list[Any] = []
    taken: dict[int, Any] = {}
    with stop_on_signals(), Watch([job.folder for job in jobs], jobs[0].arm) as watch:
        try:
            for job in jobs:
                while (place := free_place(taken, len(places))) is None:
                    watch.update()
                taken[place] = context.Process(target=run_one, args=(job, places[place], limit))
                processes.append(taken[place])
                taken[place].start()
            while any(p.is_alive() for p in processes):
                watch.update()
        except KeyboardInterrupt:
            stop(processes)
            raise
    report_broken([(job, p.exitcode) for job, p in zip(jobs, processes, strict=True)])


def free_place(taken: Mapping[int, Any], places: int) -> int | None:
    """A place without a living process."""
    free = (i for i in range(places) if i not in taken or not taken[i].is_alive())
    return next(free, None)


def report_broken(ended: Sequence[tuple[Job, int | None]]) -> None:
    """Raise UserError that names every seed whose process did not end well."""
    causes = []
    for job, code in ended:
        if code:
            how = f"killed by signal {-code} (out of memory?)" if code < 0 else f"exit code {code}"
            cause = RunFolder(job.folder).status().get("cause") or f"its process ended: {how}"
            causes.append(f"seed {job.seed}: {cause}")
    if causes:
        raise UserError(
            f"arm {ended[0][0].arm!r} did not finish ({'; '.join(causes)}); run again to resume"
        )


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """SIGTERM stops like Ctrl-C: checkpoints are written and the exit code says so.

    SIGINT too is set here: a shell starts background jobs with it ignored, and then the seeds would
    stop while this process waits for them.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


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


def run_one(job: Job, gpu: int | None, limit_bytes: float) -> None:
    """The body of one process: lock the run, train or compute it, exit 0 when it is settled.

    `limit_bytes`: what a split may take in memory, see `load_dataset`.
    """
    see_only(gpu)
    import torch

    from study.training import process

    process.settle()
    run = RunFolder(job.folder)
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{job.folder}.lock"):
            if not run.settled:
                compute(job, run, limit_bytes)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (MemoryError, torch.OutOfMemoryError) as error:
        # A result: the published failure rates count it.
        run.finish("failed", cause=f"out of memory: {str(error).splitlines()[0]}")
    except UserError as error:
        run.finish("stopped", cause=str(error))
        raise SystemExit(2) from None
    except Exception as error:
        run.finish("stopped", cause=repr(error))
        raise


def compute(job: Job, run: RunFolder, limit_bytes: float) -> None:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    record_environment(run, environment.describe(job.root, device))
    run.start(job.arm, job.seed, getattr(job.row, "epochs", 0), job.origin)
    dataset = load_dataset(job.root / job.row.data, limit_bytes=limit_bytes)
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
    run.event("resumed", commit=now["commit"], dirty=now["dirty"])
    mixed = bool(first["dirty"] or now["dirty"] or first["commit"] != now["commit"])
    write_json(file, {**first, "dirty": mixed if first["dirty"] is not None else None})
