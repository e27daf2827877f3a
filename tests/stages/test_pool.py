"""The processes of a training: how they end, and what is left when they cannot be started."""

from __future__ import annotations

import errno
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from study.params import Arm
from study.runs import RunFolder
from study.stages import pool


def jobs(control: Arm, root: Path, count: int) -> list[pool.Job]:
    return [
        pool.Job(root, "control", control, seed, root / f"{seed}", {}, False, 1)
        for seed in range(count)
    ]


def test_out_of_memory_is_a_result(
    control: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own MemoryError says nothing."""

    def load(folder: Path, limit_bytes: float) -> None:
        raise MemoryError

    monkeypatch.setattr(pool, "load_dataset", load)
    pool.run_all(jobs(control, tmp_path, 1), [None])
    status = RunFolder(tmp_path / "0").status()
    assert (status["state"], status["cause"]) == ("failed", "out of memory: MemoryError")


def test_a_process_that_cannot_be_started_leaves_none_behind(
    control: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: Path, limit_bytes: float) -> None:
        time.sleep(60)

    monkeypatch.setattr(pool, "load_dataset", load)
    process: Any = multiprocessing.get_context("fork").Process
    start, started = process.start, []

    def second_fails(self: Any) -> None:
        if started:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(self)
        start(self)

    monkeypatch.setattr(process, "start", second_fails)
    with pytest.raises(OSError, match="temporarily unavailable"):
        pool.run_all(jobs(control, tmp_path, 2), [None, None])
    assert [child.exitcode for child in started] == [130], "stopped, not killed"
    assert not multiprocessing.active_children()
