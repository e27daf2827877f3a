"""Background jobs, run by a supervisor: one detached process per pipeline folder.

    submit cancel retry resume               send a request to the supervisor
    jobs run_rows active supervisor_state    read the current state

Training runs in a separate process, with the same command as in dvc.yaml. All state is in files
under work/launch and in the run folders, so any process may be killed at any moment.
"""

from study.jobs.api import (
    active,
    cancel,
    check_idle,
    check_start,
    find_job,
    jobs,
    read_only,
    resume,
    retry,
    submit,
    supervisor_state,
)
from study.jobs.executors import ready
from study.jobs.models import Job
from study.jobs.rows import RunRow, not_started, run_rows

__all__ = [
    "Job",
    "RunRow",
    "active",
    "cancel",
    "check_idle",
    "check_start",
    "find_job",
    "jobs",
    "not_started",
    "read_only",
    "ready",
    "resume",
    "retry",
    "run_rows",
    "submit",
    "supervisor_state",
]
