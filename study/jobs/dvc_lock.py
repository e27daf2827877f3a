"""Run one DVC command at a time, and none while a foreign DVC command runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import Popen

from study.jobs import dvc_commit, processes
from study.jobs.models import Job
from study.settings import UserError

KILLS = 3


class DvcLock:
    """The current DVC command of this supervisor, and the jobs that wait for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.step: dvc_commit.Step | None = None
        self.not_before: dict[str, float] = {}
        self.killed: dict[str, int] = {}
        self.dropped: list[Popen[bytes]] = []

    @property
    def free(self) -> bool:
        return self.step is None

    def of(self, job_id: str) -> bool:
        return self.step is not None and self.step.job == job_id

    def take(self, job: Job, name: str, words: Sequence[str], after: Callable[[Job], Job]) -> Job:
        """Advance one DVC command of a job: start it when DVC is free, and check how it ended.

        `after` is applied on success. Raises UserError with the message of DVC on failure.
        """
        if self.step is None:
            return self._begin(job, name, words)
        if self.step.job != job.id:
            return job.but(note="waiting for the DVC command of another job")
        code = self.step.child.poll()
        if code is None:
            return job
        busy, output = self.step.busy, self.step.output()
        self.drop()
        if code == 0:
            self.killed.pop(job.id, None)
            return after(job)
        if busy:
            self._later(job)
            return job.but(note="waiting for another DVC command to end")
        if code < 0 and self._again(job):
            return job.but(note=f"dvc {' '.join(words)} was killed by signal {-code}; trying again")
        raise UserError(f"dvc {' '.join(words)}: {dvc_commit.last_words(output, code)}")

    def _again(self, job: Job) -> bool:
        """Whether a killed command is run again; recording a result twice is harmless."""
        count = self.killed.pop(job.id, 0) + 1
        if count == KILLS:  # a retry of the job starts a new count
            return False
        self.killed[job.id] = count
        self._later(job)
        return True

    def _begin(self, job: Job, name: str, words: Sequence[str]) -> Job:
        if time.monotonic() < self.not_before.get(job.id, 0.0):
            return job
        if processes.of_job(self.root, job.id):
            return job.but(note="waiting for the DVC command of an earlier supervisor")
        begun = dvc_commit.begin(self.root, job, name, list(words))
        if isinstance(begun, str):
            self._later(job)
            return job.but(note=begun)
        self.step = begun
        return job.but(note=f"dvc {' '.join(words)}")

    def _later(self, job: Job) -> None:
        self.not_before[job.id] = time.monotonic() + dvc_commit.AGAIN_AFTER_S

    def drop(self) -> None:
        """Release the lock; `reap` waits for a command that still runs."""
        if self.step is not None:
            self.step.lock.release()
            self.dropped.append(self.step.child)
            self.step = None

    def reap(self) -> None:
        self.dropped = [child for child in self.dropped if child.poll() is None]
