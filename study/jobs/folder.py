"""The files of work/launch, which are validated when they are read.

requests/<id>.json   written by the app and the command line, read by the supervisor
refused/             invalid requests, each with a file that gives the reason
jobs/<id>.json       written by the supervisor only; <id>.log is what the job printed
supervisor.json, supervisor.lock, supervisor.log, requests.lock
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from filelock import BaseFileLock
from pydantic import BaseModel, ValidationError

from study.jobs.models import JOB_ID, Job, Request, Supervisor
from study.reading import parse_json
from study.runs import write_json, write_text
from study.runs.links import lock_at, make_folder
from study.runs.reread import Reread
from study.settings import UserError, explain

LARGEST_BYTES = 65536  # a request or a job has a few hundred
Checked = TypeVar("Checked", bound=BaseModel)


class JobFolder:
    """The folder work/launch of one pipeline folder (`root`)."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self.path = self.root / "work" / "launch"
        self.requests = self.path / "requests"
        self.refused = self.path / "refused"
        self.jobs = self.path / "jobs"
        self.state = self.path / "supervisor.json"
        self.lock = self.path / "supervisor.lock"
        self.log = self.path / "supervisor.log"

    def request_lock(self) -> BaseFileLock:
        """Lock held while a request is written, and while the supervisor decides to end.

        Raises OSError, and UserError for a link that leads out of the checkout.
        """
        return lock_at(self.path / "requests.lock")

    def job_file(self, job_id: str) -> Path:
        """Raises UserError for invalid ids, such as paths."""
        return self.jobs / f"{checked_id(job_id)}.json"

    def job_log(self, job_id: str) -> Path:
        return self.jobs / f"{checked_id(job_id)}.log"

    # -- writing

    def write_request(self, request: Request) -> None:
        write_json(self.requests / f"{request.id}.json", request.model_dump())

    def save(self, job: Job) -> None:
        write_json(self.job_file(job.id), job.model_dump())

    def announce(self, supervisor: Supervisor) -> None:
        write_json(self.state, supervisor.model_dump())

    def refuse(self, path: Path, sentence: str) -> None:
        """Move an invalid request to refused/, with a file that gives the reason."""
        make_folder(self.refused)
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", path.name)[:100].lstrip(".") or "unnamed"
        target = self.refused / f"{time.time_ns()}-{stem}"
        write_text(target.with_name(f"{target.name}.txt"), f"{sentence}\n")
        path.rename(target.with_name(f"{target.name}.request"))

    # -- reading

    def pending(self) -> Iterator[tuple[Path, Request | str]]:
        """Every file in requests/, oldest name first: the request, or why it is invalid."""
        for path in _entries(self.requests):
            try:
                request = read_checked(path, Request)
                if path.name != f"{request.id}.json":
                    raise UserError(f"{path.name!r} holds the request {request.id!r}")
                yield path, request
            except FileNotFoundError:
                continue  # the supervisor has just read and removed it
            except UserError as error:
                yield path, f"request refused: {error}"

    def job_list(self) -> list[Job]:
        """Every readable job, oldest first; other files are skipped."""
        paths = [path for path in _entries(self.jobs) if path.suffix == ".json"]
        found = [(path.stem, cached(path, Job)) for path in paths]
        return [job for name, job in found if job is not None and job.id == name]

    def known_jobs(self) -> tuple[Job, ...]:
        """Every job, oldest first, including requests that the supervisor has not read yet."""
        # First the requests: the supervisor writes a job before it removes the request, so a
        # request that it reads meanwhile is seen at least once.
        waiting = list(self.pending())
        found = {job.id: job for job in self.job_list()}
        for _, request in waiting:
            if isinstance(request, str):
                continue
            if request.kind == "start" and request.id not in found:
                found[request.id] = Job.model_validate(
                    request.model_dump(include={"id", "arm", "seeds", "executor", "created"})
                )
            job = found.get(request.job or "")
            if job is not None and request.kind == "cancel" and not job.over:
                found[job.id] = job.but(cancel=True, note="stopping")
            if job is not None and request.kind == "retry" and job.over:
                found[job.id] = job.but(state="queued", cause=None, ended=None)
        return tuple(sorted(found.values(), key=lambda job: job.id))

    def supervisor(self) -> Supervisor | None:
        return cached(self.state, Supervisor)


def checked_id(job_id: str) -> str:
    """The id. Raises UserError unless `new_id` could have made it."""
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        raise UserError(f"{job_id!r:.100} is not a job; `study runs` lists them")
    return job_id


def read_checked(path: Path, model: type[Checked]) -> Checked:
    """The content of a JSON file. Raises UserError for anything else. Only small regular files are
    opened: a link may lead out of the folder, and reading a pipe would not end.
    """
    facts = path.lstat()
    if not stat.S_ISREG(facts.st_mode):
        raise UserError(f"{path.name!r} is not a regular file")
    if facts.st_size > LARGEST_BYTES:
        raise UserError(f"{path.name!r} has {facts.st_size} bytes; accepted: {LARGEST_BYTES}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name!r} cannot be read: {error.strerror}") from None
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        given = parse_json(content, repr(path.name))
        raise UserError(f"{path.name!r}: {explain(error, given, '', model)}") from None


_once: dict[type[BaseModel], Reread[Any]] = {}


def cached(path: Path, model: type[Checked]) -> Checked | None:
    """`read_checked`, once for every state of the file; None when absent or broken."""
    read = _once.setdefault(model, Reread(partial(_readable, model=model)))
    try:
        return read(path)
    except OSError:
        return None


def _readable(path: Path, model: type[Checked]) -> Checked | None:
    try:
        return read_checked(path, model)
    except UserError:
        return None


def _entries(folder: Path) -> list[Path]:
    """Names in a folder, sorted, without files that are still being written (`.x.tmp`)."""
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if not name.startswith(".")]
