"""Run one `study` command many times, each time cut short at another file-system operation.

    python crash_server.py < orders.json > outcomes.json

A list of orders, each with `template` (a folder), `scratch` (an empty folder), `words` (the command
line), `fault` ("kill": SIGKILL; "full": the operation fails with ENOSPC; "interrupt": Ctrl-C) and
`points` (numbers of operations, from 1; null: all). An operation is whatever changes files or
starts a process, by Python's audit events, and every fsync; the fault comes before it.

The outcome of each point: exit code of the cut command, of the same command given again, and the
differences of the folder afterwards from that of an undisturbed command.
This is a process of its own because it forks: pytest's has threads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
          "subprocess.Popen"}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
TRACEBACK = 99


def changes_files(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return bool(int(arguments[2] or 0) & WRITES) and not str(arguments[0]).startswith("/dev/")
    return event in EVENTS


def count_operations(act: Callable[[int], None]) -> list[int]:
    """Call `act` with the number of every operation, before it; returns the count so far."""
    seen = [0]

    def step() -> None:
        seen[0] += 1
        act(seen[0])

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if changes_files(event, arguments):
            step()

    sys.addaudithook(hook)
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        step()
        sync(descriptor)

    os.fsync = fsync
    return seen


def strike(fault: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise KeyboardInterrupt


def run(folder: Path, words: list[str], fault: str | None, at: int) -> tuple[int, int]:
    """The command in a child; its exit code (negative: a signal) and its number of operations."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = TRACEBACK
        try:
            os.chdir(folder)
            log = os.open(folder.parent / f"{folder.name}.log", os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            seen = count_operations(lambda n: strike(fault) if fault and n == at else None)
            code = command(words)
            os.write(writer, str(seen[0]).encode())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    message = os.read(reader, 32).decode()
    os.close(reader)
    return os.waitstatus_to_exitcode(status), int(message or 0)


def command(words: list[str]) -> int:
    from study.cli import main

    sys.argv = ["study", *words]
    try:
        main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except KeyboardInterrupt:  # typer's, at the top of the command line
        return 3
    except BaseException:
        traceback.print_exc()
        return TRACEBACK
    return 0


def state(folder: Path) -> dict[str, str]:
    """Every file with its content, links as links; of git what was committed and what was not."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] == ".git" or path.suffix == ".lock":
            continue
        if path.is_symlink():
            found[str(name)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[str(name)] = "folder"
    if (folder / ".git").exists():
        for words in (("log", "--format=%s"), ("ls-tree", "-r", "HEAD"), ("status", "--porcelain")):
            done = subprocess.run(("git", *words), cwd=folder, capture_output=True, check=True)
            found[f"git {words[0]}"] = done.stdout.decode()
    return found


def import_all() -> None:
    """What the commands import: paid once, and no operation of theirs."""
    import study.editing.archive
    import study.editing.claiming
    import study.jobs
    import study.stages.estimate
    import study.training

    study.stages.estimate.takes()
    assert study.editing.archive and study.editing.claiming and study.jobs and study.training


def main() -> None:
    orders = json.load(sys.stdin)
    import_all()
    json.dump([carried_out(order) for order in orders], sys.stdout)


def carried_out(order: dict[str, Any]) -> dict[str, Any]:
    template, scratch = Path(order["template"]), Path(order["scratch"])
    words, fault = order["words"], order["fault"]

    def fresh(name: str) -> Path:
        return Path(shutil.copytree(template, scratch / name, symlinks=True))

    undisturbed = fresh("undisturbed")
    code, operations = run(undisturbed, words, None, 0)
    assert code == 0, (scratch / "undisturbed.log").read_text()
    wanted = state(undisturbed)
    points = order["points"] or range(1, operations + 1)
    outcomes = []
    for at in sorted({((point - 1) % operations) + 1 for point in points}):
        folder = fresh(f"{fault}{at}")
        cut, _ = run(folder, words, fault, at)
        again, _ = run(folder, words, None, 0)
        now = state(folder)
        differences = sorted(k for k in wanted.keys() | now.keys() if wanted.get(k) != now.get(k))
        log = (scratch / f"{folder.name}.log").read_text()
        outcomes.append({"at": at, "cut": cut, "again": again, "differences": differences,
                         "log": log[-2000:]})  # fmt: skip
        shutil.rmtree(folder)
    return {"operations": operations, "outcomes": outcomes}


if __name__ == "__main__":
    main()
