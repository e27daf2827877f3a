"""One row per known arm and seed of this folder, from the run folders and the jobs.

States are read from status.json in the folder of a running run in work/, or in the collected folder
in runs/<arm>, whose start and end are in provenance/. Files are read again only if they have
changed, so that thousands of runs cost one `stat` call each.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError

from study.jobs.folder import JobFolder
from study.jobs.models import Job
from study.jobs.processes import alive
from study.jobs.slurm_snapshot import SnapshotTask, read_snapshot
from study.reading import read_bytes, read_text
from study.runs import provenance
from study.runs.identity import RunIdentity, identity_of, study_of
from study.runs.reread import Reread
from study.runs.status import Progress
from study.settings import Arm, UserError
from study.settings.base import Seed

SILENT_S = 60.0  # clocks may differ or be set: a time this far in the future counts as no heartbeat
LAST_EPOCHS = 5
STATUS = "status.json"
NAMES = {"finished": "done"}
NOT_STARTED = "not started"
GONE = "its process is gone (killed, or the machine was restarted)"
GOES_ON = "its job will start it again from its checkpoint"
UNSERVED = "no supervisor is running; `study resume` starts one"


@dataclass(frozen=True)
class RunRow:
    """One seed of one arm. `state`: queued, running, unknown, done, failed, collapsed, stopped,
    cancelled or not started (`not_started` only); `job`: the last job that it belongs to. Times are
    seconds since 1970."""

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
        """Folder of the run, computed on demand: ten thousand paths would take a tenth of a
        second."""
        return None if self.place is None else Path(self.place)


class Status(Progress):
    """The fields of status.json that a row needs."""

    model_config = ConfigDict(extra="ignore")
    state: str
    arm: str
    seed: Seed


@dataclass(frozen=True)
class Found:
    place: str
    status: Status

    @property
    def folder(self) -> Path:
        return Path(self.place)


def run_rows(root: Path, jobs: Sequence[Job] | None = None) -> tuple[RunRow, ...]:
    """Every arm and seed, sorted. `jobs`: those of `study.jobs.jobs`, read again if None."""
    root = Path(root)
    if jobs is None:
        jobs = JobFolder(root).known_jobs()
    live, collected = _live(root), _collected(root)
    last = {(job.arm, seed): job for job in jobs for seed in job.seeds}
    working = [job for job in jobs if not job.over]
    served = bool(working) and _served(root)
    rows = {}
    for key in live.keys() | collected.keys() | last.keys():
        job = last.get(key)
        found = _newest(root, live.get(key, []), collected.get(key))
        rows[key] = _row(key, found, job)
    for job in working:
        rows.update(_working_rows(root, job, live, served))
    return tuple(rows[key] for key in sorted(rows))


def not_started(root: Path, rows: Sequence[RunRow]) -> tuple[RunRow, ...]:
    """The seeds of params.yaml without a run or job in `rows` and without a result in git.

    Raises UserError when params.yaml cannot be read.
    """
    known = {(row.arm, row.seed) for row in rows}
    found = []
    for arm, row in study_of(root).arms.items():
        scored = {path.stem for path in (Path(root) / "results" / arm / "seeds").glob("s*.json")}
        epochs = row.epochs if isinstance(row, Arm) else 0
        found += [
            RunRow(arm, seed, state=NOT_STARTED, epochs=epochs)
            for seed in row.seeds
            if (arm, seed) not in known and f"s{seed}" not in scored
        ]
    return tuple(found)


def _served(root: Path) -> bool:
    """Whether a supervisor is running."""
    word = JobFolder(root).supervisor()
    return word is not None and word.running and alive(word.pid, word.pid_started)


def live_now(root: Path) -> bool:
    """Whether a run is *running* with a heartbeat within the last minute."""
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
                # The folder name gives arm and seed.
                name = os.path.basename(arm)  # noqa: PTH119
                if status.started is None:
                    file = f"{root}/{provenance.FOLDER}/{name}/s{status.seed}.json"
                    status = status.model_copy(update=_once(_provenance, file) or {})
                found[name, status.seed] = Found(place, status)
    return found


def _folders(folder: Path | str) -> Iterable[str]:
    """Names with their folder, as text: making thousands of Path objects costs more than listing
    them."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.name[0] != "."]
    except OSError:
        return []


def _run_folders(folder: Path | str) -> Iterable[str]:
    return (place for place in _folders(folder) if not place.endswith(".lock"))


def _status(place: str) -> Status | None:
    return _once(_statuses, f"{place}/{STATUS}")


def _once(read: Reread[Any], name: str) -> Any:
    """None if the file is absent, incomplete or not a status."""
    try:
        return read(name)
    except OSError:
        return None


def _parsed(name: str) -> Status | None:
    try:
        return Status.model_validate_json(read_bytes(name))
    except (ValidationError, UserError):
        return None


def _dates(name: str) -> dict[str, float] | None:
    """`started` and `ended` of a collected run, from its provenance."""
    try:
        known = provenance.read_provenance(Path(name))
        dates = {} if known is None else {"started": known.started, "ended": known.ended}
        return {
            key: datetime.fromisoformat(date).timestamp() for key, date in dates.items() if date
        }
    except (UserError, ValueError):
        return None


_statuses, _provenance = Reread(_parsed), Reread(_dates)


def _newest(root: Path, live: Sequence[Found], collected: Found | None) -> Found | None:
    """The collected run, unless a run in work/ is newer."""
    newest = max(live, key=lambda found: found.status.started or 0.0, default=None)
    if newest is None or collected is None:
        return newest or collected
    try:
        since = collected.folder.parent.stat().st_mtime
    except OSError:  # it is just being collected again or checked out
        return newest
    return newest if _after(newest, since, collected) else collected


def _after(live: Found, since: float, collected: Found) -> bool:
    """Whether a run in work/ was active after `since`, when the other was collected. A time in the
    future is ignored, since that clock was set back.
    """
    limit, status = time.time() + SILENT_S, live.status
    if status.state == "running" and alive(status.pid, status.pid_started):
        return True
    beat = status.heartbeat or 0.0
    if beat > limit:
        return False
    return beat > (since if since < limit else collected.status.heartbeat or 0.0)


# --- the rows ---------------------------------------------------------------------------------


def _row(key: tuple[str, int], found: Found | None, job: Job | None) -> RunRow:
    row = RunRow(*key, state="stopped") if found is None else _row_of(*key, found, job)
    if job is None:
        return row
    row = replace(row, job=job.id)
    return _job_end(row, job) if job.state in ("failed", "cancelled") else row


def _row_of(arm: str, seed: int, found: Found, job: Job | None) -> RunRow:
    """The row from the run folder."""
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
    """Whether a run with the state *running* is really running."""
    away = job is not None and job.executor != "local" and not job.over  # on another machine
    if not away and not alive(status.pid, status.pid_started):
        return replace(row, state="stopped", cause=GONE)
    if abs(silent := time.time() - (status.heartbeat or 0.0)) > SILENT_S:
        clock = time.strftime("%H:%M", time.localtime(status.heartbeat or 0.0))
        cause = f"no heartbeat since {clock}"
        if silent < 0:
            cause = (
                f"its last heartbeat is in the future, {clock}: a clock is wrong or was set back"
            )
        return replace(row, state="unknown", cause=cause)
    return replace(row, eta_s=_eta(row))


LONGEST_S = 1e9


def _eta(row: RunRow) -> float | None:
    """Seconds left, estimated from the last epochs."""
    if row.folder is None or not row.epoch:
        return None
    try:
        text = read_text(row.folder / "timing.csv")
        took = [float(line["seconds"]) for line in csv.DictReader(io.StringIO(text))][-LAST_EPOCHS:]
    except (OSError, UserError, csv.Error, KeyError, ValueError, TypeError):
        return None
    left = sum(took) / len(took) * (row.epochs - row.epoch) if took else -1.0
    return left if 0 <= left < LONGEST_S else None  # comparisons with NaN are false too


def _job_end(row: RunRow, job: Job) -> RunRow:
    """The row of a run that did not start or end, with the cause of its failed job."""
    if row.folder is None:
        state = "cancelled" if job.state == "cancelled" else "stopped"
        return replace(row, state=state, cause=job.cause, ended=job.ended)
    if row.state == "stopped" and (row.heartbeat or 0.0) <= (job.ended or 0.0):
        return replace(row, cause=job.cause)
    return row


def _working_rows(
    root: Path, job: Job, live: dict[tuple[str, int], list[Found]], served: bool
) -> dict[tuple[str, int], RunRow]:
    """The seeds of an active job: the state of their folders for the present settings, else queued.

    `served`: whether a supervisor is running.
    """
    try:
        origin = identity_of(root, job.arm)
    except (UserError, OSError):
        origin = None
    scheduled = read_snapshot(root, job.id) if job.executor != "local" else None
    note = job.note if served else UNSERVED
    rows = {}
    for seed in job.seeds:
        found = _current(origin, seed, live.get((job.arm, seed), []))
        row = RunRow(job.arm, seed, state="queued", cause=note)
        if found is not None:
            row = _row_of(job.arm, seed, found, job)
        row = replace(row, job=job.id)
        if row.state in ("stopped", "cancelled"):
            if found is not None and _died(row, found.status, job):
                after = GOES_ON if served else UNSERVED
                causes = (row.cause, None if job.cancel else after)
                row = replace(row, cause="; ".join(filter(None, causes)))
            else:  # stopped earlier; its job will continue this run
                row = replace(row, state="queued", cause=note, ended=None)
        rows[job.arm, seed] = _scheduled(row, scheduled.of(seed) if scheduled else None)
    return rows


def _died(row: RunRow, status: Status, job: Job) -> bool:
    """Whether a run of an active job ended in its current attempt without being settled."""
    if job.state != "running":
        return False
    if status.state == "running":  # but its process is gone
        return True
    return (row.ended or 0.0) > (job.started or time.time())


def _scheduled(row: RunRow, task: SnapshotTask | None) -> RunRow:
    """The row of a seed that is in Slurm: why it waits, or where it runs."""
    if task is None or row.state in ("done", "failed", "collapsed", "unknown"):
        return row
    if task.waits:
        return replace(row, state="queued", cause=task.words, eta_s=None, ended=None)
    return replace(row, state="running", cause=task.words, ended=None) if task.runs else row


def _current(origin: RunIdentity | None, seed: int, live: Sequence[Found]) -> Found | None:
    folder = origin.live(seed) if origin is not None else None
    if origin is None or folder is None:
        return None
    found = next((one for one in live if one.folder.name == folder.path.name), None)
    if found is None and origin.collected(seed):
        place = str(origin.root / "runs" / origin.arm / f"s{seed}")
        status = _status(place)
        return Found(place, status) if status is not None else None
    return found
