"""`python -m study.jobs ROOT`: start the supervisor of a pipeline folder, detached.

This process takes the lock, passes it to a second process in its own session (`--serve LOCK`, the
file descriptor), and ends at once, so that its caller does not wait. Exit code 0: a supervisor is
running. Exit code 2: it could not be started, and the reason is printed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

from study.jobs.folder import JobFolder
from study.reading import UserError
from study.runs import children
from study.runs.links import make_folder, open_log, refuse_links
from study.terminal import clean

SERVE = "--serve"
TAKE_S = 2.0  # another process may hold the lock for a moment, to test it


def take(folder: JobFolder) -> int | None:
    """Descriptor of the lock, or None when another supervisor holds it.

    Raises OSError, and UserError for a link that leads out of the checkout.
    """
    refuse_links(folder.lock)
    make_folder(folder.path)
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + TAKE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        time.sleep(0.02)
    os.close(descriptor)
    return None


def begin(root: Path) -> int:
    """Start the second process. Returns the exit code."""
    folder = JobFolder(root)
    try:
        lock = take(folder)
        if lock is None:
            return 0
        with open_log(folder.log) as log:
            words = ("-m", "study.jobs", str(folder.root), SERVE, str(lock))
            child = children.start((sys.executable, *words), folder.root, log, pass_fds=(lock,))
        child.returncode = 0  # its end is not awaited
    except OSError as error:
        sys.stderr.write(clean(f"{folder.path}: {error.strerror or error}\n"))
        return 2
    except UserError as error:
        sys.stderr.write(clean(f"{error}\n"))
        return 2
    return 0


def serve(root: Path, lock: int) -> None:
    from study.jobs.supervisor import Loop

    # Commands started by the supervisor must not inherit the lock.
    os.set_inheritable(lock, False)
    Loop(root).run(leave=lambda: os.close(lock))


if __name__ == "__main__":
    root, *role = sys.argv[1:]
    if role and role[0] == SERVE:
        serve(Path(root), int(role[1]))
    else:
        raise SystemExit(begin(Path(root)))
