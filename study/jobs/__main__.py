"""`python -m study.jobs ROOT`: start the supervisor of a pipeline folder and let go of it.

This process takes the lock, hands it to a second one (`--serve LOCK`, its file descriptor) in a
session of its own, and ends at once: so nobody has to wait for the supervisor, and whoever started
it gets a plain answer. Exit code 0: a
supervisor serves the folder. 2: it cannot, and the reason is printed.
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

SERVE = "--serve"
TAKE_S = 2.0  # for a moment someone may only be looking whether the lock is held


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
        child.returncode = 0  # it is not waited for
    except OSError as error:
        sys.stderr.write(f"{folder.path}: {error.strerror or error}\n")
        return 2
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def serve(root: Path, lock: int) -> None:
    from study.jobs.supervisor import Loop

    # Its own commands must not hold the lock after it.
    os.set_inheritable(lock, False)
    Loop(root).run(leave=lambda: os.close(lock))


if __name__ == "__main__":
    root, *role = sys.argv[1:]
    if role and role[0] == SERVE:
        serve(Path(root), int(role[1]))
    else:
        raise SystemExit(begin(Path(root)))
