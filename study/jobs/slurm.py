"""Executor `slurm`: the seeds of all jobs that start together become one job array.

    find      after a restart: tasks that an earlier supervisor submitted
    prepare   on this machine: settings checked, fingerprint taken
    gather    jobs that start within a second share an array
    compute   array tasks; each trains one seed and writes only to work/ (`array_task.py`)
    collect   on this machine: runs/<arm>, from which the supervisor commits

Design choices
- Nodes never call dvc and never collect runs. `batches.py` stores which tasks belong to a job.
- The state of a task comes from Slurm, its outcome from the run folder (`task_outcome.py`).
- If the controller does not answer, the executor waits and decides nothing.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from study.jobs import arrays, batches, processes, scontrol, slurm_snapshot
from study.jobs.cluster_file import load_cluster
from study.jobs.executors import Ended
from study.jobs.models import Job, Place
from study.jobs.task_outcome import outcome_of
from study.runs import append_line, start_time
from study.runs.identity import identity_of
from study.settings import UserError, load_study

GATHER_S, GATHER_MOST_S = 1.0, 300.0
HEAD_AT_ONCE = 4  # processes on a login node shared by many people
LOOK_EVERY_S = 5.0  # the controller serves a whole cluster
SILENT_S = 30.0  # between unanswered queries, each of which delays other jobs
CANCEL_EVERY_S = 15.0


@dataclass
class Way:
    """The phase of a job. `result`: its end, if known before `ended` is called. `silent`: Slurm did
    not answer the last query.
    """

    job: Job
    phase: Literal["find", "prepare", "gather", "compute", "collect", "over"]
    child: subprocess.Popen[bytes] | None = None
    tasks: list[batches.Task] = field(default_factory=list)
    over_since: dict[str, float] = field(default_factory=dict)
    next_cancel: float = 0.0
    silent: bool = False
    result: Ended = field(default_factory=lambda: Ended(None))

    def over_for(self, task: batches.Task, shown: Mapping[str, scontrol.Task]) -> float:
        """Seconds since a task was first seen to be over in Slurm."""
        name = task.id or ""
        if name in shown and (shown[name].waits or shown[name].runs):
            self.over_since.pop(name, None)
            return 0.0
        return time.monotonic() - self.over_since.setdefault(name, time.monotonic())


class Slurm:
    def __init__(self) -> None:
        self._ways: dict[str, Way] = {}
        self._shown: dict[str, tuple[float, dict[str, scontrol.Task]]] = {}
        self._due = self._latest = self._ask_after = 0.0
        self._stopping = processes.Stopping()

    def slots(self) -> str:
        return "a Slurm cluster"

    def place(self, job: Job, others: Sequence[Job]) -> Place | None:
        """At once, unless this login node is already preparing several jobs."""
        begun = sum(other.state == "preparing" for other in others)
        begun += sum(way.phase == "prepare" for way in self._ways.values())
        return Place() if begun < HEAD_AT_ONCE else None

    @staticmethod
    def check(root: Path) -> None:
        """Raise UserError on a machine without Slurm and for an error in launch.yaml."""
        scontrol.check_slurm()
        load_cluster(root, load_study(root / "params.yaml").arms)

    def start(self, root: Path, job: Job) -> Job:
        self.check(root)
        child = self._study(root, job, "prepare")
        self._ways[job.id] = Way(job, "prepare", child)
        return job.but(pid=child.pid, pid_started=start_time(psutil.Process(child.pid)))

    def recover(self, root: Path, job: Job) -> Job:
        self._ways[job.id] = Way(job, "find")
        return job

    def ended(self, root: Path, job: Job) -> Ended | None:
        way = self._ways[job.id]
        look = {
            "find": self._find,
            "prepare": self._prepare,
            "gather": self._gather,
            "compute": self._compute,
            "collect": self._collect,
            "over": lambda root, way: way.result,
        }[way.phase]
        ended = look(root, way)
        if ended is not None:
            del self._ways[job.id]
        return ended

    def stop(self, root: Path, job: Job) -> None:
        way = self._ways[job.id]
        if way.phase in ("find", "prepare", "collect"):
            self._stopping.stop(root, job.id)
        elif way.phase == "gather":
            way.phase = "over"
        elif time.monotonic() > way.next_cancel:
            way.next_cancel = time.monotonic() + CANCEL_EVERY_S
            self._shown.clear()
            with contextlib.suppress(UserError):  # requested again
                arrays.cancel(task.id for task in way.tasks if task.id)

    def note(self, root: Path, job: Job) -> str | None:
        """State of the job in words."""
        way = self._ways[job.id]
        if way.silent:
            return "Slurm does not answer; waiting"
        if way.phase != "compute":
            return {"prepare": "checking", "collect": "collecting"}.get(way.phase)
        found = slurm_snapshot.read_snapshot(root, job.id)
        return found.note if found else "submitted"

    # -- the phases

    def _study(self, root: Path, job: Job, part: str) -> subprocess.Popen[bytes]:
        seeds = [word for seed in job.seeds for word in ("--seed", str(seed))]
        words = ("train", "--arm", job.arm, *seeds, "--only", part)
        return processes.start(root, job, [sys.executable, "-m", "study", *words])

    def _find(self, root: Path, way: Way) -> Ended | None:
        """Continue with submitted tasks; if there are none, the supervisor was killed before
        submission."""
        if time.monotonic() < self._ask_after:
            return None
        try:
            way.tasks = batches.known(root, way.job)
        except UserError:
            self._ask_after, way.silent = time.monotonic() + SILENT_S, True
            return None
        way.silent = False
        if way.tasks:
            way.phase = "compute"
            return None
        return Ended(None, died=True) if self._stopping.stop(root, way.job.id) else None

    def _prepare(self, root: Path, way: Way) -> Ended | None:
        code = way.child.poll() if way.child else None
        if code == 0:
            self._ready(way)
            return None
        return None if code is None else Ended(code, died=code < 0)

    def _ready(self, way: Way) -> None:
        now = time.monotonic()
        if not any(other.phase == "gather" for other in self._ways.values()):
            self._latest = now + GATHER_MOST_S
        way.phase, self._due = "gather", now + GATHER_S

    def _gather(self, root: Path, way: Way) -> Ended | None:
        """Submit all waiting jobs, once no other job has arrived for a moment."""
        now = time.monotonic()
        preparing = any(other.phase == "prepare" for other in self._ways.values())
        if now < self._latest and (preparing or now < self._due):
            return None
        ready = [other for other in self._ways.values() if other.phase == "gather"]
        try:
            self._submit(root, ready)
        except UserError as error:
            for other in ready:
                other.phase, other.result = "over", Ended(2, str(error))
        return None

    def _submit(self, root: Path, ways: Sequence[Way]) -> None:
        study = load_study(root / "params.yaml")
        slurm = load_cluster(root, study.arms)
        wanted = [task for way in ways for task in unsettled(root, way.job)]
        requested = {way.job.arm: slurm.asked(way.job.arm) for way in ways}
        tasks = arrays.submit(root, wanted, requested, slurm)
        for way in ways:
            way.phase, way.child = "compute", None
            way.tasks = [task for task in tasks if task.job == way.job.id]
            for task in way.tasks:
                log = batches.log_file(root, task.id or "").relative_to(root)
                line = f"seed {task.seed}: Slurm task {task.id}, log in {log}"
                with contextlib.suppress(OSError):  # only the display; the tasks continue
                    append_line(root / "work" / "launch" / "jobs" / f"{way.job.id}.log", line)

    def _compute(self, root: Path, way: Way) -> Ended | None:
        shown = self._look(way.tasks)
        way.silent = shown is None
        if shown is None:
            return None
        with contextlib.suppress(OSError):  # the snapshot is for display only
            slurm_snapshot.write(root, way.job.id, way.tasks, shown)
        bad: list[tuple[int, str, bool]] = []
        for task in way.tasks:
            found = outcome_of(root, task, shown.get(task.id or ""), way.over_for(task, shown))
            if found.open:
                return None
            if found.cause is not None:
                bad.append((task.seed, found.cause, found.died))
        if bad:
            cause = "; ".join(f"seed {seed}: {cause}" for seed, cause, _ in bad)
            return Ended(1, cause, died=all(died for *_, died in bad))
        if sum(other.phase == "collect" for other in self._ways.values()) < HEAD_AT_ONCE:
            way.phase, way.child = "collect", self._study(root, way.job, "collect")
        return None

    def _collect(self, root: Path, way: Way) -> Ended | None:
        code = way.child.poll() if way.child else None
        return None if code is None else Ended(code, died=code < 0)

    def _look(self, tasks: Sequence[batches.Task]) -> dict[str, scontrol.Task] | None:
        """State of these tasks in Slurm, at most five seconds old; None if Slurm does not
        answer."""
        found: dict[str, scontrol.Task] = {}
        for array in sorted({(task.id or "").partition("_")[0] for task in tasks}):
            looked, shown = self._shown.get(array, (-LOOK_EVERY_S, {}))
            if time.monotonic() - looked >= LOOK_EVERY_S:
                if time.monotonic() < self._ask_after:
                    return None
                fresh = scontrol.show(array)
                if fresh is None:
                    self._ask_after = time.monotonic() + SILENT_S
                    return None
                shown = fresh
                self._shown[array] = (time.monotonic(), shown)
            found.update(shown)
        return found


def unsettled(root: Path, job: Job) -> list[batches.Task]:
    """The seeds of a job that must be trained with the current settings."""
    origin = identity_of(root, job.arm)
    tasks = []
    for seed in job.seeds:
        run = origin.live(seed)
        if run is None:
            raise UserError(f"{job.arm} has no data or no fingerprint; `dvc repro data.dvc` first")
        if not run.settled and not origin.collected(seed):
            tasks.append(
                batches.Task(
                    job=job.id,
                    attempt=job.attempts,
                    arm=job.arm,
                    seed=seed,
                    folder=run.path.name,
                )
            )
    return tasks
