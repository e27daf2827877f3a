"""Times, states and progress of a run as text."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median

from study.jobs import Job, RunRow

ORDER = (
    "running", "unknown", "preparing", "committing", "queued", "failed", "collapsed", "stopped",
    "cancelled", "done", "not started",
)  # fmt: skip


def run_id(row: RunRow) -> str:
    """The id of a run in the address, such as agc/s3."""
    return f"{row.arm}/s{row.seed}"


def state_of(row: RunRow, jobs: dict[str, Job]) -> str:
    """The displayed state: a queued run takes the state of a job that is preparing (its data) or
    committing."""
    job = jobs.get(row.job or "")
    at_work = job is not None and job.state in ("preparing", "committing")
    return job.state if at_work and row.state == "queued" and job else row.state


def label(row: RunRow, state: str) -> str:
    if state == "unknown" and row.heartbeat:
        return f"unknown since {clock(row.heartbeat)}"
    return state


def cause_words(row: RunRow, state: str) -> str:
    """Why a run ended; for a run stopped by a user also the epoch from which it would resume."""
    if state in ("stopped", "cancelled") and "SIGTERM" in (row.cause or ""):
        when = "" if row.ended is None else f" at {clock(row.ended)}"
        return f"Stopped by a user{when}; a retry resumes from epoch {row.epoch}."
    return f"Cause: {row.cause}"


def clock(when: float | None) -> str:
    """HH:MM today, with the date on other days; a dash for None. `when`: Unix time in s."""
    if when is None:
        return "–"
    then, today = time.localtime(when), time.localtime()
    same = then[:3] == today[:3]
    return time.strftime("%H:%M" if same else "%d %b %H:%M", then)


def ago(when: float | None) -> str:
    return "–" if when is None else f"{lasting(time.time() - when)} ago"


def lasting(seconds: float | None) -> str:
    """A duration in a suitable unit: 40 s, 12 min, 3.5 h; a dash for None."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def total_left(rows: Iterable[RunRow]) -> float | None:
    """Estimated seconds until all running and queued runs end; None without a running estimate.

    Assumes that queued runs take the median time of the running ones, with as many runs in
    parallel as now.
    """
    rows = list(rows)
    running = [row for row in rows if row.state == "running" and row.eta_s is not None]
    if not running:
        return None
    left = [row.eta_s or 0.0 for row in running]
    begun = [(row.heartbeat or 0.0) - row.started for row in running if row.started is not None]
    whole = [max(0.0, past) + eta for past, eta in zip(begun, left, strict=False)] or left
    queued = sum(row.state == "queued" for row in rows)
    return max(max(left), (sum(left) + queued * median(whole)) / len(running))


def epochs(row: RunRow) -> str:
    return f"{row.epoch}/{row.epochs}" if row.epochs else "–"


def place(job: Job) -> str:
    """Where a job runs: the executor (unless local), its GPU and the number of parallel seeds."""
    parts = [] if job.executor == "local" else [job.executor]
    if job.place is not None and job.place.gpu is not None:
        parts.append(f"GPU {job.place.gpu}")
    if job.place is not None and job.place.jobs:
        parts.append(f"{job.place.jobs} seed{'' if job.place.jobs == 1 else 's'} at once")
    return ", ".join(parts)
