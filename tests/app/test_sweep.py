"""A sweep from the form and several runs at once: what they would do, and what they do."""

from types import SimpleNamespace

import pytest
from checkouts import opened
from test_runs_page import job, run
from test_runs_page import page_text as runs_page_text

from study import jobs
from study.settings import load_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ANSWER = {"seeds": 2, "minutes": 1.5, "cores": 2}


@pytest.fixture(autouse=True)
def no_supervisor(monkeypatch):
    """What is asked for stays queued."""
    monkeypatch.setattr("study.jobs.api.ensure", lambda root: None)


@pytest.fixture
def priced(monkeypatch):
    """A check that passed, without a process of its own."""
    asked = SimpleNamespace(done=True, answer=ANSWER, refusal=None)
    monkeypatch.setattr("app.new_arm.sweep.check", lambda draft, state: asked)


def proposal(toy, *settings):
    from app.new_arm.form_view import Proposal
    from study.editing.arms import Draft

    study = load_study(toy / "params.yaml")
    draft = Draft("x", "control", settings)
    return study, Proposal(study.arms["control"], draft, None, {}, {}, True)


def test_a_sweep_is_one_arm_per_value_with_a_name_of_its_own(toy):
    from app.new_arm.sweep import members

    study, form = proposal(toy, "epochs=5")
    found = members(study, form, "optimizer.lr", ["0.002", "0.004"])
    assert [m.plan.row.optimizer.lr for m in found if m.plan] == [0.002, 0.004]
    assert all(m.plan and m.plan.row.epochs == 5 for m in found), "what the form changes beside it"
    assert len({m.draft.name for m in found}) == 2


def test_the_field_of_the_sweep_takes_the_place_of_the_forms_value(toy):
    from app.new_arm.sweep import members

    study, form = proposal(toy, "optimizer.lr=0.5")
    [one] = members(study, form, "optimizer.lr", ["0.002"])
    assert one.draft.settings == ("optimizer.lr=0.002",)


def test_a_value_that_is_none_and_a_twin_are_refused_with_their_reason(toy):
    from app.new_arm.sweep import members

    study, form = proposal(toy)
    wrong, same, twice = members(study, form, "optimizer.lr", ["fast", "0.002", "2e-3"])
    assert wrong.plan is None and "lr" in wrong.refused
    assert same.plan is not None
    assert twice.plan is None and same.draft.name in twice.refused


def test_a_sweep_is_priced_and_added_whole(toy, priced):
    app = opened("new_arm")
    app.session_state["sweep"] = True
    app.session_state["sweep-field"] = "optimizer.lr"
    app.session_state["sweep-values"] = "0.002, 0.004, 0.002"
    app.run()
    assert not app.exception
    words = "\n".join(block.value for block in app.markdown)
    assert "2 arms, 4 runs, about 3 min on 2 cores" in words.replace("\\", "")
    before = set(load_study(toy / "params.yaml").arms)
    app.button(key="sweep-start").click().run()
    assert not app.exception
    added = [name for name in load_study(toy / "params.yaml").arms if name not in before]
    assert len(added) == 2
    assert [j.arm for j in jobs.jobs(toy)] == added
    assert app.title[0].value == "Runs"


def test_a_sweep_with_a_wrong_value_has_no_button(toy, priced):
    app = opened("new_arm")
    app.session_state["sweep"] = True
    app.session_state["sweep-field"] = "optimizer.lr"
    app.session_state["sweep-values"] = "0.002, fast"
    app.run()
    assert not app.exception
    assert "sweep-add" not in {button.key for button in app.button}


# --- several runs at once ---------------------------------------------------------------------


def chosen(toy, *runs):
    app = opened("runs")
    app.session_state["runs-chosen"] = list(runs)
    app.run()
    assert not app.exception
    return app


def test_chosen_runs_are_started_together(toy):
    run(toy, "control", 1, "finished")
    run(toy, "control", 2, "finished")
    names = [f"cnn/s{seed}" for seed in load_study(toy / "params.yaml").arms["cnn"].seeds]
    app = chosen(toy, *names, "control/s1")
    app.button(key="start-chosen").click().run()
    [made] = jobs.jobs(toy)
    assert made.arm == "cnn" and [f"cnn/s{seed}" for seed in made.seeds] == names


def test_chosen_jobs_are_stopped_once_and_the_page_says_that_whole_jobs_end(toy):
    number = job(toy, "control", "queued", seeds=(1, 2))
    app = chosen(toy, "control/s1", "control/s2")
    assert "whole jobs" in runs_page_text(app)
    app.button(key="stop-chosen").click().run()
    assert not app.exception
    [left] = [one for one in jobs.jobs(toy) if one.id == number]
    assert left.cancel or left.state == "cancelled"


def test_one_chosen_run_and_a_reader_get_no_buttons(toy, monkeypatch):
    job(toy, "control", "queued", seeds=(1, 2))
    keys = {button.key for button in chosen(toy, "control/s1").button}
    assert "stop-chosen" not in keys
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    keys = {button.key for button in chosen(toy, "control/s1", "control/s2").button}
    assert "stop-chosen" not in keys


@pytest.mark.parametrize("there", [["local"], ["local", "slurm"]], ids="-".join)
def test_where_runs_start_is_asked_only_where_there_is_a_choice(toy, monkeypatch, there):
    # The machine of the tests may have Slurm or not.
    known = dict.fromkeys(there, ("types", "SimpleNamespace"))
    monkeypatch.setattr("study.jobs.executors.EXECUTORS", known)
    assert jobs.ready(toy) == there
    run(toy, "control", 1, "finished")
    seeds = load_study(toy / "params.yaml").arms["cnn"].seeds
    app = chosen(toy, "control/s1", *(f"cnn/s{seed}" for seed in seeds))
    offered = [list(box.options) for box in app.selectbox if box.key == "executor"]
    assert offered == ([there] if len(there) > 1 else [])
