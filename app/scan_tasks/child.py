"""`python -m app.scan_tasks.child FOLDER TASK`: run one task of a scan in a separate process.

`look` calls the importer; other tasks run the `study` command stored with the task. When a scan is
refused, only the error message is kept: the child itself deletes the upload, so this does not
depend on an open page.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from app.scan_tasks import work
from study.runs.links import open_log

ERROR_LINES = 12


def main(folder: Path, task: str) -> int:
    """Run one task and return its exit code (0 finished, 2 refused, others failed)."""
    return _look(folder) if task == "look" else _run(folder, task)


def _look(folder: Path) -> int:
    from app.scan_tasks import importer
    from study.reading import read_mapping
    from study.settings import UserError
    from study.terminal import describe

    request = importer.Request.read(read_mapping(folder / "request.json") or {})
    # A scan that was already read is kept when a later mask is refused.
    first = not (folder / importer.READ).is_file()
    cause = "the scan could not be read; see the log of the app"
    try:
        facts = importer.look(folder, request)
        (folder / importer.READ).touch()
        work.end(folder, "look", "finished", None, facts)
        return 0
    except UserError as error:
        cause = str(error)
    except OSError as error:
        cause = describe(error)
    except MemoryError:
        cause = "the scan needs more memory than is available; crop or bin it"
    finally:
        if work.read_task(folder, "look").state != "finished":
            if first:
                work.forget_all(folder)
            else:
                work.forget(folder, ("mask",))
    work.end(folder, "look", "refused", cause)
    return 2


def _run(folder: Path, task: str) -> int:
    command = work.read_task(folder, task).command
    with open_log(folder / f"{task}.out", truncate=True) as out:
        done = subprocess.run(
            [sys.executable, "-m", "study", *command], stdout=out, stdin=subprocess.DEVNULL
        )
    if done.returncode == 0:
        if task == "import":
            work.forget(folder)  # imported/NAME contains the data
        work.end(folder, task, "finished", None, work.printed(folder, task))
        return 0
    lines = (folder / f"{task}.log").read_text(errors="replace").strip().splitlines()
    cause = "\n".join(line for line in lines[-ERROR_LINES:] if not work.STEP.search(line))
    state = "refused" if done.returncode == 2 else "failed"
    work.end(folder, task, state, cause or f"it ended with exit code {done.returncode}")
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2]))
