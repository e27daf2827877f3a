"""Where jobs compute: the interface that the supervisor needs, and its implementations.

An executor trains and nothing else: data before, and commits after, are the supervisor's. What it
must remember over a restart is in the job (`place`, `pid`, `pid_started`) or in its own files.
It tells the truth from the run folders where it can, not from what a scheduler believes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from study.jobs.models import Job, Place
from study.settings import UserError, nearest

# One line per executor: name, module, class.
EXECUTORS = {
    "local": ("study.jobs.local", "Local"),
    "slurm": ("study.jobs.slurm", "Slurm"),
}


@dataclass(frozen=True)
class Ended:
    """A job's processes are gone. `code` None: unknown. `cause`: the message of the executor.

    `died`: it did not end by itself (killed, node lost): it is started again.
    """

    code: int | None
    cause: str | None = None
    died: bool = False


@runtime_checkable
class Executor(Protocol):
    def slots(self) -> str:
        """Its capacity in words: `2 cores`."""
        ...

    def place(self, job: Job, others: Sequence[Job]) -> Place | None:
        """Where the job may start, given the running jobs `others` of this executor."""
        ...

    def start(self, root: Path, job: Job) -> Job:
        """Start `study train` for the job at its place; the job with what finds it again.

        Raises OSError or UserError when it cannot be started.
        """
        ...

    def recover(self, root: Path, job: Job) -> Job:
        """After a restart of the supervisor: the job with what was started but not written down."""
        ...

    def ended(self, root: Path, job: Job) -> Ended | None:
        """None while the job runs or waits, also under an earlier supervisor."""
        ...

    def stop(self, root: Path, job: Job) -> None:
        """Ask the job to checkpoint and end, later kill it. Called until `ended` returns."""
        ...

    def note(self, root: Path, job: Job) -> str | None:
        """What a running job waits for, or where it is; None: unknown."""
        ...


def make(name: str) -> Executor:
    """A new executor. Raises UserError for an unknown name."""
    module, kind = EXECUTORS[check_executor(name)]
    return getattr(importlib.import_module(module), kind)()


def check_ready(root: Path, name: str) -> None:
    """Raise UserError when an executor is unknown or cannot work here."""
    module, kind = EXECUTORS[check_executor(name)]
    check = getattr(getattr(importlib.import_module(module), kind), "check", None)
    if check is not None:
        check(root)


def ready(root: Path) -> list[str]:
    """The executors that can work here, `local` first."""
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
    """The arguments of `study` that train a job: those of dvc.yaml, with the differences."""
    seeds = [] if all_seeds else [word for seed in job.seeds for word in ("--seed", str(seed))]
    jobs = ["--jobs", str(job.place.jobs)] if job.place and job.place.jobs else []
    return ["train", "--arm", job.arm, *seeds, *jobs]
