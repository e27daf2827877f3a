"""Start child processes, always with an argument list, without a shell and without input.

`run` waits for a short command and captures its output. `start` returns at once; the child gets its
own session, so that signals to our terminal or process group do not reach it. `terminate` ends it
with its children. A stored process id is not trusted: the process must carry the mark that its
parent put into its environment, so that a damaged file cannot end another process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, overload

import psutil

Stream = int | IO[Any] | None
MARK = "ARMATURE_CHILD"


@overload
def run(
    command: Sequence[str],
    root: Path | None = None,
    *,
    text: Literal[True] = True,
    show: bool = False,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> subprocess.CompletedProcess[str]: ...


@overload
def run(
    command: Sequence[str],
    root: Path | None = None,
    *,
    text: Literal[False],
    limit_s: float | None = None,
) -> subprocess.CompletedProcess[bytes]: ...


def run(
    command: Sequence[str],
    root: Path | None = None,
    *,
    text: bool = True,
    show: bool = False,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> subprocess.CompletedProcess[Any]:
    """Run a command in `root` to its end, whatever its exit code. `show`: do not capture its
    output. `environment` replaces ours. Raises FileNotFoundError if there is no such program,
    and subprocess.TimeoutExpired after `limit_s`.
    """
    return subprocess.run(
        command,
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=not show,
        text=text,
        errors="surrogateescape" if text else None,  # file names need not be UTF-8
        check=False,
        env=environment,
        timeout=limit_s,
    )


def start(
    command: Sequence[str],
    root: Path,
    out: Stream,
    *,
    err: Stream = subprocess.STDOUT,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[Any]:
    """Start a command in `root` and return at once. Raises OSError.

    `out`, `err`: an open file, subprocess.PIPE or subprocess.DEVNULL; by default errors go to the
    output. `options`: further options of `subprocess.Popen`, such as `pass_fds` or `text`.
    """
    defaults = {"stdin": subprocess.DEVNULL, "start_new_session": True}
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=out, stderr=err, **(defaults | options)
    )


def terminate(pid: Any, started: Any, mark: str) -> None:
    """Send SIGTERM to a child of `start` and to its own children.

    `pid` and `started` (`study.runs.start_time`) may come from a damaged file: nothing happens
    unless the process leads its own session and has `mark` as `MARK` in its environment.
    """
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 1:
        return
    if not process_alive(pid, started):
        return
    with contextlib.suppress(OSError, psutil.Error):
        if psutil.Process(pid).environ().get(MARK) == mark and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGTERM)


# --- whether a process still runs -------------------------------------------------------------


def start_time(process: psutil.Process) -> float:
    """Start time of a process, independent of later changes of the clock. On Linux it is in seconds
    since boot, because the time since 1970 is computed from a boot time that changes with the
    clock. Raises psutil.Error.
    """
    created = process.create_time()
    return created - psutil.boot_time() if sys.platform == "linux" else created


def process_alive(pid: Any, started: Any) -> bool:
    """Whether process `pid`, started at `started` (`start_time`), still runs; a zombie does not."""
    if not isinstance(pid, int) or not isinstance(started, (int, float)):
        return False
    try:
        process = psutil.Process(pid)
        # Files of earlier versions hold seconds since 1970.
        same = any(abs(t - started) < 1.0 for t in (start_time(process), process.create_time()))
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False
