"""Start, find and stop the processes of a job, which carry a mark in their environment.

Every process of a job and its children have `ARMATURE_JOB` in their environment. This identifies
processes whose parent was killed, and those that a killed supervisor could not store; an unrelated
process with a reused process id does not have the mark.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from study.jobs.folder import JobFolder
from study.jobs.models import Job
from study.runs import children, start_time
from study.runs import process_alive as alive
from study.runs.links import open_log

MARK = "ARMATURE_JOB"
GRACE_S = 20.0


def mark(root: Path, job_id: str) -> str:
    return f"{Path(root).resolve()}:{job_id}"


def start(
    root: Path, job: Job, command: Sequence[str], extra: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command of a job with its output in the log of the job. Raises OSError, and UserError
    for a log that is a link out of the checkout.
    """
    folder = JobFolder(root)
    environment = {**os.environ, **(extra or {}), MARK: mark(root, job.id)}
    # `study` in dvc.yaml must be that of this installation.
    own = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join((own, environment.get("PATH", os.defpath)))
    environment.pop("DVC_STAGE", None)
    with open_log(folder.job_log(job.id)) as log:
        log.write(f"--- {time.strftime('%H:%M:%S')} {' '.join(command[1:])}\n".encode())
        log.flush()
        return children.start(command, folder.root, log, environment=environment)


def of_job(root: Path, job_id: str) -> list[psutil.Process]:
    """Running processes with the mark of a job."""
    wanted = mark(root, job_id)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == wanted and alive(process.pid, start_time(process)):
                found.append(process)
    return found


def leader(members: Sequence[psutil.Process]) -> psutil.Process | None:
    """The process of a job that is the parent of the others."""
    for process in members:
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) == process.pid:
                return process
    return None


class Stopping:
    """Ends the processes of jobs: SIGTERM once to each, SIGKILL after 20 s."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.grace_s = grace_s
        self._since: dict[str, float] = {}
        self._asked: set[tuple[int, float]] = set()

    def stop(self, root: Path, job_id: str) -> bool:
        """Signal the remaining processes of a job; returns whether none is left. Call it again
        until then."""
        left = of_job(root, job_id)
        if not left:
            self._since.pop(job_id, None)
            return True
        since = self._since.setdefault(job_id, time.monotonic())
        for process in left:
            with contextlib.suppress(psutil.Error):
                if time.monotonic() - since > self.grace_s:
                    process.kill()
                elif (key := (process.pid, start_time(process))) not in self._asked:
                    # Only once: a second signal would interrupt a parent that is waiting for its
                    # seeds.
                    self._asked.add(key)
                    process.terminate()
        return False
