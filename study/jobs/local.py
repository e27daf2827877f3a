"""Executor `local`: processes on this machine, one job per GPU, or as many as there are cores.

A job on cores takes one core per seed, at most all cores; the next job waits. A GPU takes one job,
whose seeds share it (`study.stages.slots`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from study.jobs import processes
from study.jobs.executors import Ended, train_command
from study.jobs.models import Job, Place
from study.runs import children, environment, start_time
from study.runs.identity import study_of
from study.settings import find_row


class Local:
    def __init__(self) -> None:
        self.gpus = visible_gpus()
        self.cores = environment.cores()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = processes.Stopping()

    def slots(self) -> str:
        count, unit = (len(self.gpus), "GPU") if self.gpus else (self.cores, "core")
        return f"{count} {unit}{'s' if count > 1 else ''}"

    def place(self, job: Job, others: Sequence[Job]) -> Place | None:
        places = [other.place for other in others if other.place is not None]
        if self.gpus:
            taken = {place.gpu for place in places}
            free = next((gpu for gpu in self.gpus if gpu not in taken), None)
            return None if free is None else Place(gpu=free)
        wanted = min(len(job.seeds), self.cores)
        room = self.cores - sum(place.jobs or 1 for place in places)
        return Place(jobs=wanted) if wanted <= room else None

    def start(self, root: Path, job: Job) -> Job:
        row = find_row(study_of(root), job.arm)
        words = train_command(job, set(row.seeds) == set(job.seeds))
        gpu = job.place.gpu if job.place else None
        extra = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        child = processes.start(root, job, [sys.executable, "-m", "study", *words], extra)
        self._children[job.id] = child
        return job.but(pid=child.pid, pid_started=start_time(psutil.Process(child.pid)))

    def recover(self, root: Path, job: Job) -> Job:
        if processes.alive(job.pid, job.pid_started):
            return job
        first = processes.leader(processes.of_job(root, job.id))
        if first is None:
            return job
        return job.but(pid=first.pid, pid_started=start_time(first))

    def ended(self, root: Path, job: Job) -> Ended | None:
        child = self._children.get(job.id)
        running = (
            processes.alive(job.pid, job.pid_started) if child is None else child.poll() is None
        )
        if running or not self._stopping.stop(root, job.id):  # seeds may outlive it
            return None
        self._children.pop(job.id, None)
        code = None if child is None else child.returncode
        # 130: stopped by a signal from elsewhere, such as the shutdown of the machine.
        return Ended(code, died=code is None or code < 0 or code == 130)

    def stop(self, root: Path, job: Job) -> None:
        self._stopping.stop(root, job.id)

    def note(self, root: Path, job: Job) -> str | None:
        return None


def visible_gpus() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES of the NVIDIA GPUs; empty if torch is built without CUDA."""
    if (environment.version("torch") or "").endswith("+cpu"):
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi"):
        done = children.run(("nvidia-smi", "-L"))
        found = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    else:
        found = sorted(Path("/proc/driver/nvidia/gpus").glob("*"))
    return [str(number) for number in range(len(found))]
