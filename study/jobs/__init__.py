"""The supervisor: start arms, watch, cancel, resume, commit. One detached process per folder.

    submit cancel retry resume      ask for something
    jobs run_rows active supervisor_state      see what is going on

Training starts as a process of its own, the very command of dvc.yaml. The truth is in files under
work/launch and in the run folders; any process may be killed at any moment.
"""

from study.jobs.api import (
    active,
    cancel,
    check_idle,
    check_start,
    ensure,
    find_job,
    jobs,
    read_only,
    resume,
    retry,
    submit,
    supervisor_state,
)
from study.jobs.executors import ready
from study.jobs.models import Job, Supervisor
from study.jobs.rows import RunRow, not_started, run_rows

__all__ = [
    "Job",
    "RunRow",
    "Supervisor",
    "active",
    "cancel",
    "check_idle",
    "check_start",
    "ensure",
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
