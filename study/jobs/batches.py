"""Which array task trains which seed of which job, stored before and after `sbatch`.

    work/slurm/batches/<name>.json     one array; <name> is its name in Slurm too

The tasks of a killed supervisor continue; the next supervisor finds them by these files. An array
whose ids were never written is cancelled by its name.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from study.jobs import scontrol
from study.jobs.models import Job
from study.runs import RunFolder, read_json, write_json
from study.settings import Model


class Task(Model):
    """One submitted seed. `folder`: its run in work/; `id`: in Slurm, None before `sbatch`."""

    job: str
    attempt: int
    arm: str
    seed: int
    folder: str
    id: str | None = None

    def run(self, root: Path) -> RunFolder:
        return RunFolder(root / "work" / self.folder)


class Batch(Model):
    name: str
    tasks: tuple[Task, ...]


def folder(root: Path) -> Path:
    """Folder of the batch files, pickles and logs of submitit, on a file system shared with the
    nodes."""
    return root / "work" / "slurm"


def log_file(root: Path, task: str) -> Path:
    """Output of a task, including errors, of all its starts."""
    return folder(root) / f"{task}_0_log.out"


def planned(root: Path, tasks: Sequence[Task]) -> Batch:
    """A new batch, on disk."""
    batch = Batch(name=f"armature-{secrets.token_hex(4)}", tasks=tuple(tasks))
    _write(root, batch)
    return batch


def submitted(root: Path, batch: Batch, ids: Sequence[str]) -> Batch:
    """The batch with the ids from Slurm, written to disk."""
    tasks = [
        task.model_copy(update={"id": id_}) for task, id_ in zip(batch.tasks, ids, strict=True)
    ]
    batch = Batch(name=batch.name, tasks=tuple(tasks))
    _write(root, batch)
    return batch


def forget(root: Path, batch: Batch) -> None:
    _file(root, batch.name).unlink(missing_ok=True)


def known(root: Path, job: Job) -> list[Task]:
    """Tasks that an earlier supervisor submitted for this start of a job.

    Raises UserError if Slurm is not available.
    """
    found = []
    for file in sorted((folder(root) / "batches").glob("*.json")):
        batch = _read(file)
        mine = [task for task in batch.tasks if _belongs(task, job)] if batch else []
        if batch and mine and any(task.id is None for task in batch.tasks):
            scontrol.call("scancel", f"--user={os.getuid()}", f"--name={batch.name}")
            forget(root, batch)
            continue
        found += mine
    return found


def _read(file: Path) -> Batch | None:
    try:
        return Batch.model_validate(read_json(file))
    except ValidationError:
        return None


def _belongs(task: Task, job: Job) -> bool:
    return (task.job, task.attempt) == (job.id, job.attempts)


def _file(root: Path, name: str) -> Path:
    return folder(root) / "batches" / f"{name}.json"


def _write(root: Path, batch: Batch) -> None:
    write_json(_file(root, batch.name), batch.model_dump())
