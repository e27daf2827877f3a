"""Pull from the app: a detached `study pull` that writes its progress to a file.

    work/pull/<id>.json     names, state, phase, done and total objects, size, lines, cause
    work/pull/<id>.log      what the command printed

A reload or a second browser reads the same file; the pull continues if the app is killed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from study.artifacts.outputs import chosen, place
from study.reading import read_end, read_mapping
from study.runs import children, start_time, write_json
from study.runs import process_alive as alive
from study.runs.links import open_log
from study.settings import UserError

ID = re.compile(r"[0-9]{10}-[0-9a-f]{8}")
FOLDER = Path("work/pull")
LOG_BYTES = 65536
ENDED = ("finished", "failed", "cancelled")
# Kept until they end, to avoid zombies and warnings of subprocess.
_STARTED: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Pull:
    """One pull, from its status file."""

    id: str
    names: tuple[str, ...]
    state: str  # queued, running, finished, failed, cancelled
    phase: str  # connecting, moving, placing, over
    done: int
    total: int  # objects
    size: int  # bytes of everything asked for
    lines: tuple[str, ...]
    cause: str | None

    @property
    def over(self) -> bool:
        return self.state in ENDED


def start_pull(root: Path, names: tuple[str, ...]) -> str:
    """Start pulling these outputs (without names: all of this pipeline); returns the id of the
    pull. Raises UserError for a name that dvc.lock does not record, before anything starts.
    """
    top, pipeline = place(root)
    found = [item for item in chosen(top, pipeline, tuple(names), False) if item.push]
    pull_id = f"{int(time.time()):010d}-{uuid.uuid4().hex[:8]}"
    file = _file(root, pull_id)
    command = [sys.executable, "-m", "study", "pull", *names, "--status", str(file)]
    with open_log(file.with_suffix(".log"), truncate=True) as log:
        marked = {**os.environ, children.MARK: str(file)}
        process = children.start(command, root, log, environment=marked)
    _STARTED[:] = [process, *(earlier for earlier in _STARTED if earlier.poll() is None)]
    if not file.is_file():
        _announce(file, process.pid, [item.name for item in found])
    return pull_id


def read_pull(root: Path, pull_id: str) -> Pull:
    """The present state of the pull. Raises UserError for an unknown id."""
    content = _content(root, pull_id)
    state, cause = str(content.get("state")), content.get("cause")
    if state not in ENDED and not alive(content.get("pid"), content.get("pid_started")):
        state = "failed"
        cause = f"it ended without a message: {_last_words(root, pull_id)}"
    return Pull(
        id=pull_id,
        names=_texts(content.get("names")),
        state=state,
        phase=str(content.get("phase")),
        done=_count(content.get("done")),
        total=_count(content.get("total")),
        size=_count(content.get("size")),
        lines=_texts(content.get("lines")),
        cause=None if cause is None else str(cause),
    )


def _content(root: Path, pull_id: str) -> Mapping[str, Any]:
    content = read_mapping(_file(root, pull_id))
    if content is None:
        raise UserError(f"no pull {pull_id!r} in {FOLDER}")
    return content


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _count(value: Any) -> int:
    return max(0, int(value)) if isinstance(value, (int, float)) else 0


def pulls(root: Path) -> list[Pull]:
    """Every pull of this folder, the newest first."""
    files = sorted((Path(root) / FOLDER).glob("*.json"), reverse=True)
    return [pull for file in files if (pull := _readable(root, file.stem)) is not None]


def _readable(root: Path, pull_id: str) -> Pull | None:
    """The pull; None where its file is damaged, which hides only this pull."""
    try:
        return read_pull(root, pull_id)
    except UserError:
        return None


def cancel_pull(root: Path, pull_id: str) -> None:
    """End a running pull. Downloaded objects stay in the cache; no output is placed partially.
    Raises UserError for an unknown id; nothing happens for a pull that has ended.
    """
    content = _content(root, pull_id)
    if content.get("state") not in ENDED:
        mark = str(_file(root, pull_id))
        children.terminate(content.get("pid"), content.get("pid_started"), mark)


def _announce(file: Path, pid: int, names: list[str]) -> None:
    try:
        started = start_time(psutil.Process(pid))
    except psutil.NoSuchProcess:
        started = 0.0
    first = {"names": names, "state": "queued", "phase": "connecting"}
    write_json(file, {**first, "pid": pid, "pid_started": started, "heartbeat": time.time()})


def _last_words(root: Path, pull_id: str) -> str:
    log = _file(root, pull_id).with_suffix(".log")
    lines = read_end(log, LOG_BYTES).strip().splitlines()
    return lines[-1] if lines else "nothing was printed; pull again"


def _file(root: Path, pull_id: str) -> Path:
    if not ID.fullmatch(pull_id):
        raise UserError(f"{pull_id!r} is not an id of a pull")
    return (Path(root) / FOLDER / f"{pull_id}.json").resolve()
