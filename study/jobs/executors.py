"""Executors: where jobs compute. The interface for the supervisor, and the table of executors.

An executor only trains; the supervisor prepares the data and commits the results. State that must
survive a restart is in the job (`place`, `pid`, `pid_started`) or in files of the executor. Where
possible, an executor determines outcomes from the run folders, not from the scheduler.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from study.jobs.models import Job, Place
from study.settings import UserError, nearest

# name of the executor -> module and class
EXECUTORS = {
    "local": ("study.jobs.local", "Local"),
    "slurm": ("study.jobs.slurm", "Slurm"),
}


@dataclass(frozen=True)
class Ended:
    """The end of a job's processes. `code` None: unknown. `cause`: message of the executor. `died`:
    killed or lost with its node, so the job is started again.
    """

    code: int | None
    cause: str | None = None
    died: bool = False


@runtime_checkable
class Executor(Protocol):
    def slots(self) -> str:
        """The capacity in words, such as `2 cores`."""
        ...

    def place(self, job: Job, others: Sequence[Job]) -> Place | None:
        """The place where the job may start, given the running jobs `others`; None: it must
        wait."""
        ...

    def start(self, root: Path, job: Job) -> Job:
        """Start `study train` for the job at its place; returns the job with its process id.

        Raises OSError or UserError when it cannot be started.
        """
        ...

    def recover(self, root: Path, job: Job) -> Job:
        """After a restart of the supervisor: the job with a process that was started but not
        stored."""
        ...

    def ended(self, root: Path, job: Job) -> Ended | None:
        """None while the job runs or waits, even if an earlier supervisor started it."""
        ...

    def stop(self, root: Path, job: Job) -> None:
        """Request a checkpoint and the end of the job, later kill it. Called until `ended` returns
        a value."""
        ...

    def note(self, root: Path, job: Job) -> str | None:
        """What a running job waits for, or where it runs; None: unknown."""
        ...


def make(name: str) -> Executor:
    """A new executor. Raises UserError for an unknown name."""
    module, kind = EXECUTORS[check_executor(name)]
    return getattr(importlib.import_module(module), kind)()


def check_ready(root: Path, name: str) -> None:
    """Raise UserError if an executor is unknown or not usable on this machine."""
    module, kind = EXECUTORS[check_executor(name)]
    check = getattr(getattr(importlib.import_module(module), kind), "check", None)
    if check is not None:
        check(root)


def ready(root: Path) -> list[str]:
    """The executors usable on this machine, `local` first."""
    found = []
    for name in EXECUTORS:
        try:
            check_ready(root, name)
        except UserError:
            continue
        found.append(name)
    return found


def check_executor(name: str) -> str:
    if name not in EXECUTORS:
        raise UserError(f"no executor {name!r}{nearest(name, EXECUTORS)}")
    return name


def train_command(job: Job, all_seeds: bool) -> list[str]:
    """The arguments of `study` that train a job: those of dvc.yaml, with additions."""
    seeds = [] if all_seeds else [word for seed in job.seeds for word in ("--seed", str(seed))]
    jobs = ["--jobs", str(job.place.jobs)] if job.place and job.place.jobs else []
    return ["train", "--arm", job.arm, *seeds, *jobs]
