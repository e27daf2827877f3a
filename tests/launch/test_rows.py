"""One row a seed: what the folders and the jobs say, however the run ended."""

import json
import os
import shutil
import time
from pathlib import Path

import psutil
import pytest

from launch.checkouts import add_job, add_run, settings_alone
from study.launch import RunRow, active, rows, run_rows, supervisor_state
from study.launch.folder import LaunchFolder
from study.launch.models import Supervisor
from study.launch.rows import Status
from study.runs import RunFolder

ME = {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}
GONE = {"pid": 2**22 + 1, "pid_started": 1.0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return settings_alone(tmp_path)


def row(root: Path, arm: str = "first", seed: int = 1) -> RunRow:
    [found] = [row for row in run_rows(root) if (row.arm, row.seed) == (arm, seed)]
    return found


def test_an_empty_folder_has_no_rows(root: Path) -> None:
    assert run_rows(root) == ()
    assert not active(root)
    assert supervisor_state(root) is None
    assert not (root / "work").exists(), "looking writes nothing"


def test_a_living_run_tells_its_epoch_and_the_time_left(root: Path) -> None:
    run = add_run(root / "work/a", "first", 1, state="running", epoch=3, epochs=10, **ME)
    rows = "".join(f"{epoch},{seconds}\n" for epoch, seconds in ((1, 9.0), (2, 2.0), (3, 4.0)))
    run.history_file.write_text(f"epoch,seconds\n{rows}")
    found = row(root)
    assert (found.state, found.epoch, found.epochs) == ("running", 3, 10)
    assert found.eta_s == pytest.approx(7 * 5.0)
    assert active(root)


def test_a_dead_run_is_stopped(root: Path) -> None:
    add_run(root / "work/a", "first", 1, state="running", **GONE)
    assert row(root).state == "stopped"
    assert "process is gone" in (row(root).cause or "")
    assert not active(root)


def test_a_number_given_out_anew_is_not_the_run(root: Path) -> None:
    add_run(root / "work/a", "first", 1, state="running", pid=os.getpid(), pid_started=1.0)
    assert row(root).state == "stopped"


def test_a_silent_run_is_unknown_since_its_last_heartbeat(root: Path) -> None:
    run = add_run(root / "work/a", "first", 1, state="running", **ME)
    path = run.path / "status.json"
    status = json.loads(path.read_text())
    status["heartbeat"] = time.time() - 3600
    path.write_text(json.dumps(status))
    found = row(root)
    clock = time.strftime("%H:%M", time.localtime(status["heartbeat"]))
    assert (found.state, found.cause) == ("unknown", f"no heartbeat since {clock}")


@pytest.mark.parametrize("state", ["finished", "failed", "collapsed", "stopped", "cancelled"])
def test_an_ended_run_says_how(root: Path, state: str) -> None:
    add_run(root / "work/a", "first", 1, state="running", **GONE).finish(state, cause="because")
    found = row(root)
    assert found.state == {"finished": "done"}.get(state, state)
    assert found.cause == "because"


def test_the_collected_run_counts_until_a_newer_one_is_at_work(root: Path) -> None:
    add_run(root / "work/old", "first", 1, state="finished", started=1.0, epoch=1)
    add_run(root / "runs/first/s1", "first", 1, state="finished", started=2.0, epoch=2)
    os.utime(root / "runs/first")
    assert row(root).folder == root / "runs/first/s1"
    os.utime(root / "runs/first", (1.0, 1.0))
    add_run(root / "work/new", "first", 1, state="running", started=3.0, **ME)
    assert row(root).state == "running"


def test_a_collected_run_that_is_replaced_in_this_moment_is_no_error(root: Path) -> None:
    add_run(root / "work/a", "first", 1, state="running", started=3.0, **ME)
    add_run(root / "runs/first/s1", "first", 1, state="finished", started=2.0)
    live, collected = (
        rows.Found(str(place), Status.model_validate(RunFolder(place).status()))
        for place in (root / "work/a", root / "runs/first/s1")
    )
    shutil.rmtree(root / "runs/first")
    assert rows._newest(root, [live], collected) == live


def test_a_queued_job_is_a_row_for_each_of_its_seeds(root: Path) -> None:
    job = add_job(root, "pair", seeds=(1, 2))
    assert [(found.seed, found.state, found.job) for found in run_rows(root)] == [
        (1, "queued", job.id),
        (2, "queued", job.id),
    ]
    assert active(root)


def test_a_job_that_failed_before_its_run_began_is_a_row_with_a_cause(root: Path) -> None:
    add_job(root, state="failed", cause="no disk", ended=time.time())
    assert (row(root).state, row(root).cause) == ("stopped", "no disk")


def test_torn_and_foreign_files_are_no_rows(root: Path) -> None:
    for name, text in (("a", '{"state": "run'), ("b", "[]"), ("c", '{"state": 3}')):
        (root / "work" / name).mkdir(parents=True)
        (root / "work" / name / "status.json").write_text(text)
    (root / "runs").mkdir()
    (root / "runs" / "stray").write_text("")
    assert run_rows(root) == ()


def test_a_file_is_read_again_when_it_changed(root: Path) -> None:
    run = add_run(root / "work/a", "first", 1, state="running", epoch=1, **ME)
    assert row(root).epoch == 1
    run.update_status(epoch=2)
    assert row(root).epoch == 2


def test_a_dead_supervisor_is_not_running(root: Path) -> None:
    word = {"started": 1.0, "heartbeat": 1.0, "slots": "2 cores"}
    folder = LaunchFolder(root)
    folder.announce(Supervisor.model_validate({**word, **ME}))
    assert supervisor_state(root).running  # type: ignore[union-attr]
    folder.announce(Supervisor.model_validate({**word, **GONE}))
    assert not supervisor_state(root).running  # type: ignore[union-attr]


def test_a_file_that_is_no_job_is_left_out(root: Path) -> None:
    job = add_job(root, "second")
    folder = LaunchFolder(root)
    text = folder.job_file(job.id).read_text()
    for name, content in (("a.json", text), ("b.json", "{"), ("c.txt", text)):
        (folder.jobs / name).write_text(content)
    assert folder.job_list() == [job], "nor is one that has the name of another"
