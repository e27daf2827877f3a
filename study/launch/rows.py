"""One row for every arm and seed that this folder knows, from the run folders and the jobs.

The truth is in status.json: of the live folder in work/, or of the collected one in runs/<arm>.
Files are read again only when they changed, so that thousands of runs cost a look at each.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from study.launch.models import Job
from study.launch.origin import Origin, origin_of
from study.launch.processes import alive
from study.launch.seen import SeenTask, seen
from study.params import UserError

SILENT_S = 60.0
LAST_EPOCHS = 5
STATUS = "status.json"
NAMES = {"finished": "done"}


@dataclass(frozen=True)
class RunRow:
    """One seed of one arm. `state`: queued, running, unknown, done, failed, collapsed, stopped or
    cancelled; `job`: the last job that it belongs to. Times are seconds since 1970."""

    arm: str
    seed: int
    state: str
    epoch: int = 0
    epochs: int = 0
    eta_s: float | None = None
    started: float | None = None
    heartbeat: float | None = None
    ended: float | None = None
    val_loss: float | None = None
    cause: str | None = None
    place: str | None = None
    job: str | None = None

    @property
    def folder(self) -> Path | None:
        """Where the run lies. Made when asked for: ten thousand paths cost a tenth of a second."""
        return None if self.place is None else Path(self.place)


class Status(BaseModel):
    """What a row needs of status.json."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    state: str
    arm: str
    seed: int
    epoch: int | None = None
    epochs: int | None = None
    pid: int | None = None
    pid_started: float | None = None
    started: float | None = None
    ended: float | None = None
    heartbeat: float | None = None
    val_loss: float | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Found:
    place: str
    status: Status

    @property
    def folder(self) -> Path:
        return Path(self.place)


_Key = tuple[int, int, int]
_read: dict[str, tuple[_Key, Status | None]] = {}


def run_rows(root: Path, jobs: Sequence[Job] | None = None) -> tuple[RunRow, ...]:
    """Every arm and seed, sorted. `jobs`: those of `study.launch.jobs`, read again when None."""
    root = Path(root)
    if jobs is None:
        from study.launch.api import jobs as read_jobs

        jobs = read_jobs(root)
    live, collected = _live(root), _collected(root)
    last = {(job.arm, seed): job for job in jobs for seed in job.seeds}
    working = [job for job in jobs if not job.over]
    rows = {}
    for key in live.keys() | collected.keys() | last.keys():
        job = last.get(key)
        found = _newest(root, live.get(key, []), collected.get(key))
        rows[key] = _row(key, found, job)
    for job in working:
        rows.update(_working_rows(root, job, live))
    return tuple(rows[key] for key in sorted(rows))


def live_now(root: Path) -> bool:
    """Whether a run stamped its folder within the last minute and says that it runs."""
    since = time.time() - SILENT_S
    for place in _run_folders(root / "work"):
        try:
            fresh = os.stat(f"{place}/{STATUS}").st_mtime > since  # noqa: PTH116  (thousands)
        except OSError:
            continue
        status = _status(place) if fresh else None
        if (
            status is not None
            and status.state == "running"
            and alive(status.pid, status.pid_started)
        ):
            return True
    return False


# --- the files --------------------------------------------------------------------------------


def _live(root: Path) -> dict[tuple[str, int], list[Found]]:
    found: dict[tuple[str, int], list[Found]] = {}
    for place in _run_folders(root / "work"):
        status = _status(place)
        if status is not None:
            found.setdefault((status.arm, status.seed), []).append(Found(place, status))
    return found


def _collected(root: Path) -> dict[tuple[str, int], Found]:
    found = {}
    for arm in _folders(root / "runs"):
        for place in _run_folders(arm):
            status = _status(place)
            if status is not None:
                # The folder says whose run it is.
                found[os.path.basename(arm), status.seed] = Found(place, status)  # noqa: PTH119
    return found


def _folders(folder: Path | str) -> Iterable[str]:
    """Names with their folder, as text: making paths of thousands costs more than reading them."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.name[0] != "."]
    except OSError:
        return []


def _run_folders(folder: Path | str) -> Iterable[str]:
    return (place for place in _folders(folder) if not place.endswith(".lock"))


def _status(place: str) -> Status | None:
    """Parsed once for every state of the file; None when it is absent, torn or something else."""
    name = f"{place}/{STATUS}"
    try:
        facts = os.stat(name)  # noqa: PTH116  (ten thousand of them)
        key = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        known = _read.get(name)
        if known is None or known[0] != key:
            known = _read[name] = (key, _parsed(name))
    except OSError:
        _read.pop(name, None)
        return None
    return known[1]


def _parsed(name: str) -> Status | None:
    try:
        with open(name, "rb") as stream:  # noqa: PTH123
            return Status.model_validate_json(stream.read())
    except ValidationError:
        return None


def _newest(root: Path, live: Sequence[Found], collected: Found | None) -> Found | None:
    """The collected run, unless a live one was at work after it was collected."""
    newest = max(live, key=lambda found: found.status.started or 0.0, default=None)
    if newest is None or collected is None:
        return newest or collected
    try:
        since = collected.folder.parent.stat().st_mtime
    except OSError:  # it is being collected anew, or checked out
        return newest
    return newest if (newest.status.heartbeat or 0.0) > since else collected


# --- the rows ---------------------------------------------------------------------------------


def _row(key: tuple[str, int], found: Found | None, job: Job | None) -> RunRow:
    row = RunRow(*key, state="stopped") if found is None else _told(*key, found, job)
    if job is None:
        return row
    row = replace(row, job=job.id)
    return _job_end(row, job) if job.state in ("failed", "cancelled") else row


def _told(arm: str, seed: int, found: Found, job: Job | None) -> RunRow:
    """The row as the run folder tells it."""
    status = found.status
    row = RunRow(
        arm,
        seed,
        state=NAMES.get(status.state, status.state),
        epoch=status.epoch or 0,
        epochs=status.epochs or 0,
        started=status.started,
        heartbeat=status.heartbeat,
        ended=status.ended if status.state != "running" else None,
        val_loss=status.val_loss,
        cause=status.cause,
        place=found.place,
    )
    return _at_work(row, status, job) if status.state == "running" else row


def _at_work(row: RunRow, status: Status, job: Job | None) -> RunRow:
    """A run that says it runs: does it?"""
    away = job is not None and job.executor != "local" and not job.over  # on another machine
    if not away and not alive(status.pid, status.pid_started):
        return replace(row, state="stopped", cause="its process is gone; resume or retry it")
    if time.time() - (status.heartbeat or 0.0) > SILENT_S:
        since = time.strftime("%H:%M", time.localtime(status.heartbeat or 0.0))
        return replace(row, state="unknown", cause=f"no heartbeat since {since}")
    return replace(row, eta_s=_eta(row))


def _eta(row: RunRow) -> float | None:
    """Seconds left, from the time that the last epochs took."""
    if row.folder is None or not row.epoch:
        return None
    try:
        with (row.folder / "history.csv").open(newline="") as stream:
            took = [float(line["seconds"]) for line in csv.DictReader(stream)][-LAST_EPOCHS:]
    except (OSError, KeyError, ValueError, TypeError):
        return None
    return sum(took) / len(took) * (row.epochs - row.epoch) if took else None


def _job_end(row: RunRow, job: Job) -> RunRow:
    """A job that ended badly explains a run that did not end, or never began."""
    if row.folder is None:
        state = "cancelled" if job.state == "cancelled" else "stopped"
        return replace(row, state=state, cause=job.cause, ended=job.ended)
    if row.state == "stopped" and (row.heartbeat or 0.0) <= (job.ended or 0.0):
        return replace(row, cause=job.cause)
    return row


def _working_rows(
    root: Path, job: Job, live: dict[tuple[str, int], list[Found]]
) -> dict[tuple[str, int], RunRow]:
    """The seeds of a job at work: what their folders of today's settings say, else queued."""
    try:
        origin = origin_of(root, job.arm)
    except (UserError, OSError):
        origin = None
    scheduled = seen(root, job.id) if job.executor != "local" else None
    rows = {}
    for seed in job.seeds:
        found = _current(origin, seed, live.get((job.arm, seed), []))
        told = RunRow(job.arm, seed, state="queued", cause=job.note)
        if found is not None:
            told = _told(job.arm, seed, found, job)
        told = replace(told, job=job.id)
        ended = told.state in ("stopped", "cancelled")
        if ended and (told.ended or 0.0) <= (job.started or time.time()):
            told = replace(told, state="queued", cause=job.note, ended=None)  # it will go on
        rows[job.arm, seed] = _scheduled(told, scheduled.of(seed) if scheduled else None)
    return rows


def _scheduled(row: RunRow, task: SeenTask | None) -> RunRow:
    """The row of a seed that a scheduler has: why it waits, or where it runs."""
    if task is None or row.state in ("done", "failed", "collapsed", "unknown"):
        return row
    if task.waits:
        return replace(row, state="queued", cause=task.words, eta_s=None, ended=None)
    return replace(row, state="running", cause=task.words, ended=None) if task.runs else row


def _current(origin: Origin | None, seed: int, live: Sequence[Found]) -> Found | None:
    folder = origin.live(seed) if origin is not None else None
    if origin is None or folder is None:
        return None
    found = next((one for one in live if one.folder.name == folder.path.name), None)
    if found is None and origin.collected(seed):
        place = str(origin.root / "runs" / origin.arm / f"s{seed}")
        status = _status(place)
        return Found(place, status) if status is not None else None
    return found
