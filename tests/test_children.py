"""A stored process number ends a child that we started, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from study.runs import children, process_alive, start_time

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    marked = {**os.environ, children.MARK: "ours"}
    process = children.start(SLEEP, tmp_path, subprocess.DEVNULL, environment=marked)
    yield process
    process.kill()
    process.wait()


def started(pid: int) -> float:
    return start_time(psutil.Process(pid))


def test_a_marked_child_ends(child: subprocess.Popen[bytes]) -> None:
    while psutil.Process(child.pid).environ().get(children.MARK) is None:
        time.sleep(0.01)  # before exec it shows our environment
    children.terminate(child.pid, started(child.pid), "ours")
    assert child.wait(20) < 0


def test_any_other_process_is_left_alone(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("a signal was sent"))
    for pid in (1, 0, -1, True, "1", None, 1.5, 2**80, os.getpid(), child.pid):
        real = type(pid) is int and 0 < pid < 2**22
        for since in (started(pid) if real else 1.0, 1, None):
            children.terminate(pid, since, "another mark")
    children.terminate(child.pid, started(child.pid) - 100.0, "ours")  # the number was given again
    assert child.poll() is None


def test_a_zombie_does_not_run() -> None:
    """A child that ended and that its parent has not waited for keeps its number and start time."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    try:
        since = started(pid)
        assert process_alive(pid, since)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # ended, and still not waited for
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert started(pid) == since and not process_alive(pid, since)
    finally:
        os.waitpid(pid, 0)


def test_output_that_is_not_utf8_is_kept() -> None:
    written = ["-c", "import os; os.write(1, b'x\\xff')"]
    done: Any = children.run([sys.executable, *written])
    assert os.fsencode(done.stdout) == b"x\xff"
