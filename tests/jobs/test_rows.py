"""One row a seed: what the folders and the jobs say, however the run ended."""

import json
import os
import shutil
import time
from pathlib import Path

import psutil
import pytest

from jobs.checkouts import add_job, add_run, settings_alone
from study.jobs import RunRow, active, not_started, rows, run_rows, supervisor_state
from study.jobs.folder import JobFolder
from study.jobs.models import Supervisor
from study.jobs.rows import Status
from study.runs import RunFolder, start_time
from study.runs.identity import RunIdentity

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
    run.timing_file.write_text(f"epoch,seconds\n{rows}")
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


# --- clocks -----------------------------------------------------------------------------------


def beat(run: RunFolder, when: float) -> None:
    status = json.loads((run.path / "status.json").read_text())
    (run.path / "status.json").write_text(json.dumps({**status, "heartbeat": when}))


def test_a_heartbeat_in_the_future_is_silence(root: Path) -> None:
    """The clock was set back: a trainer that works would have stamped its folder since."""
    beat(add_run(root / "work/a", "first", 1, state="running", **ME), time.time() + 3600)
    assert row(root).state == "unknown" and "future" in (row(root).cause or "")


def test_a_dead_run_from_the_future_is_dead_and_hides_nothing(root: Path) -> None:
    beat(add_run(root / "work/a", "first", 1, state="running", **GONE), time.time() + 3600)
    assert row(root).state == "stopped"
    add_run(root / "runs/first/s1", "first", 1, state="finished", started=2.0)
    assert row(root).state == "done"


def test_a_collected_run_from_the_future_does_not_hide_what_runs(root: Path) -> None:
    add_run(root / "runs/first/s1", "first", 1, state="finished", started=2.0)
    future = time.time() + 3600
    os.utime(root / "runs/first", (future, future))
    add_run(root / "work/new", "first", 1, state="running", started=3.0, **ME)
    assert row(root).state == "running"


def test_a_clock_that_was_set_neither_kills_nor_revives(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Linux times of processes move with the clock: boot time is computed from it."""
    run = RunFolder(root / "work/a")
    run.start("first", 1, 10, {})
    created, booted = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) - 7200)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted() - 7200)
    assert run.alive() and row(root).state == "running"
    run.update_status(pid_started=start_time(psutil.Process()) + 2.0)  # another process
    assert not run.alive() and row(root).state == "stopped"


# --- dead trainers ----------------------------------------------------------------------------


def at_work(root: Path, monkeypatch: pytest.MonkeyPatch, served: bool = True, **status: object):
    """A job of two seeds at work, of which the first has this status."""
    word = Supervisor.model_validate(
        {"started": 1.0, "heartbeat": 1.0, "slots": "2 cores", **(ME if served else GONE)}
    )
    JobFolder(root).announce(word)
    add_job(root, "pair", seeds=(1, 2), state="running", started=time.time() - 60)
    add_run(root / "work/a", "pair", 1, **status)  # type: ignore[arg-type]
    monkeypatch.setattr(
        RunIdentity, "live", lambda self, seed: RunFolder(root / f"work/{' ab'[seed]}")
    )


def test_a_trainer_that_died_under_its_job_is_dead_with_its_cause(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work(root, monkeypatch, state="stopped", cause="killed by signal 9", ended=time.time())
    assert row(root, "pair", 1).state == "stopped"
    assert "signal 9" in (row(root, "pair", 1).cause or "")
    assert row(root, "pair", 2).state == "queued", "its turn comes"


@pytest.mark.parametrize("served", [True, False])
def test_a_trainer_that_died_with_its_parent_is_dead(
    root: Path, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    at_work(root, monkeypatch, served, state="running", **GONE)
    assert row(root, "pair", 1).state == "stopped"
    for seed in (1, 2):
        assert ("supervisor" in (row(root, "pair", seed).cause or "")) is not served


def test_a_run_that_was_stopped_before_its_job_began_is_queued(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work(root, monkeypatch, state="stopped", cause="Ctrl-C", ended=time.time() - 600)
    assert row(root, "pair", 1).state == "queued"


# --- arms that nobody started -----------------------------------------------------------------


def test_what_has_no_run_no_job_and_no_result_is_not_started(root: Path) -> None:
    add_run(root / "work/a", "first", 1, state="running", **ME)
    add_job(root, "second")
    (root / "results/pair/seeds").mkdir(parents=True)
    (root / "results/pair/seeds/s1.json").write_text("{}")
    found = not_started(root, run_rows(root))
    assert [(row.arm, row.seed, row.state) for row in found] == [("pair", 2, "not started")]


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
    folder = JobFolder(root)
    folder.announce(Supervisor.model_validate({**word, **ME}))
    assert supervisor_state(root).running  # type: ignore[union-attr]
    folder.announce(Supervisor.model_validate({**word, **GONE}))
    assert not supervisor_state(root).running  # type: ignore[union-attr]


def test_a_file_that_is_no_job_is_left_out(root: Path) -> None:
    job = add_job(root, "second")
    folder = JobFolder(root)
    text = folder.job_file(job.id).read_text()
    for name, content in (("a.json", text), ("b.json", "{"), ("c.txt", text)):
        (folder.jobs / name).write_text(content)
    assert folder.job_list() == [job], "nor is one that has the name of another"
