"""The one way to start a child process: an argument list, never a shell, and nothing to type into.

`run` waits for a short command and captures what it prints. `start` returns at once; the child gets
a session of its own, so that no signal to our terminal or process group reaches it and `os.killpg`
ends it with its children.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, overload

Stream = int | IO[Any] | None


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
    command: Sequence[str], root: Path | None = None, *, text: Literal[False]
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
    """Run a command in `root` to its end, whatever its exit code.

    `show` leaves its output on the screen. `environment` replaces ours. Raises FileNotFoundError
    where there is no such program, and subprocess.TimeoutExpired after `limit_s`.
    """
    return subprocess.run(
        command,
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=not show,
        text=text,
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

    `out`, `err`: an open file, subprocess.PIPE or subprocess.DEVNULL; by default errors go where
    the output goes. `options`: further ones of `subprocess.Popen`, such as `pass_fds` or `text`.
    """
    defaults = {"stdin": subprocess.DEVNULL, "start_new_session": True}
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=out, stderr=err, **(defaults | options)
    )
