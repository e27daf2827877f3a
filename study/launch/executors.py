"""Where jobs compute: the few questions that the supervisor asks, and who answers them.

An executor trains and nothing else: data before, and commits after, are the supervisor's. What it
must remember over a restart stands in the job (`place`, `pid`, `pid_started`) or in its own files.
It tells the truth from the run folders where it can, not from what a scheduler believes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from study.launch.models import Job, Place
from study.params import UserError, nearest

# One line an executor: its name, the module that holds it, its class.
EXECUTORS = {
    "local": ("study.launch.local", "Local"),
    "slurm": ("study.launch.slurm", "Slurm"),
}


@dataclass(frozen=True)
class Ended:
    """A job's processes are gone. `code` None: nobody saw how. `cause`: the executor's own words.

    `died`: it did not end by itself (killed, node lost): it is started again.
    """

    code: int | None
    cause: str | None = None
    died: bool = False


@runtime_checkable
class Executor(Protocol):
    def slots(self) -> str:
        """What it has room for, in words: `2 cores`."""
        ...

    def place(self, job: Job, others: Sequence[Job]) -> Place | None:
        """Where the job may start beside `others`, those of this executor that hold a place."""
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
        """None while anything of the job is left or waits; it must know jobs of its forerunner."""
        ...

    def stop(self, root: Path, job: Job) -> None:
        """Ask the job to checkpoint and end, later force it. Called until `ended` says it did."""
        ...

    def note(self, root: Path, job: Job) -> str | None:
        """What a job that has not ended waits for, or where it is; None: nothing to say."""
        ...


def make(name: str) -> Executor:
    """A new executor. Raises UserError for an unknown name."""
    module, kind = EXECUTORS[check_executor(name)]
    return getattr(importlib.import_module(module), kind)()


def check_ready(root: Path, name: str) -> None:
    """Raise UserError when an executor is unknown or cannot work here, before anything is asked."""
    module, kind = EXECUTORS[check_executor(name)]
    check = getattr(getattr(importlib.import_module(module), kind), "check", None)
    if check is not None:
        check(root)


def check_executor(name: str) -> str:
    if name not in EXECUTORS:
        raise UserError(f"no executor {name!r}{nearest(name, EXECUTORS)}")
    return name


def train_command(job: Job, all_seeds: bool) -> list[str]:
    """The words after `study` that train a job: those of dvc.yaml, with what differs from them."""
    seeds = [] if all_seeds else [word for seed in job.seeds for word in ("--seed", str(seed))]
    jobs = ["--jobs", str(job.place.jobs)] if job.place and job.place.jobs else []
    return ["train", "--arm", job.arm, *seeds, *jobs]
