"""What became of an array task: the run folder first, then Slurm's word, then what it printed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.launch import batches, commits, scontrol
from study.launch.array_task import START

SETTLE_S = 90.0  # a shared file system may show the last status of a run that much later
# It did not end by itself: a fresh start goes on from the checkpoint.
DIED = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED")
CAUSES = {
    "CANCELLED": "cancelled in Slurm, not by `study stop`; retry goes on from its checkpoint",
    "TIMEOUT": "it reached its time limit and could not be requeued; raise minutes or requeues",
    "DEADLINE": "it reached the deadline of its job",
    "OUT_OF_MEMORY": "out of memory; raise memory_gb in launch.yaml",
}


@dataclass(frozen=True)
class Fate:
    """`open`: it waits or runs, or its last word may still arrive. `cause`: why it is unsettled."""

    open: bool
    cause: str | None = None
    died: bool = False


def fate(root: Path, task: batches.Task, shown: scontrol.Task | None, over_s: float) -> Fate:
    """`shown`: None when Slurm has forgotten the task; `over_s`: since it was first seen over."""
    if shown is not None and (shown.waits or shown.runs):
        return Fate(open=True)
    if task.run(root).settled:
        return Fate(open=False)
    silent = shown is None or shown.state == "COMPLETED"
    if silent and over_s < SETTLE_S:
        return Fate(open=True)
    if shown is None:
        return Fate(False, "Slurm forgot it before its run was settled", died=True)
    killed = shown.state == "FAILED" and shown.signal != 0
    died = shown.state in DIED or shown.preempted or killed
    return Fate(False, CAUSES.get(shown.state) or _words(root, task, shown), died)


def _words(root: Path, task: batches.Task, shown: scontrol.Task) -> str:
    """Why it failed: what the last start of the task printed, else Slurm's word."""
    printed = commits.tail(batches.log_file(root, task.id or ""), 0).rpartition(START)[2]
    said = commits.last_words(printed, shown.code) if printed.strip() else ""
    return said or shown.sentence
