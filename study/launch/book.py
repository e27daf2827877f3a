"""The jobs that are not over, in memory and on disk; a disk that fails is said, and survived."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from study.launch.folder import LaunchFolder
from study.launch.models import Job

UNSAVED_S = 60.0  # how long one waits for a disk that cannot be written, with nothing else to do


class Book:
    """`jobs` is the content of jobs/, kept equal to it. `trouble`: what the disk refuses now."""

    def __init__(self, folder: LaunchFolder) -> None:
        self.folder = folder
        self.jobs = {job.id: job for job in folder.job_list() if not job.over}
        self.unsaved: dict[str, float] = {}
        self.trouble: str | None = None

    @property
    def done(self) -> bool:
        """Whether every job is over and written down, or the disk had its time."""
        waits = (time.monotonic() - since < UNSAVED_S for since in self.unsaved.values())
        return all(job.over for job in self.jobs.values()) and not any(waits)

    def in_turn(self) -> list[Job]:
        return sorted(self.jobs.values(), key=lambda job: job.id)

    def find(self, job_id: str) -> Job | None:
        """A job, one that is over too."""
        if job_id in self.jobs:
            return self.jobs[job_id]
        return next((job for job in self.folder.job_list() if job.id == job_id), None)

    def save(self, job: Job) -> None:
        """Write first, then remember: what asked for it stays until its effect is on disk.

        Raises OSError.
        """
        self.folder.save(job)
        self.jobs[job.id] = job

    def keep(self, job: Job) -> None:
        """Remember a job and write it down; what cannot be written is tried again."""
        if self.jobs.get(job.id) == job and job.id not in self.unsaved:
            return
        self.jobs[job.id] = job
        before = self.unsaved.pop(job.id, time.monotonic())
        with self.said(f"{self.folder.jobs} cannot be written"):
            try:
                self.folder.save(job)
            except OSError:
                self.unsaved[job.id] = before
                raise

    @contextlib.contextmanager
    def said(self, what: str) -> Iterator[None]:
        """A disk that cannot be read or written is said, and survived."""
        try:
            yield
            if self.trouble and self.trouble.startswith(what):
                self.trouble = None
        except OSError as error:
            trouble = f"{what}: {error.strerror or error}"
            if trouble != self.trouble:
                self.trouble = trouble
                say(trouble)


def say(text: str) -> None:
    """One more line in supervisor.log, which is the supervisor's output."""
    with contextlib.suppress(OSError):
        os.write(1, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode())
