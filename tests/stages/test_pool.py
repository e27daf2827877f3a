"""The processes of a training: how they end, and what is left when they cannot be started."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from study.runs import RunFolder, read_json, write_json
from study.settings import Arm, UserError
from study.stages import pool


def jobs(control: Arm, root: Path, count: int) -> list[pool.SeedRun]:
    return [
        pool.SeedRun(root, "control", control, seed, root / f"{seed}", {}, False, 1)
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


class Ended:
    """A process that is over."""

    pid = 2**22 + 1

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def is_alive(self) -> bool:
        return False

    def join(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("before", "code", "state", "cause"),
    [
        ({"state": "running", "pid": Ended.pid}, -9, "stopped", "signal 9"),
        ({}, 1, "stopped", "exit code 1"),  # it could not even announce itself
        ({"state": "running", "pid": 1}, -9, "running", None),  # another process took it up
        ({"state": "stopped", "cause": "the disk is full"}, 2, "stopped", "disk"),
        ({"state": "failed", "cause": "loss is NaN"}, -9, "failed", "NaN"),
        ({"state": "finished"}, 0, "finished", None),
    ],
)
def test_how_a_process_ended_stands_in_its_run_folder(
    control: Arm, tmp_path: Path, before: dict[str, Any], code: int, state: str, cause: str | None
) -> None:
    [job] = jobs(control, tmp_path, 1)
    run = RunFolder(job.folder)
    if before:
        run.update_status(arm="control", seed=0, **before)
    ended: list[tuple[pool.SeedRun, int | None]] = []
    pool.reap({0: (job, Ended(code))}, ended)
    status = run.status()
    assert ended == [(job, code)] and (status["state"], status["seed"]) == (state, 0)
    assert (cause or "") in (status.get("cause") or "")


def test_a_killed_trainer_is_dead_with_its_cause_while_the_others_train(
    control: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: Path, limit_bytes: float) -> None:
        first = RunFolder(tmp_path / "0")
        if first.status()["pid"] == os.getpid():
            os.kill(os.getpid(), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while (message := first.status())["state"] == "running" and time.monotonic() < deadline:
            time.sleep(0.1)
        raise UserError(f"seed 0 is {message['state']}")

    def start_first(self: RunFolder, *facts: Any) -> None:
        if self.path.name == "1":  # only when the other one has announced itself
            while "pid" not in RunFolder(tmp_path / "0").status():
                time.sleep(0.1)
        start(self, *facts)

    start = RunFolder.start
    monkeypatch.setattr(RunFolder, "start", start_first)
    monkeypatch.setattr(pool, "load_dataset", load)
    with pytest.raises(UserError, match=r"seed 0: .*signal 9"):
        pool.run_all(jobs(control, tmp_path, 2), [None, None])
    assert RunFolder(tmp_path / "1").status()["cause"] == "seed 0 is stopped"


NOW = {"commit": "c", "dirty": False, "device": "cpu"}


def test_an_environment_that_nothing_is_known_of_is_neither_clean_nor_dirty(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_json(tmp_path / "environment.json", {})
    pool.record_environment(run, NOW)
    assert read_json(tmp_path / "environment.json") == {"dirty": None}


@pytest.mark.parametrize("content", ["[]", '{"dirty": "no"}', "{"])
def test_a_damaged_environment_is_named_and_kept(tmp_path: Path, content: str) -> None:
    file = tmp_path / "environment.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"environment\.json"):
        pool.record_environment(RunFolder(tmp_path), NOW)
    assert file.read_text() == content
