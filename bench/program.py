"""One program in a process of its own: its seconds, and the most memory it held."""

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
    """Seconds by the clock, seconds of user and system CPU, and the peak resident memory."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def environment() -> dict[str, str]:
    """That of this process, with the code of this checkout first."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def study(*arguments: str) -> list[str]:
    """The `study` command beside this interpreter."""
    return [str(Path(sys.executable).with_name("study")), *arguments]


def run(command: Sequence[str], folder: Path) -> Cost:
    """Run `command` in `folder` to its end; raises CalledProcessError when it fails.

    Linux counts the memory of the process that starts a program into the program's peak, so call
    this from a small one.
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
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)
