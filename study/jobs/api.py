"""The interface for the app and the command line: start, stop, continue, list.

Every function takes `root`, the pipeline folder, and returns without waiting for the work.
`submit`, `cancel` and `retry` write a request, which the supervisor reads within a second; `resume`
starts the supervisor. With
`ARMATURE_READ_ONLY=1` all functions that write raise UserError.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from study.jobs.executors import check_ready
from study.jobs.folder import JobFolder, checked_id
from study.jobs.models import Job, Request, Supervisor, new_id
from study.jobs.processes import alive
from study.jobs.rows import live_now, run_rows
from study.reading import open_regular
from study.runs import children
from study.runs.identity import study_of
from study.settings import UserError, find_row

READ_ONLY = "ARMATURE_READ_ONLY"
FORMER = "study.launch"  # former name of this package, which an earlier supervisor runs


def read_only() -> bool:
    return os.environ.get(READ_ONLY, "") not in ("", "0")


def submit(
    root: Path, arm: str, seeds: Sequence[int] | None = None, executor: str = "local"
) -> str:
    """Queue an arm (all or some of its seeds) and return the id of the job.

    Raises UserError for an unknown arm, seed or executor, if another job works on the arm, if a new
    claim on the arm cannot be decided, in read-only mode, and if work/launch cannot be written.
    """
    chosen = check_start(root, arm, seeds, executor)
    request = Request(
        id=new_id(arm), kind="start", created=time.time(), arm=arm, seeds=chosen, executor=executor
    )
    _submit_and_wake(root, request, arm)
    return request.id


def check_start(
    root: Path, arm: str, seeds: Sequence[int] | None = None, executor: str = "local"
) -> tuple[int, ...]:
    """The seeds that `submit` would start. Raises the same errors and writes nothing."""
    # Imports scipy, which status queries do not need.
    from study.evidence.decidability import refuse_undecidable

    check_writable()
    row = find_row(study_of(root), arm)
    chosen = tuple(dict.fromkeys(seeds)) if seeds else row.seeds
    unknown = sorted(set(chosen) - set(row.seeds))
    if unknown:
        raise UserError(f"arm {arm!r} has no seed {unknown[0]}; its seeds: {list(row.seeds)}")
    check_ready(Path(root), executor)
    check_alone(root, arm)
    refuse_undecidable(Path(root), [arm])
    return chosen


def check_alone(root: Path, arm: str) -> None:
    """Raise UserError if a job works on the arm."""
    for job in jobs(root):
        if job.arm == arm and not job.over:
            raise UserError(
                f"arm {arm!r} is {job.state} already, as job {job.id}; stop this job first or "
                "wait for it"
            )


def check_idle(root: Path, arm: str) -> None:
    """Raise UserError if a job or a manual run (`study train`, `dvc repro`) works on the arm.

    This includes runs without a heartbeat, whose process exists.
    """
    check_alone(root, arm)
    rows = [row for row in run_rows(root, jobs(root)) if row.arm == arm]
    if row := next((row for row in rows if row.state in ("running", "unknown")), None):
        raise UserError(
            f"seed {row.seed} of arm {arm!r} runs without a job, in {row.folder}; stop it first"
        )


def cancel(root: Path, job_id: str) -> None:
    """Stop a job: it writes a checkpoint and ends; SIGKILL after 20 s. Raises UserError if it is
    over."""
    check_writable()
    job = find_job(root, job_id)
    if job.over:
        raise UserError(f"{job_id} is already {job.state}; nothing to stop")
    request = Request(id=new_id(job.arm), kind="cancel", created=time.time(), job=job.id)
    _submit_and_wake(root, request, None)


def retry(root: Path, job_id: str) -> None:
    """Queue a failed or cancelled job again; it continues from its checkpoints.

    Raises UserError for a job in another state, and if another job works on the arm.
    """
    check_writable()
    job = find_job(root, job_id)
    if job.state not in ("failed", "cancelled"):
        raise UserError(f"{job_id} is {job.state}; only failed and cancelled jobs can be retried")
    request = Request(id=new_id(job.arm), kind="retry", created=time.time(), job=job.id)
    _submit_and_wake(root, request, job.arm)


def resume(root: Path) -> bool:
    """Start the supervisor if there are unfinished jobs; returns whether there are any."""
    check_writable()
    left = unfinished(root)
    if left:
        check_supervisor(root)
        ensure(root)
    return left


def unfinished(root: Path) -> bool:
    """Whether there is a request or a job that is not over."""
    folder = JobFolder(root)
    return any(True for _ in folder.pending()) or any(not job.over for job in folder.job_list())


def active(root: Path) -> bool:
    """Whether anything may change soon: a job, a request, or a manual run (`dvc repro`, `study
    train`) with a heartbeat within the last minute. Fast."""
    return unfinished(root) or live_now(Path(root))


def jobs(root: Path) -> tuple[Job, ...]:
    """Every job, oldest first, including requests that the supervisor has not read yet."""
    return JobFolder(root).known_jobs()


def find_job(root: Path, job_id: str) -> Job:
    """The job with this id. Raises UserError for an unknown id."""
    checked_id(job_id)
    found = next((job for job in jobs(root) if job.id == job_id), None)
    if found is None:
        raise UserError(f"no job {job_id!r}; `study runs` lists them")
    return found


def supervisor_state(root: Path) -> Supervisor | None:
    """Last report of the supervisor, `running` if its process exists; None: never started."""
    word = JobFolder(root).supervisor()
    if word is None:
        return None
    return word.model_copy(update={"running": word.running and alive(word.pid, word.pid_started)})


def ensure(root: Path) -> None:
    """Start a supervisor for `root` if none runs. Raises UserError when it cannot be started."""
    if _held(JobFolder(root).lock):
        return
    command = (sys.executable, "-m", "study.jobs", str(Path(root).resolve()))
    done = children.run(command, root)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"the supervisor cannot be started: {lines[-1]}")


def check_supervisor(root: Path) -> None:
    """Raise UserError if a supervisor of an earlier version is running: modules that it has not
    imported yet, and commands that it starts, have been renamed since."""
    word = supervisor_state(root)
    if word is None or not word.running:
        return
    with contextlib.suppress(psutil.Error):
        if FORMER in psutil.Process(word.pid).cmdline():
            raise UserError(
                f"the supervisor (process {word.pid}) runs an earlier version of the code; end it "
                f"with `kill {word.pid}` (the next supervisor continues its runs and jobs), then "
                "repeat the command"
            )


def check_writable() -> None:
    if read_only():
        raise UserError(f"read-only mode ({READ_ONLY} is set): jobs cannot be started or stopped")


def _submit_and_wake(root: Path, request: Request, alone: str | None) -> None:
    """Write a request, then make sure that a supervisor runs; `alone`: an arm that no other job may
    work on."""
    folder = JobFolder(root)
    check_supervisor(root)
    try:
        with folder.request_lock():
            if alone is not None:
                check_alone(root, alone)
            folder.write_request(request)
    except OSError as error:
        raise UserError(f"{folder.path} cannot be written: {error.strerror or error}") from None
    ensure(root)


def _held(lock: Path) -> bool:
    """Whether a supervisor holds its lock; the test takes a shared lock for a moment."""
    try:
        with open_regular(lock) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, UserError):
        return False
    return False
