"""Send one request to the process that accesses a remote, with a deadline for the first answer.

The deadline is enforced here and not in the libraries, since asyncssh, botocore and httpx differ in
their timeouts and retries, and not all of these can be set.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from study.artifacts.errors import SLOW
from study.artifacts.store import check_config
from study.runs import children
from study.settings import UserError

START_S = 120.0  # importing DVC and a client, on a slow disk
WAIT_S = 8.0  # with a start of 3 to 5 s, an error message comes within 15 s
PLACE = "ARMATURE_REMOTE_WAIT_S"

NO_REMOTE = (
    "none is configured. `make setup` creates an embedded one, `study remote add NAME URL` "
    "adds yours, and `make repro` computes everything here without any"
)


class NoRemote(UserError):
    """No remote is configured at all."""


def ask(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Events of the request, one by one; closing the iterator ends the process. Raises UserError
    with the reason if the request fails, NoRemote without a remote.
    """
    if not (Path(request["top"]) / ".dvc").is_dir():
        raise NoRemote(NO_REMOTE)  # not a folder of DVC
    check_config(Path(request["top"]))
    with tempfile.TemporaryFile() as errors, _started(errors, request["top"]) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        name = where = ""
        patience: float | None = START_S
        while True:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                raise UserError(_slow(name, where, patience or 0.0)) from None
            if not line:
                raise UserError(_crash(errors))
            event = json.loads(line)
            if event["event"] == "refused":
                raise (
                    NoRemote(NO_REMOTE)
                    if event["cause"] == "no remote"
                    else UserError(event["cause"])
                )
            if event["event"] == "done":
                return
            if event["event"] == "ready":
                name, where, patience = event["name"], event["where"], wait_s()
            if event["event"] == "reached":
                patience = None
            yield event


def wait_s() -> float:
    """Seconds until a remote must have answered. Raises UserError if the setting is not a
    number."""
    given = os.environ.get(PLACE, "")
    if not given:
        return WAIT_S
    try:
        return max(1.0, float(given))
    except ValueError:
        raise UserError(f"{PLACE} is {given!r}; accepted: seconds, such as 60") from None


@contextlib.contextmanager
def _started(errors: Any, top: str) -> Iterator[subprocess.Popen[str]]:
    """Start the process in its own session: it cannot prompt for a password, and we can end it."""
    command = (sys.executable, "-m", "study.artifacts.remote_worker")
    # DVC names stages relative to its working folder.
    process = children.start(
        command, Path(top), subprocess.PIPE, err=errors, stdin=subprocess.PIPE, text=True
    )
    try:
        with ended_by_sigterm():
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


class Cancelled(BaseException):
    """SIGTERM was received; not a subclass of Exception, so that `except Exception` does not catch
    it."""


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the other process is ended too."""

    def stop(*_: object) -> None:
        raise Cancelled

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _read(stream: Iterable[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _slow(name: str, where: str, patience: float) -> str:
    if not where:
        return f"DVC did not start within {patience:.0f} s; is the disk of .venv slow?"
    return f"remote {name!r} " + SLOW.format(message=f"{patience:.0f}", where=where)


def _crash(errors: Any) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines() or ["no output"]
    kind, _, message = lines[-1].partition(": ")
    return (
        f"the transfer ended unexpectedly ({message or kind:.300}). Run it again; if that does not "
        "help, restore dvc.lock and the .dvc files (`git status` names those that differ), and "
        "check that `dvc status` works here"
    )
