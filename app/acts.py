"""The few things that the app may do: each refuses in read-only mode, whatever the page shows.

All of them write files that are checked by the same models as the command line's.
"""

from __future__ import annotations

from app import access, load
from study import archive, claiming, launch
from study.arms import Draft, Takes
from study.claiming import ClaimDraft
from study.params import Row, UserError


def add(draft: Draft, claim: ClaimDraft | None, takes: Takes, seen: Row) -> None:
    """Write a new arm, with its claim or not at all. Raises UserError."""
    _may_write()
    try:
        claiming.add(load.ROOT, draft, claim, takes, seen)
    except OSError as error:
        raise UserError(f"params.yaml cannot be written: {error.strerror or error}") from None


def commit(draft: Draft, claim: ClaimDraft | None) -> str:
    """Commit what `add` wrote; returns the short hash. Raises UserError when git refuses."""
    _may_write()
    return claiming.committed(load.ROOT, draft, claim)


def start(arm: str, seeds: tuple[int, ...] | None = None) -> str:
    """Queue an arm; returns the job's id. Raises UserError, for an arm that is at work for one."""
    _may_write()
    return launch.submit(load.ROOT, arm, seeds)


def stop(job: str) -> None:
    _may_write()
    launch.cancel(load.ROOT, job)


def retry(job: str) -> None:
    _may_write()
    launch.retry(load.ROOT, job)


def wake() -> bool:
    """See to it that unfinished work goes on; whether there is any. Raises UserError."""
    _may_write()
    return launch.resume(load.ROOT)


def archive_arm(name: str) -> archive.Archived:
    """Raises UserError for an arm that is at work, or needed."""
    _may_write()
    _idle(name)
    return archive.archive_arm(load.ROOT, name)


def rename_arm(name: str, to: str) -> archive.Archived:
    """Raises UserError for an arm that is at work, and for a name that is taken or none."""
    _may_write()
    _idle(name)
    return archive.rename_arm(load.ROOT, name, to)


def _idle(name: str) -> None:
    if job := next((j for j in launch.jobs(load.ROOT) if j.arm == name and not j.over), None):
        raise UserError(f"arm {name!r} is {job.state} as job {job.id}; stop that first")


def _may_write() -> None:
    if access.read_only():
        raise UserError(access.why_read_only())
