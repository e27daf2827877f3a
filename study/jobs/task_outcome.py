"""Outcome of an array task, from the run folder, then Slurm, then its log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.jobs import batches, dvc_commit, scontrol
from study.jobs.array_task import START

SETTLE_S = 90.0  # possible delay of the last status of a run on a shared file system
# In the log of a task that an earlier version submitted, when this package had another name.
FORMER = "No module named 'study.launch'"
# States of tasks that were killed: a new start continues from the checkpoint.
DIED = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED")
CAUSES = {
    "CANCELLED": "cancelled in Slurm, not by `study stop`; retry continues from its checkpoint",
    "TIMEOUT": "it reached its time limit and could not be requeued; raise minutes or requeues",
    "DEADLINE": "it reached the deadline of its job",
    "OUT_OF_MEMORY": "out of memory; raise memory_gb in launch.yaml",
}


@dataclass(frozen=True)
class TaskOutcome:
    """`open`: the task waits or runs, or its last status may still arrive. `cause`: why the run is
    not settled."""

    open: bool
    cause: str | None = None
    died: bool = False


def outcome_of(
    root: Path, task: batches.Task, shown: scontrol.Task | None, over_s: float
) -> TaskOutcome:
    """The outcome. `shown`: None if Slurm no longer lists the task; `over_s`: seconds since its
    end."""
    if shown is not None and (shown.waits or shown.runs):
        return TaskOutcome(open=True)
    if task.run(root).settled:
        return TaskOutcome(open=False)
    silent = shown is None or shown.state == "COMPLETED"
    if silent and over_s < SETTLE_S:
        return TaskOutcome(open=True)
    if shown is None:
        return TaskOutcome(False, "Slurm no longer lists it and its run is not settled", died=True)
    killed = shown.state == "FAILED" and shown.signal != 0
    died = shown.state in DIED or shown.preempted or killed
    return TaskOutcome(False, CAUSES.get(shown.state) or _words(root, task, shown), died)


def _words(root: Path, task: batches.Task, shown: scontrol.Task) -> str:
    """Why the task failed, from the log of its last start, else from Slurm."""
    printed = dvc_commit.tail(batches.log_file(root, task.id or ""), 0).rpartition(START)[2]
    if FORMER in printed:
        return "an earlier version of the code submitted it; `study retry` submits it with this one"
    message = dvc_commit.last_words(printed, shown.code) if printed.strip() else ""
    return message or shown.sentence
