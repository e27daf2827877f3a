"""A pull that the app started: its file tells how it stands, whatever became of the process."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import psutil
import pytest

from study.artifacts.pull import FOLDER, cancel_pull, pulls, read_pull, start_pull
from study.runs import children, write_json
from study.settings import UserError

ID = "1700000000-0123abcd"


def write_status(root: Path, **changes: object) -> None:
    process = psutil.Process()
    first = {"names": ["control"], "state": "running", "phase": "moving", "done": 3, "total": 9}
    alive = {"pid": process.pid, "pid_started": process.create_time()}
    write_json(root / "work/pull" / f"{ID}.json", {**first, **alive, **changes})


def test_a_pull_is_read_as_its_file_tells_it(tmp_path):
    write_status(tmp_path)
    found = read_pull(tmp_path, ID)
    assert (found.state, found.done, found.total, found.over) == ("running", 3, 9, False)
    assert pulls(tmp_path) == [found]


def test_a_process_that_died_is_a_failure_with_its_last_words(tmp_path):
    write_status(tmp_path, pid_started=1.0)
    (tmp_path / "work/pull" / f"{ID}.log").write_text("first\nKilled\n")
    found = read_pull(tmp_path, ID)
    assert found.state == "failed" and found.cause and "Killed" in found.cause


def test_the_last_words_of_a_large_log_take_little_memory(tmp_path):
    write_status(tmp_path, pid_started=1.0)
    with (tmp_path / "work/pull" / f"{ID}.log").open("wb") as log:
        log.truncate(2**30)
        log.seek(0, 2)
        log.write(b"\nKilled\n")
    tracemalloc.start()
    found = read_pull(tmp_path, ID)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.cause and found.cause.endswith("Killed") and peak < 2**28


def test_a_finished_pull_stays_finished(tmp_path):
    write_status(tmp_path, state="finished", pid_started=1.0)
    assert read_pull(tmp_path, ID).state == "finished"
    cancel_pull(tmp_path, ID)


@pytest.mark.parametrize("bad", ["../../etc/passwd", "1700000000-0123abcd.json", "", "x"])
def test_an_id_that_is_none_is_refused(tmp_path, bad):
    for act in (read_pull, cancel_pull):
        with pytest.raises(UserError, match="id of a pull"):
            act(tmp_path, bad)


def test_cancelling_ends_the_process_that_the_file_names(tmp_path):
    mark = str((tmp_path / FOLDER / f"{ID}.json").resolve())
    process = children.start(
        (sys.executable, "-c", "import time; time.sleep(60)"), tmp_path, subprocess.DEVNULL,
        environment={**os.environ, children.MARK: mark},
    )  # fmt: skip
    write_status(tmp_path, pid=process.pid, pid_started=psutil.Process(process.pid).create_time())
    cancel_pull(tmp_path, ID)
    assert process.wait(20) == -15


def test_an_unknown_name_starts_nothing(tmp_path):
    with pytest.raises(UserError, match="no stored runs of 'nothing'"):
        start_pull(tmp_path, ("nothing",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_started_pull_ends_with_a_cause_when_there_is_no_remote(tmp_path):
    """The real command, in a folder that is no checkout of DVC."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  train:\n    foreach: x\n    do: {outs: ['runs/${key}']}\n"
    )
    (tmp_path / "dvc.lock").write_text(
        f"stages:\n  train@a:\n    cmd: x\n    outs:\n    - path: runs/a\n      md5: {'a' * 32}\n"
    )
    started = start_pull(tmp_path, ("a",))
    while not (found := read_pull(tmp_path, started)).over:
        time.sleep(0.1)
    assert found.state == "failed" and found.names == ("a",) and found.cause
