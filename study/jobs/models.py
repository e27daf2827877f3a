"""The files of work/launch: requests, jobs and the state of the supervisor, as frozen models.

A job is one arm with some or all of its seeds. Its id is that of its request and the name of its
file.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from study.runs.status import Pid, Time
from study.settings import NAME, Seed

JobState = Literal["queued", "preparing", "running", "committing", "done", "failed", "cancelled"]
OVER = ("done", "failed", "cancelled")
JOB_ID = re.compile(rf"[0-9]{{8}}-[0-9]{{6}}-[0-9]{{6}}-(?:{NAME.pattern})-[0-9a-f]{{4}}")

JobId = Annotated[str, Field(pattern=rf"^{JOB_ID.pattern}$")]
ArmName = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]
Number = Annotated[int, Field(ge=0)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Request(_File):
    """A user's request; only starts have `arm`, `seeds` and `executor`.

    `id` is the name of the request's file. A start becomes the job with this id; other requests
    name their `job`.
    """

    id: JobId
    kind: Literal["start", "cancel", "retry"]
    created: Time
    arm: ArmName | None = None
    seeds: Seeds | None = None
    executor: str | None = None
    job: JobId | None = None

    @model_validator(mode="after")
    def _whole(self) -> Request:
        starts = self.kind == "start"
        if starts and None in (self.arm, self.seeds, self.executor):
            raise ValueError("a start names arm, seeds and executor")
        if not starts and self.job is None:
            raise ValueError(f"a {self.kind} names its job")
        return self


class Place(_File):
    """The place where a job computes: `jobs` seeds in parallel on cores, or one GPU."""

    jobs: Annotated[int, Field(ge=1)] | None = None
    gpu: str | None = None


class Job(_File):
    """Background training of one arm. Times are seconds since 1970; None: not yet, or not known.

    `note`: what it is waiting for. `cause`: why it ended. `deaths`: how often it was killed since
    the last finished epoch. `progress`: epochs done over all its seeds. `settings`: hash of the
    settings with which it first started. `committed`: the DVC stages that contain its result.
    `cancel`: a stop was requested.
    """

    id: JobId
    arm: ArmName
    seeds: Seeds
    executor: str
    state: JobState = "queued"
    created: Time
    started: Time | None = None
    ended: Time | None = None
    note: str | None = None
    cause: str | None = None
    cancel: bool = False
    attempts: Number = 0
    deaths: Number = 0
    progress: Number = 0
    settings: str | None = None
    place: Place | None = None
    pid: Pid | None = None
    pid_started: Time | None = None
    committed: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        return self.state in OVER

    def but(self, **changes: object) -> Job:
        """A copy of the job with other values, validated."""
        return Job.model_validate({**self.model_dump(), **changes})


class Supervisor(_File):
    """supervisor.json: the supervisor of this folder. `trouble`: why it cannot continue."""

    pid: Pid
    pid_started: Time
    started: Time
    heartbeat: Time
    slots: str
    trouble: str | None = None
    running: bool = True


def new_id(arm: str) -> str:
    """A name for a job or request: UTC time to the microsecond, arm, random digits. The order of
    names is the order of time."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    clock = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return f"{clock}-{microseconds:06d}-{arm}-{secrets.token_hex(2)}"
