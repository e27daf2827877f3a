"""Times, states and progress of a run as words."""

from __future__ import annotations

import time

from study.jobs import Job, RunRow

ORDER = (
    "running", "unknown", "preparing", "committing", "queued", "failed", "collapsed", "stopped",
    "cancelled", "done", "not started",
)  # fmt: skip


def run_id(row: RunRow) -> str:
    """As the address names it: agc/s3."""
    return f"{row.arm}/s{row.seed}"


def state_of(row: RunRow, jobs: dict[str, Job]) -> str:
    """The state as the page calls it: a queued run whose job makes its data is preparing."""
    job = jobs.get(row.job or "")
    at_work = job is not None and job.state in ("preparing", "committing")
    return job.state if at_work and row.state == "queued" and job else row.state


def label(row: RunRow, state: str) -> str:
    if state == "unknown" and row.heartbeat:
        return f"unknown since {clock(row.heartbeat)}"
    return state


def cause_words(row: RunRow, state: str) -> str:
    """Why a run ended; what a user stopped says so, and where it would go on."""
    if state in ("stopped", "cancelled") and "SIGTERM" in (row.cause or ""):
        when = "" if row.ended is None else f" at {clock(row.ended)}"
        return f"Stopped by a user{when}; a retry resumes from epoch {row.epoch}."
    return f"Cause: {row.cause}"


def clock(when: float | None) -> str:
    """HH:MM of today, with the date before that; a dash where there is none."""
    if when is None:
        return "–"
    then, today = time.localtime(when), time.localtime()
    same = then[:3] == today[:3]
    return time.strftime("%H:%M" if same else "%d %b %H:%M", then)


def ago(when: float | None) -> str:
    return "–" if when is None else f"{lasting(time.time() - when)} ago"


def lasting(seconds: float | None) -> str:
    """A duration in its largest unit: 40 s, 12 min, 3.5 h."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def epochs(row: RunRow) -> str:
    return f"{row.epoch}/{row.epochs}" if row.epochs else "–"


def place(job: Job) -> str:
    """Where a job computes: its cores, its GPU, its name in a scheduler."""
    parts = [] if job.executor == "local" else [job.executor]
    if job.place is not None and job.place.gpu is not None:
        parts.append(f"GPU {job.place.gpu}")
    if job.place is not None and job.place.jobs:
        parts.append(f"{job.place.jobs} seed{'' if job.place.jobs == 1 else 's'} at once")
    return ", ".join(parts)
