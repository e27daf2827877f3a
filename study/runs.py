"""The run folder: the one place where a run's state lives, and the one way to write it.

    work/<hash>/                live, ignored by git and DVC; collected as runs/<arm>/s<seed>/
        params.yaml             effective settings, echoed from live objects
        environment.json        commit, dirty, versions, device
        status.json             state, epoch, heartbeat, pid and start time, cause
        history.csv             one row an epoch
        events.jsonl            what happened, one object a line
        log.txt
        best.pt, last.pt        weights; checkpoint.pt (optimiser state) only while unfinished
        object_best.npz, object_last.npz
        diagnostics/

Files are written whole: temporary name, fsync, rename. Logs grow by whole lines, and readers
tolerate a torn last one. A folder exists from second 0, so that a failed run is a row with a cause.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

STATES = ("queued", "running", "finished", "failed", "cancelled", "collapsed", "stopped")
# `failed` is a result too: the loss became NaN, say. What a user can mend ends as `stopped`.
SETTLED = ("finished", "failed", "collapsed")
HEARTBEAT_S = 10.0


# --- whole files ------------------------------------------------------------------------------


def write_whole(path: Path, write: Callable[[Any], None]) -> None:
    """Write `path` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Sorted, indented JSON; NaN and infinities are written as null."""
    write_text(path, json.dumps(plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_npz(path: Path, **arrays: Any) -> None:
    """Uncompressed npz of plain arrays (no pickle). The bytes depend on the arrays alone."""
    import numpy as np  # here, as most who look at run folders never touch an array

    write_whole(path, lambda stream: np.savez(stream, allow_pickle=False, **arrays))


def write_yaml(path: Path, value: Any) -> None:
    from ruamel.yaml import YAML

    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(plain(value), stream)
    write_text(path, stream.getvalue())


def plain(value: Any) -> Any:
    """JSON-able copy: numpy values to lists and numbers, paths to text, non-finite to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def read_json(path: Path) -> Any:
    """Content of a JSON file, or None when it is absent or torn."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def append_line(path: Path, line: str) -> None:
    """Add one whole line in a single write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        stream.write(line.rstrip("\n").encode() + b"\n")


def read_lines(path: Path) -> list[str]:
    """Whole lines of a log; a torn last line is left out."""
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.split("\n")[:-1]


# --- the folder -------------------------------------------------------------------------------


class RunFolder:
    """One run's folder. Making the object writes nothing; `start` does."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.best = self.path / "best.pt"
        self.last = self.path / "last.pt"
        self.checkpoint = self.path / "checkpoint.pt"
        self.history_file = self.path / "history.csv"
        self.events_file = self.path / "events.jsonl"
        self.diagnostics = self.path / "diagnostics"
        self._lock = threading.Lock()

    def object_file(self, checkpoint: str) -> Path:
        """Reconstruction made with the weights of `checkpoint`: best or last."""
        return self.path / f"object_{checkpoint}.npz"

    # -- status

    def status(self) -> dict[str, Any]:
        return read_json(self.path / "status.json") or {}

    def update_status(self, **changes: Any) -> None:
        """Merge `changes` into status.json and stamp the heartbeat."""
        with self._lock:
            now = {**self.status(), **changes, "heartbeat": time.time()}
            write_json(self.path / "status.json", now)

    def start(self, arm: str, seed: int, epochs: int, manifest: Mapping[str, Any]) -> None:
        """Announce the run: state running, this process, and the hashes it started from."""
        process = psutil.Process()
        self.update_status(
            state="running",
            arm=arm,
            seed=seed,
            epochs=epochs,
            pid=process.pid,
            pid_started=process.create_time(),
            started=self.status().get("started", time.time()),
            cause=None,
            manifest=dict(manifest),
        )

    def finish(self, state: str, cause: str | None = None, **extra: Any) -> None:
        """Write the last state. Raises ValueError for an unknown one."""
        if state not in STATES:
            raise ValueError(f"state is {state!r}; accepted: {', '.join(STATES)}")
        self.update_status(state=state, cause=cause, ended=time.time(), **extra)

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to do: a diverged run is a result, a stopped one is not."""
        return self.status().get("state") in SETTLED

    def alive(self) -> bool:
        """Whether the process that announced itself in status.json still runs."""
        status = self.status()
        with contextlib.suppress(psutil.NoSuchProcess, KeyError, TypeError):
            process = psutil.Process(status["pid"])
            return abs(process.create_time() - status["pid_started"]) < 1.0
        return False

    @contextlib.contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Stamp status.json every 10 s by the clock while the body runs."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT_S):
                # A full disk is the trainer's to report; it may have room again at the next beat.
                with contextlib.suppress(OSError):
                    self.update_status()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # -- logs

    def event(self, kind: str, **facts: Any) -> None:
        line = json.dumps(plain({"time": time.time(), "kind": kind, **facts}), allow_nan=False)
        append_line(self.events_file, line)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in read_lines(self.events_file)]

    def log(self, text: str) -> None:
        append_line(self.path / "log.txt", f"{time.strftime('%H:%M:%S')} {text}")

    def write_history(self, rows: list[Mapping[str, Any]]) -> None:
        """All epochs so far, whole: a resumed run must not repeat or lose a row."""
        import pandas

        write_text(self.history_file, pandas.DataFrame(rows).to_csv(index=False))

    def history(self) -> Any:
        """history.csv as a data frame; empty when there is none yet."""
        import pandas

        exists = self.history_file.is_file()
        return pandas.read_csv(self.history_file) if exists else pandas.DataFrame()
