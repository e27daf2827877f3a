"""The unfinished jobs, in memory and on disk; disk errors do not end the supervisor."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from study.jobs.folder import JobFolder
from study.jobs.models import Job
from study.reading import UserError, brief

UNSAVED_S = 60.0  # longest wait for a disk that cannot be written, when idle


class JobStore:
    """`jobs` mirrors the content of jobs/. `trouble`: the current disk error."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.jobs = {job.id: job for job in folder.job_list() if not job.over}
        self.unsaved: dict[str, float] = {}
        self.trouble: str | None = None

    @property
    def done(self) -> bool:
        """Whether every job is over and saved, or the wait for the disk has expired."""
        waits = (time.monotonic() - since < UNSAVED_S for since in self.unsaved.values())
        return all(job.over for job in self.jobs.values()) and not any(waits)

    def in_turn(self) -> list[Job]:
        return sorted(self.jobs.values(), key=lambda job: job.id)

    def find(self, job_id: str) -> Job | None:
        """A job, including ended ones."""
        if job_id in self.jobs:
            return self.jobs[job_id]
        return next((job for job in self.folder.job_list() if job.id == job_id), None)

    def save(self, job: Job) -> None:
        """Write to disk first, then to memory, so that a request stays until its effect is on disk.

        Raises OSError, and UserError for a link that leads out of the checkout.
        """
        self.folder.save(job)
        self.jobs[job.id] = job

    def keep(self, job: Job) -> None:
        """Keep a job in memory and write it; failed writes are tried again."""
        if self.jobs.get(job.id) == job and job.id not in self.unsaved:
            return
        self.jobs[job.id] = job
        before = self.unsaved.pop(job.id, time.monotonic())
        with self.logging_errors(f"{self.folder.jobs} cannot be written"):
            try:
                self.folder.save(job)
            except (OSError, UserError):
                self.unsaved[job.id] = before
                raise

    @contextlib.contextmanager
    def logging_errors(self, what: str) -> Iterator[None]:
        """Log an error of the disk, or a link that leads out of the checkout, once; continue."""
        try:
            yield
            if self.trouble and self.trouble.startswith(what):
                self.trouble = None
        except (OSError, UserError) as error:
            trouble = f"{what}: {brief(error)}"
            if trouble != self.trouble:
                self.trouble = trouble
                log(trouble)


def log(text: str) -> None:
    """Add a line to supervisor.log, which is the supervisor's output."""
    with contextlib.suppress(OSError):
        os.write(1, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode())
