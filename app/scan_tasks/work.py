"""Folders of scans in progress and the child processes that work on them.

    work/scans/ID/request.json      input of the importer (importer.Request)
    work/scans/ID/TASK.json         pid, start time and command of the child
    work/scans/ID/TASK.end.json     state, cause and facts, written once at the end
    work/scans/ID/TASK.log          log of the child
    work/scans/ID/KIND/FILE         uploads

Only the user who runs the app can read these folders. Tasks (look, import, reconstruct) survive a
reload of the page, a second browser window and the end of the app.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import BaseModel, ValidationError

from app.scan_tasks.importer import MASK, MEAN, READ, READINGS, Request
from study.jobs.processes import alive
from study.reading import parse_json, read_end, read_mapping, read_text
from study.runs import children, start_time, write_json
from study.runs.links import make_folder, open_log
from study.settings import UserError, check_name, explain

ID = re.compile(r"[0-9]{10}-[0-9a-f]{8}")
FOLDER = Path("work/scans")
TASKS = ("look", "import", "reconstruct")
KINDS = ("scan", "probe", "positions", "mask")  # subfolders of uploads
MOST_AT_WORK = 2
KEPT_S, REFUSED_S = 7 * 86400.0, 3600.0
LOG_BYTES = 65536
STARTING_S = 10.0  # longest time until the pid of a child is stored
STEP = re.compile(r"(\d+) of (\d+)")
CODE = Path(__file__).parents[2]
# Children are kept here until they end, so that none becomes a zombie.
_STARTED: list[subprocess.Popen[bytes]] = []


class Reading(BaseModel):
    """One possible reading of an ambiguous scan. `misfit`: None if it is not finite."""

    misfit: float | None
    options: str


class Facts(BaseModel):
    """Results of a task: fields up to `why` are from `look`, the rest from `study reconstruct`."""

    patterns: int = 0
    n: int = 0
    masked: int = 0
    statements: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    why: str = ""
    checkpoint: str = "last"
    epoch: int | None = None
    source: str = "rpie"
    r_factor_fitted: float | None = None
    r_factor_held_out: float | None = None
    r_factor_held_out_refined: float | None = None
    shift_px_median: float | None = None
    seconds: float | None = None


class _End(BaseModel):
    """Content of TASK.end.json."""

    state: Literal["finished", "refused", "failed", "stopped"]
    cause: str | None
    facts: Facts


@dataclass(frozen=True)
class Task:
    """The state of a task: none, running, finished, refused, failed or stopped.

    `done`, `total`: completed and total steps, 0 if unknown. `seconds`: run time so far.
    """

    name: str
    state: str
    cause: str | None = None
    facts: Facts = field(default_factory=Facts)
    command: Sequence[str] = ()
    done: int = 0
    total: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Scan:
    """A scan in progress. `uploaded`: whether its file was uploaded (and is in the folder)."""

    id: str
    folder: Path
    name: str
    uploaded: bool
    request: Request
    imported: str | None

    def task(self, name: str) -> Task:
        return read_task(self.folder, name)


def create(root: Path, name: str) -> Path:
    """Create a private folder for a scan; old folders without running tasks are removed."""
    parent = root / FOLDER
    make_folder(parent)
    _sweep(parent)
    folder = parent / f"{int(time.time()):010d}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o700)
    write_json(folder / "scan.json", {"name": name})
    return folder


def _sweep(parent: Path) -> None:
    """Remove old scans: after 7 days, or after an hour if they were never read successfully."""
    for folder in parent.iterdir():
        if not ID.fullmatch(folder.name) or folder.is_symlink():
            continue
        age = time.time() - folder.stat().st_mtime
        most = KEPT_S if (folder / READ).exists() else REFUSED_S
        at_work = any(read_task(folder, task).state == "running" for task in TASKS)
        if age > most and not at_work:
            shutil.rmtree(folder, ignore_errors=True)


def save(folder: Path, request: Request, uploaded: bool) -> None:
    """Store the input of the importer."""
    write_json(folder / "request.json", {**asdict(request), "uploaded": uploaded})


def note_import(folder: Path, name: str) -> None:
    """Store the name under which the scan is imported."""
    content = read_mapping(folder / "scan.json") or {}
    write_json(folder / "scan.json", {**content, "imported": name})


def read(root: Path, scan_id: str) -> Scan:
    """Read a scan. Raises UserError if the id is invalid, the folder was removed, or its files are
    damaged."""
    folder = root / FOLDER / scan_id
    if not ID.fullmatch(scan_id) or not (folder / "request.json").is_file():
        raise UserError(f"scan {scan_id[:40]!r} does not exist here; choose a file again")
    content = read_mapping(folder / "request.json") or {}
    about = read_mapping(folder / "scan.json") or {}
    imported = about.get("imported")
    return Scan(
        scan_id,
        folder,
        str(about.get("name")),
        bool(content.get("uploaded")),
        Request.read(content),
        None if imported is None else check_name(str(imported)),
    )


def every(root: Path) -> list[Scan]:
    """All scans in progress, newest first; damaged ones are skipped."""
    found = []
    for file in sorted((root / FOLDER).glob("*/request.json"), reverse=True):
        with contextlib.suppress(UserError):
            found.append(read(root, file.parent.name))
    return found


def remove(folder: Path) -> None:
    """Stop all tasks of a scan and delete its folder."""
    for task in TASKS:
        stop(folder, task)
    shutil.rmtree(folder, ignore_errors=True)


def forget(folder: Path, kinds: Sequence[str] = KINDS) -> None:
    """Delete the uploaded files of these kinds."""
    for kind in kinds:
        shutil.rmtree(folder / kind, ignore_errors=True)


def forget_all(folder: Path) -> None:
    """Delete the uploads and everything computed from them, such as the mean pattern."""
    forget(folder)
    for name in (MEAN, READINGS, MASK):
        (folder / name).unlink(missing_ok=True)


# --- child processes --------------------------------------------------------------------------


def start(root: Path, folder: Path, task: str, command: Sequence[str] = ()) -> None:
    """Start a child for a task. Raises UserError if this task or two others are running."""
    at_work = sum(scan.task(one).state == "running" for scan in every(root) for one in TASKS)
    if read_task(folder, task).state == "running" or at_work >= MOST_AT_WORK:
        raise UserError(
            f"{at_work} scans are being processed (at most {MOST_AT_WORK} at a time); wait or stop "
            "one"
        )
    for kind in ("json", "end.json", "out"):
        (folder / f"{task}.{kind}").unlink(missing_ok=True)
    write_json(folder / f"{task}.json", {"command": list(command), "since": time.time()})
    environment = {**os.environ, "PYTHONPATH": str(CODE), "PYTHONUNBUFFERED": "1"}
    environment[children.MARK] = _mark(folder, task)
    environment["PATH"] = os.pathsep.join(
        (str(Path(sys.executable).parent), environment.get("PATH", os.defpath))
    )
    with open_log(folder / f"{task}.log", truncate=True) as log:
        words = [sys.executable, "-m", "app.scan_tasks.child", str(folder.resolve()), task]
        try:
            process = children.start(words, root, log, environment=environment)
        except OSError as error:
            end(folder, task, "failed", f"it could not be started: {error.strerror}")
            return
    _STARTED[:] = [process, *(earlier for earlier in _STARTED if earlier.poll() is None)]
    started = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        started = start_time(psutil.Process(process.pid))
    facts = {"command": list(command), "pid": process.pid, "pid_started": started}
    write_json(folder / f"{task}.json", {**facts, "since": time.time()})


def stop(folder: Path, task: str) -> None:
    """Stop a running child and its descendants; files that were completely written are kept."""
    content = read_mapping(folder / f"{task}.json") or {}
    if read_task(folder, task).state != "running":
        return
    children.terminate(content.get("pid"), content.get("pid_started"), _mark(folder, task))
    end(folder, task, "stopped", "stopped by you")


def _mark(folder: Path, task: str) -> str:
    return str(folder.resolve() / task)


def end(folder: Path, task: str, state: str, cause: str | None, facts: object = None) -> None:
    """Record how a task ended; only the first call has an effect."""
    file = folder / f"{task}.end.json"
    if not file.is_file():
        write_json(file, {"state": state, "cause": cause, "facts": facts or {}})


def read_task(folder: Path, task: str) -> Task:
    """The current state of a task."""
    try:
        content = read_mapping(folder / f"{task}.json")
        ended = read_mapping(folder / f"{task}.end.json")
    except UserError as error:
        return Task(task, "failed", str(error))
    if content is None:
        return Task(task, "none")
    return _ended(folder, task, content, ended) or _at_work(folder, task, content)


def _ended(
    folder: Path, task: str, content: Mapping[str, Any], ended: Mapping[str, Any] | None
) -> Task | None:
    if ended is None:
        return None
    try:
        end = _End.model_validate(ended)
    except ValidationError as error:
        given = f"{folder / f'{task}.end.json'} is damaged: {explain(error, ended, '', _End)}"
        return Task(task, "failed", f"{given}; remove the scan and choose the file again")
    return Task(task, end.state, end.cause, end.facts, _command(content))


def _command(content: Mapping[str, Any]) -> tuple[str, ...]:
    words = content.get("command")
    return tuple(map(str, words)) if isinstance(words, list) else ()


def _at_work(folder: Path, task: str, content: Mapping[str, Any]) -> Task:
    since = content.get("since")
    seconds = max(0.0, time.time() - since) if isinstance(since, (int, float)) else 0.0
    starting = "pid" not in content and seconds < STARTING_S
    if not starting and not alive(content.get("pid"), content.get("pid_started")):
        return Task(task, "failed", f"it ended without a message: {last_line(folder, task)}")
    steps = STEP.findall(_log(folder, task)[-2000:])
    done, total = map(int, steps[-1]) if steps else (0, 0)
    return Task(task, "running", None, Facts(), _command(content), done, total, seconds)


def _log(folder: Path, task: str) -> str:
    """The last `LOG_BYTES` of a task's log."""
    return read_end(folder / f"{task}.log", LOG_BYTES)


def last_line(folder: Path, task: str) -> str:
    """The last line that a task printed."""
    lines = _log(folder, task).strip().splitlines()
    return lines[-1][:300] if lines else "nothing was printed"


def printed(folder: Path, task: str) -> dict[str, Any]:
    """The JSON object that a command printed; {} if it did not print one."""
    file = folder / f"{task}.out"
    try:
        content = parse_json(read_text(file).strip().splitlines()[-1], file)
    except (OSError, UserError, IndexError):
        return {}
    return content if isinstance(content, dict) else {}
