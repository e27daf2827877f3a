"""The run folder: state and files of a run, and how they are written.

    work/<hash>/                live, ignored by git and DVC; collected as runs/<arm>/s<seed>/
        params.yaml             settings in effect, read from the live objects
        environment.json        commit, dirty, versions, device
        status.json             state, epoch, heartbeat, pid and start time, cause
        history.csv             one row per epoch
        timing.csv              seconds and memory, one row per epoch
        events.jsonl            what happened, one object per line
        log.txt
        best.pt, last.pt        weights; checkpoint.pt (optimiser state) only while unfinished
        object_best.npz, object_last.npz
        foreign_phase.json      correlations of the foreign-phase test, where the data has a phase
        diagnostics/

The collected copy holds only what follows from settings, data, seed and kind of processor; clocks,
machine and commit go to provenance/<arm>/s<seed>.json (study/runs/provenance.py).

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from study.reading import UserError, parse_json, read_bytes, read_mapping, read_table, read_text
from study.runs.children import process_alive, start_time
from study.runs.links import refuse_links
from study.runs.status import check_status
from study.runs.temporary import temporary_file

STATES = ("queued", "running", "finished", "failed", "cancelled", "collapsed", "stopped")
# `failed` is a result, such as a loss that became NaN. Errors that a user can fix end as `stopped`.
SETTLED = ("finished", "failed", "collapsed")
HEARTBEAT_S = 10.0
# Columns of an epoch's row that a clock or the machine decides: they go to timing.csv.
TIMING = ("seconds", "peak_memory_mib")


# --- whole files ------------------------------------------------------------------------------


def write_whole(path: Path, write: Callable[[Any], None]) -> None:
    """Write `path` so that a reader sees the old file or the new one, never a part."""
    with temporary_file(path) as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
        Path(stream.name).replace(path)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Sorted, indented JSON; NaN and infinities are written as null."""
    write_text(path, json.dumps(plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_npz(path: Path, **arrays: Any) -> None:
    """Uncompressed npz of plain arrays (no pickle). The bytes depend on the arrays only."""
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
    """Content of a JSON file, or None when it is absent or damaged.

    For readers that continue without the file; `study.reading.read_mapping` names a damaged one.
    """
    try:
        return parse_json(read_text(path), path)
    except (FileNotFoundError, UserError):
        return None


def append_line(path: Path, line: str) -> None:
    """Add one whole line in a single write. Raises UserError as `refuse_links` does."""
    refuse_links(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        stream.write(line.rstrip("\n").encode() + b"\n")


def read_lines(path: Path) -> list[str]:
    """Whole lines of a log; a torn last line is left out."""
    try:
        text = read_bytes(path).decode(errors="replace")
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
        self.timing_file = self.path / "timing.csv"
        self.events_file = self.path / "events.jsonl"
        self.diagnostics = self.path / "diagnostics"
        self._lock = threading.Lock()

    @property
    def limit_file(self) -> Path:
        """The Cramer-Rao bound of a row without reconstruction."""
        return self.path / "limit.json"

    def object_file(self, checkpoint: str) -> Path:
        """Reconstruction made with the weights of `checkpoint`: best or last."""
        return self.path / f"object_{checkpoint}.npz"

    @property
    def foreign_phase_file(self) -> Path:
        """Correlations of the foreign-phase test; absent where the network was not tested."""
        return self.path / "foreign_phase.json"

    # -- status

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    def status(self) -> dict[str, Any]:
        """Content of status.json; empty when it is absent or damaged."""
        try:
            return self.checked_status()
        except UserError:
            return {}

    def checked_status(self) -> dict[str, Any]:
        """Content of status.json; empty when it is absent. Raises UserError, which names the field,
        when it is damaged.
        """
        content = read_mapping(self.status_file) or {}
        check_status(content, self.status_file)
        return content

    def update_status(self, **changes: Any) -> None:
        """Merge `changes` into status.json and stamp the heartbeat."""
        with self._lock:
            now = {**self.status(), **changes, "heartbeat": time.time()}
            write_json(self.status_file, now)

    def start(self, arm: str, seed: int, epochs: int, origin: Mapping[str, Any]) -> None:
        """Announce the run: state running, this process, and its origin (settings and hashes),
        stored as `manifest`.

        Raises UserError when there is a status.json that cannot be read: it may be the record of a
        finished run.
        """
        self.checked_status()
        process = psutil.Process()
        self.update_status(
            state="running",
            arm=arm,
            seed=seed,
            epochs=epochs,
            pid=process.pid,
            pid_started=start_time(process),
            started=self.status().get("started", time.time()),
            cause=None,
            manifest=dict(origin),
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
        return process_alive(status.get("pid"), status.get("pid_started"))

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

    def log(self, text: str) -> None:
        append_line(self.path / "log.txt", f"{time.strftime('%H:%M:%S')} {text}")

    def write_history(self, rows: list[Mapping[str, Any]]) -> None:
        """All epochs so far, whole: a resumed run must not repeat or lose a row."""
        import pandas

        table = pandas.DataFrame(rows)
        timing = [column for column in TIMING if column in table]
        if timing:
            write_text(self.timing_file, table[["epoch", *timing]].to_csv(index=False))
        write_text(self.history_file, table.drop(columns=timing).to_csv(index=False))

    def history(self, needed: Sequence[str] = ()) -> Any:
        """history.csv as a data frame; empty when there is none yet. `needed`: columns that it must
        have beside `epoch`. Raises UserError."""
        return read_table(self.history_file, needed=("epoch", *needed))

    def timing(self) -> Any:
        """timing.csv as a data frame (`TIMING`: s, MiB); empty when there is none. Raises
        UserError."""
        # Runs of earlier versions have these columns in history.csv.
        file = self.timing_file if self.timing_file.is_file() else self.history_file
        return read_table(file, needed=("epoch",))
