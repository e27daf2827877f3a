"""Run a program in a separate process and measure its time and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Cost:
    """Wall time, CPU time (user and system), and peak resident memory of a program."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def environment() -> dict[str, str]:
    """The environment of this process, with PYTHONPATH set to this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def study(*arguments: str) -> list[str]:
    """A `study` command line, with the executable next to this Python interpreter."""
    return [str(Path(sys.executable).with_name("study")), *arguments]


def run(command: Sequence[str], folder: Path) -> Cost:
    """Run `command` in `folder` and return its cost; raises CalledProcessError if it fails.

    On Linux the peak memory of a program includes that of the process that starts it, so call this
    from a process with little memory.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, list(command), said)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)
