"""State of a job's tasks at the last query of Slurm, for the app and `study runs`.

work/slurm/seen/<job>.json     one entry per seed, written when it changes
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.jobs import batches, scontrol
from study.jobs.folder import cached
from study.runs import write_json
from study.settings import Model


class SnapshotTask(Model):
    """`state` as in Slurm, None if unknown to it; `words`: for display; `log`: its output."""

    seed: int
    id: str
    state: str | None
    waits: bool
    runs: bool
    words: str
    log: str


class SlurmSnapshot(Model):
    tasks: tuple[SnapshotTask, ...]

    def of(self, seed: int) -> SnapshotTask | None:
        return next((task for task in self.tasks if task.seed == seed), None)

    @property
    def note(self) -> str:
        """One line for the job: how many run and wait, and why they wait."""
        running = sum(task.runs for task in self.tasks)
        waiting = [task for task in self.tasks if task.waits]
        over = len(self.tasks) - running - len(waiting)
        parts = [f"{running} running"] if running else []
        if waiting:
            parts.append(f"{len(waiting)} {', '.join(dict.fromkeys(t.words for t in waiting))}")
        parts += [f"{over} over"] if over else []
        return f"Slurm: {'; '.join(parts)}"


def read_snapshot(root: Path, job_id: str) -> SlurmSnapshot | None:
    """None for a job that is not in Slurm."""
    return cached(_file(root, job_id), SlurmSnapshot)


def write(
    root: Path, job_id: str, tasks: Sequence[batches.Task], shown: dict[str, scontrol.Task]
) -> None:
    new = SlurmSnapshot(tasks=tuple(_entry(root, task, shown.get(task.id or "")) for task in tasks))
    if new != read_snapshot(root, job_id):
        write_json(_file(root, job_id), new.model_dump())


def _entry(root: Path, task: batches.Task, shown: scontrol.Task | None) -> SnapshotTask:
    id_ = task.id or ""
    return SnapshotTask(
        seed=task.seed,
        id=id_,
        state=shown.state if shown else None,
        waits=shown is not None and shown.waits,
        runs=shown is not None and shown.runs,
        words=shown.sentence if shown else "Slurm no longer lists it",
        log=str(batches.log_file(root, id_).relative_to(root)),
    )


def _file(root: Path, job_id: str) -> Path:
    return batches.folder(root) / "seen" / f"{job_id}.json"
