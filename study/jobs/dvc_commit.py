"""The DVC commands of a job: the data before training, the commit and the scores after it.

They run one at a time, as processes of their job. A command that finds a lock of DVC taken is tried
again later. No command is started while a foreign DVC command runs, because ours would make it
fail.
"""

from __future__ import annotations

import io
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
from filelock import BaseFileLock, Timeout

from study.artifacts import dvc_yaml
from study.jobs import processes
from study.jobs.folder import JobFolder
from study.jobs.models import Job
from study.reading import parse_yaml, read_end, read_text
from study.runs import read_json, write_text
from study.runs.links import lock_at
from study.settings import UserError

AGAIN_AFTER_S = 2.0
LOG_BYTES = 65536
BUSY = ("Unable to acquire lock", "is busy, it is being blocked by")


def commands(root: Path, job: Job) -> dict[str, list[str]]:
    """The DVC commands that record a trained arm: stage name and arguments of `dvc`.

    The findings are a stage of the root study only.
    """
    steps = {
        f"train@{job.arm}": ["commit", "-f", f"train@{job.arm}"],
        f"evaluate@{job.arm}": ["repro", "-s", f"evaluate@{job.arm}"],
    }
    if "findings" in stage_names(root):
        steps["findings"] = ["repro", "-s", "findings"]
    return steps


def stage_names(root: Path) -> set[str]:
    """The stages of a folder's dvc.yaml. Raises UserError when it cannot be read."""
    names = set(dvc_yaml.declared(root))
    if not names:
        raise UserError(f"{root / 'dvc.yaml'} names no stages")
    return names


@dataclass
class Step:
    """One running DVC command of one job."""

    job: str
    name: str
    child: Popen[bytes]
    log: Path
    offset: int
    lock: BaseFileLock
    started: float = field(default_factory=time.monotonic)

    def output(self) -> str:
        return tail(self.log, self.offset)

    @property
    def busy(self) -> bool:
        """Whether the command ended because another DVC command holds a lock."""
        text = self.output()
        return any(sign in text for sign in BUSY)


def begin(root: Path, job: Job, name: str, words: list[str]) -> Step | str:
    """Start a DVC command, or return the reason why it must wait. Raises OSError."""
    other = other_dvc(root)
    if other is not None:
        return f"waiting for `{other[1]}` (process {other[0]}) to end"
    # The lock under which runs/<arm> is collected (`study.runs.collect`).
    lock = lock_at(root / "runs" / f".{job.arm}.lock", timeout_s=0)
    try:
        lock.acquire()
    except Timeout:
        return f"waiting for another training of {job.arm} to collect its runs"
    log = JobFolder(root).job_log(job.id)
    offset = log.stat().st_size if log.exists() else 0
    try:
        child = processes.start(
            root, job, [sys.executable, "-m", "study.artifacts.listings", *words]
        )
    except BaseException:
        lock.release()
        raise
    return Step(job.id, name, child, log, offset, lock)


def other_dvc(root: Path) -> tuple[int, str] | None:
    """A running DVC command on stages of this repository: process id and command."""
    held = read_json(dvc_folder(root) / "tmp" / "rwlock")
    if not isinstance(held, dict):
        return None
    writing, reading = held.get("write"), held.get("read")
    holders: list[Any] = list(writing.values()) if isinstance(writing, dict) else []
    several = reading.values() if isinstance(reading, dict) else ()
    holders += [one for some in several if isinstance(some, list) for one in some]
    for holder in holders:
        pid = holder.get("pid") if isinstance(holder, dict) else None
        if isinstance(pid, int) and 0 < pid < 2**31 and psutil.pid_exists(pid):
            words = str(holder.get("cmd", "dvc")).split()
            return int(holder["pid"]), " ".join(
                [Path(words[0]).name, *words[1:]]
            ) if words else "dvc"
    return None


def dvc_folder(root: Path) -> Path:
    """The `.dvc` of the repository that holds `root`."""
    folders = (folder / ".dvc" for folder in (root, *root.parents))
    return next((folder for folder in folders if folder.is_dir()), root / ".dvc")


def tail(log: Path, offset: int) -> str:
    """The text added to a log since `offset`, at most its last 64 KiB."""
    return read_end(log, LOG_BYTES, offset)


def last_output(log: Path) -> str:
    """The output of the last command in the log of a job; its first line names the command."""
    return tail(log, 0).rpartition("--- ")[2].partition("\n")[2]


def forget(root: Path, stage: str) -> None:
    """Remove a stage from dvc.lock, so that the next `dvc repro` runs it."""
    from ruamel.yaml import YAML

    path, stream = root / "dvc.lock", io.StringIO()
    content = parse_yaml(read_text(path), path, typ="rt")
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise UserError(f"{path} holds no stages; restore it with `git checkout -- {path}`")
    content["stages"].pop(stage, None)
    YAML().dump(content, stream)
    write_text(path, stream.getvalue())


def last_words(text: str, code: int | None) -> str:
    """Why a command failed, from its output: our message, DVC's message, or the name of an
    error."""
    if code is not None and code < 0:
        return f"it was killed by signal {-code}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[:3] != "---"]
    ours = [line.removeprefix("study: ") for line in lines if line.startswith("study: ")]
    theirs = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    errors = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception)\b.*: ", line)]
    if ours and "exit code" in ours[-1] and errors:
        return f"{ours[-1]}; the error: {errors[-1]}"
    for found in (ours, theirs, errors, lines):
        if found:
            return found[-1]
    return "it printed nothing" if code is None else f"it printed nothing; exit code {code}"
