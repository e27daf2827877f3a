"""Runs: every state on screen, and buttons that ask the supervisor once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from checkouts import opened, rendered
from streamlit.testing.v1 import AppTest

from app import load
from pipeline.toy import PARAMS
from study import jobs
from study.jobs import Job
from study.jobs.folder import JobFolder
from study.jobs.models import Supervisor, new_id
from study.runs import write_json, write_text

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NOW = 1.9e9


@pytest.fixture
def toy(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose supervisor is never started: what is asked for stays a request."""
    (fresh / "params.yaml").write_text(PARAMS)
    monkeypatch.setenv("ARMATURE_PUBLISHED_ON_LOOPBACK", "1")  # the test has no config.toml
    monkeypatch.setattr("study.jobs.api.ensure", lambda root: None)
    return fresh


def run(root: Path, arm: str, seed: int, state: str, **facts: object) -> Path:
    """A live run folder as a trainer leaves it."""
    folder = root / "work" / f"{arm}{seed}"
    status = {"state": state, "arm": arm, "seed": seed, "epoch": 3, "epochs": 10,
              "started": time.time() - 60, "heartbeat": time.time(), **facts}  # fmt: skip
    write_json(folder / "status.json", status)
    rows = [f"{e},{0.5 / e},{0.6 / e}" for e in (1, 2, 3)]
    write_text(folder / "history.csv", "\n".join(["epoch,train_loss,val_loss", *rows]))
    write_text(folder / "timing.csv", "epoch,seconds\n1,2.0\n2,2.0\n3,2.0\n")
    return folder


def living() -> dict[str, object]:
    process = psutil.Process()
    return {"pid": os.getpid(), "pid_started": process.create_time()}


def job(root: Path, arm: str, state: str, **facts: object) -> str:
    made = Job.model_validate(
        {"id": new_id(arm), "arm": arm, "seeds": (1, 2), "executor": "local",
         "state": state, "created": time.time() - 90, "started": time.time() - 80, **facts}
    )  # fmt: skip
    JobFolder(root).save(made)
    return made.id


def supervised(root: Path) -> None:
    """A supervisor is running: this process."""
    word = {"started": 1.0, "heartbeat": time.time(), "slots": "2 cores", **living()}
    JobFolder(root).announce(Supervisor.model_validate(word))


def page_text(app: AppTest) -> str:
    kinds = (app.error, app.warning, app.info, app.markdown, app.caption, app.subheader)
    return "\n".join(str(item.value) for kind in kinds for item in kind).replace("\\", "")


def states(app: AppTest) -> list[str]:
    return [str(value) for value in app.dataframe[0].value["state"]]


def test_an_empty_checkout_says_how_to_start_one(toy):
    assert "study launch control" in opened("runs").info[0].value


@pytest.mark.parametrize(
    ("state", "facts", "shown"),
    [
        ("running", {}, "▶ running"),
        ("running", {"heartbeat": time.time() - 300}, "unknown since"),
        ("finished", {}, "✓ done"),
        ("failed", {"cause": "loss is NaN at epoch 3"}, "✕ failed"),
        ("collapsed", {"cause": "constant amplitude"}, "collapsed"),
        ("cancelled", {}, "cancelled"),
        ("stopped", {}, "stopped"),
    ],
)
def test_every_state_has_its_word_and_its_cause(toy, state, facts, shown):
    run(toy, "control", 1, state, **{**living(), **facts})
    app = opened("runs")
    assert shown in states(app)[0]
    assert str(facts.get("cause", "")) in page_text(app)


def test_a_running_run_shows_epoch_time_left_and_heartbeat(toy):
    run(toy, "control", 1, "running", **living())
    row = opened("runs").dataframe[0].value.iloc[0]
    assert (row["epoch"], row["left"]) == ("3/10", "14 s") and row["heartbeat"].endswith("ago")


def test_a_dead_process_is_not_shown_as_running(toy):
    run(toy, "control", 1, "running", pid=2**22 + 1, pid_started=1.0)
    app = opened("runs")
    assert "stopped" in states(app)[0] and "process is gone" in page_text(app)
    assert any(button.key == "resume-run" for button in app.button)


def test_the_log_is_shown_as_it_is_and_its_end_alone(toy):
    folder = run(toy, "control", 1, "failed", cause="<b>no</b> *disk* $x$")
    lines = [f"12:00:00 line {i} <script>alert(1)</script> **x** $y$" for i in range(300)]
    write_text(folder / "log.txt", "\n".join(lines) + "\n")
    app = opened("runs")
    log = app.code[0].value.split("\n")
    assert log == lines[-200:]
    assert "<b>no" in page_text(app) and "*disk*" in page_text(app)


def test_the_address_filters_and_chooses(toy):
    for seed in (1, 2):
        run(toy, "control", seed, "finished")
        run(toy, "cnn", seed, "failed", cause="NaN")
    app = opened("runs", state="failed", arm="cnn", run="cnn/s2")
    assert set(app.dataframe[0].value["arm"]) == {"cnn"}
    assert "cnn/s2" in page_text(app)


@pytest.mark.parametrize(
    "query", [{"run": "../../etc"}, {"state": "dreaming"}, {"arm": "<b>$x$"}, {"run": "cnn/s9"}]
)
def test_a_bad_address_is_a_sentence(toy, query):
    run(toy, "control", 1, "finished")
    app = opened("runs", **query)
    assert "address" in app.warning[0].value


def test_stop_asks_once_and_then_asks_the_supervisor(toy):
    run(toy, "control", 1, "running", **living())
    name = job(toy, "control", "running")
    app = opened("runs")
    assert not jobs.find_job(toy, name).cancel
    app.button(key=f"yes-stop-{name}").click().run()
    assert not app.exception and jobs.find_job(toy, name).cancel
    assert "stopping" in page_text(app)
    requests = list((toy / "work" / "launch" / "requests").glob("*.json"))
    assert len(requests) == 1


def test_two_sessions_start_an_arm_once(toy):
    run(toy, "control", 1, "stopped")
    first, second = opened("runs"), opened("runs")
    first.button(key="resume-run").click().run()
    second.button(key="resume-run").click().run()
    assert not second.exception and "is queued already" in page_text(second)
    assert len([j for j in jobs.jobs(toy) if j.arm == "control"]) == 1


def test_a_failed_job_is_retried(toy):
    name = job(toy, "control", "failed", cause="the disk is full", ended=time.time())
    app = opened("runs")
    assert "the disk is full" in page_text(app)
    app.button(key="retry").click().run()
    assert jobs.find_job(toy, name).state == "queued"


def test_a_job_in_a_scheduler_tells_why_it_waits(toy):
    job(toy, "control", "queued", executor="slurm", note="pending: Resources")
    assert "slurm" in (message := page_text(opened("runs"))) and "pending: Resources" in message


def test_read_only_has_no_button_that_acts(toy, monkeypatch):
    run(toy, "control", 1, "stopped")
    job(toy, "cnn", "running")
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    buttons = {button.key for button in opened("runs").button}
    assert buttons <= {"notify"}, "asking the browser for notices changes nothing here"


@pytest.mark.parametrize("name", ["summary", "arms", "new_arm", "findings", "runs"])
@pytest.mark.slow
def test_the_strip_of_every_page_counts_what_works(toy, name):
    supervised(toy)
    job(toy, "control", "running")
    job(toy, "cnn", "queued")
    message = page_text(opened(name))
    assert "1 running" in message and "1 queued" in message


def test_a_filter_outlives_the_last_run_of_its_state(toy):
    run(toy, "control", 1, "finished")
    app = opened("runs", state="running")
    assert "No run matches these filters" in page_text(app) and not app.warning
    assert app.multiselect(key="state").value == ["running"]
    assert "'asleep'" in opened("runs", state="asleep").warning[0].value


def test_nothing_is_polled_when_nothing_runs(toy, monkeypatch):
    from app import load

    polled: list[float | None] = []

    def fragment(draw, run_every=None):
        polled.append(run_every)
        return draw

    monkeypatch.setattr("app.fragments.st.fragment", fragment)
    run(toy, "control", 1, "finished")
    job(toy, "control", "done")
    assert not load.busy() and load.standing().jobs == {}
    opened("runs")
    assert len(polled) >= 4 and set(polled) == {None}
    polled.clear()
    supervised(toy)
    job(toy, "control", "running")
    assert load.busy() and load.standing().jobs == {"running": 1}
    opened("runs")
    assert len(polled) >= 4 and set(polled) == {2.0}


def test_the_strip_tells_the_first_arms_data_and_where_runs_compute(toy, tiny, monkeypatch):
    from study.formats.dataset import save_dataset

    monkeypatch.setattr("app.load.Local.slots", lambda self: "3 GPUs")
    message = page_text(opened("runs"))
    assert "3 GPUs" in message and "grid_on" not in message
    save_dataset(tiny, toy / "data" / "toy")
    assert f"toy {tiny.manifest.content_sha256[:8]}" in page_text(opened("runs"))
    (toy / "params.yaml").write_text("arms: [")
    assert "3 GPUs" in page_text(opened("findings"))


def test_work_that_was_left_goes_on_when_the_app_opens(toy, monkeypatch):
    woken = []
    monkeypatch.setattr("study.jobs.api.ensure", woken.append)
    opened("runs")
    assert not woken, "nothing is left"
    job(toy, "control", "running")
    opened("runs")
    assert len(woken) == 1
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    opened("runs")
    assert len(woken) == 1


def test_an_arm_that_nobody_started_is_a_row_that_can_be_started(toy):
    for seed in (1, 2):
        run(toy, "control", seed, "finished")
    app = opened("runs", arm="cnn")
    assert not app.warning, "the link of New arm finds it"
    assert set(app.dataframe[0].value["arm"]) == {"cnn"} and "not started" in states(app)[0]
    app.button(key="start-cnn").click().run()
    assert not app.exception
    assert [(job.arm, job.state) for job in jobs.jobs(toy)] == [("cnn", "queued")]
    assert "start-cnn" not in {button.key for button in app.button}


def test_a_killed_trainer_and_supervisor_are_not_shown_as_running(toy):
    gone = {"pid": 2**22 + 1, "pid_started": 1.0}
    run(toy, "control", 1, "running", **gone)
    job(toy, "control", "running")
    app = opened("runs")
    shown = dict(zip(app.dataframe[0].value["seed"], states(app), strict=False))
    assert not [state for state in shown.values() if "running" in state]
    assert "running" not in load.standing().jobs
    assert "supervisor" in page_text(app) and any(button.key == "resume" for button in app.button)


# --- time left --------------------------------------------------------------------------------


def test_the_total_time_left_counts_what_waits():
    from app.runs.words import total_left
    from study.jobs import RunRow

    def running(seed: int, eta: float) -> RunRow:
        facts = {"eta_s": eta, "started": 1000.0, "heartbeat": 1100.0 - eta}
        return RunRow("a", seed, "running", **facts)

    queued = [RunRow("a", seed, "queued") for seed in range(10, 14)]
    assert total_left([]) is None and total_left(queued) is None
    assert total_left([running(1, 40.0)]) == 40.0
    assert total_left([running(1, 40.0), running(2, 90.0)]) == 90.0
    # Four more of 100 s each, two at a time: 130 s of work left on two places, and 400 s more.
    assert total_left([running(1, 40.0), running(2, 90.0), *queued]) == (130.0 + 400.0) / 2


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e308", "-5", "x"])
def test_odd_times_of_epochs_give_no_estimate(toy, seconds):
    folder = run(toy, "control", 1, "running", **living())
    write_text(folder / "timing.csv", f"epoch,seconds\n1,{seconds}\n")
    app = opened("runs")
    assert not app.exception and "▶ running" in states(app)[0]


@pytest.mark.parametrize("field", ["started", "heartbeat", "ended"])
@pytest.mark.parametrize("when", [1e18, -1e18, 2**70])
def test_times_that_no_clock_can_give_are_a_damaged_status(toy, field, when):
    run(toy, "control", 1, "running", **{**living(), field: when})
    run(toy, "control", 2, "running", **living())
    app = opened("runs")
    assert not app.exception and any("running" in state for state in states(app))


def test_a_job_that_ends_is_told_once_on_any_page(toy):
    number = job(toy, "control", "running", seeds=(1, 2))
    app = opened("findings")
    assert not app.toast
    folder = JobFolder(toy)
    [running] = [one for one in folder.job_list() if one.id == number]
    folder.save(
        running.model_copy(update={"state": "failed", "cause": "loss is NaN", "ended": 1.0})
    )
    app.run()
    message = [rendered(toast.value) for toast in app.toast]
    assert len(message) == 1 and "control is failed" in message[0] and "loss is NaN" in message[0]
    app.run()
    assert not app.toast


def test_a_cause_shows_its_command_as_code(toy):
    job(toy, "control", "queued")
    app = opened("runs", run="control/s1")
    told = [str(item.value) for item in app.markdown if "no supervisor is running" in item.value]
    assert any("`study resume`" in text for text in told)
    assert not any("\\`" in text for text in told)


@pytest.mark.parametrize(("lines", "height"), [(2, "content"), (60, 240)])
def test_a_short_log_takes_no_empty_space(toy, monkeypatch, lines, height):
    given = []
    monkeypatch.setattr("streamlit.code", lambda text, **options: given.append(options["height"]))
    folder = run(toy, "control", 1, "failed", cause="loss is NaN")
    write_text(folder / "log.txt", "12:00:00 a line\n" * lines)
    opened("runs")
    assert given[-1] == height
