"""A survival run ends at its event, and is otherwise the run that it would have been."""

from __future__ import annotations

import numpy as np
import pytest

from study.investigations.traces.results import replay_facts, replay_sentence
from study.runs import RunFolder
from study.settings import UserError, leaves
from study.training import check
from study.training.checkpoints import kept_checkpoint, read_state
from study.training.fit import fit

NEVER = {"learned_skill": 0.9999, "lost_skill": 0.9998, "lost_validations": 1, "deadline_epochs": 2}
HARDLY = {"learned_skill": 0.5, "lost_skill": 1e-9, "lost_validations": 5, "deadline_epochs": 6}


def facts(folder: RunFolder):
    return folder.history()


@pytest.fixture
def dying(vary):
    return vary(epochs=6, survival={**NEVER, "traced_seed": None})


def test_a_run_stops_at_its_event(dying, trained, vary):
    folder = trained(dying, name="dying")
    status = folder.status()
    assert status["state"] == "collapsed" and "never learned in epoch 2" in status["cause"]
    assert folder.history()["epoch"].tolist() == [1, 2]
    assert folder.object_file("last").is_file() and not folder.checkpoint.exists()
    undisturbed = trained(vary(epochs=2), name="undisturbed")
    assert facts(folder).equals(facts(undisturbed))


def test_a_run_killed_after_its_event_trains_no_further(dying, tiny, tmp_path, monkeypatch):
    from study.training import fit as module

    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_conclude", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit(dying, tiny, 0, folder)
    fit(dying, tiny, 0, folder)
    assert folder.history()["epoch"].tolist() == [1, 2] and folder.status()["state"] == "collapsed"


def test_the_traced_run_keeps_its_last_checkpoints(vary, tiny, tmp_path):
    arm = vary(epochs=6, seeds=[0, 1], survival={**HARDLY, "traced_seed": 1})
    for seed in (0, 1):
        fit(arm, tiny, seed, RunFolder(tmp_path / str(seed)))
    assert not (tmp_path / "0" / "checkpoints").exists()
    folder = RunFolder(tmp_path / "1")
    assert [p.name for p in sorted((tmp_path / "1" / "checkpoints").iterdir())] == [
        f"epoch_00{k}.pt" for k in (3, 4, 5, 6)
    ]
    state = read_state(kept_checkpoint(folder, 4))["run"]
    assert state["epoch"] == 4 and len(state["history"]) == 4


def test_the_traced_seed_changes_no_setting_that_acts(vary):
    arms = [vary(seeds=[0, 1], survival={**HARDLY, "traced_seed": s}, epochs=6) for s in (None, 1)]
    assert leaves(arms[0]) == leaves(arms[1])
    assert not any(key.startswith("survival") for key in leaves(vary()))


@pytest.mark.parametrize("epochs", [1, 5])
def test_a_horizon_that_cannot_show_the_event_is_refused(vary, epochs):
    with pytest.raises(ValueError, match="epochs"):
        vary(epochs=epochs, survival=HARDLY)


def test_a_traced_seed_must_be_declared(vary):
    with pytest.raises(ValueError, match="traced_seed"):
        vary(epochs=6, survival={**HARDLY, "traced_seed": 77})


def test_several_devices_are_refused(dying):
    with pytest.raises(UserError, match="survival"):
        check(dying, 16, 1, devices=2)


def test_a_replay_repeats_the_steps_of_the_run(vary, tiny, tmp_path):
    from study.investigations.traces.follow import replay

    arm = vary(epochs=6, seeds=[1], survival={**HARDLY, "traced_seed": 1})
    folder = RunFolder(tmp_path / "run")
    fit(arm, tiny, 1, folder)
    state = read_state(kept_checkpoint(folder, 4))
    steps = -(-len(tiny.splits["train"].counts) // arm.batch_size)
    trace = replay(arm, tiny, 1, state, steps)
    fifth = folder.history().iloc[4]
    assert trace["after_epoch"] == 4
    assert np.mean(trace["columns"]["loss"]) == pytest.approx(fifth["train_loss"], rel=1e-12)
    assert max(trace["columns"]["gradient_norm"]) == fifth["gradient_norm_max"]
    assert sum(trace["columns"]["patterns"]) == len(tiny.splits["train"].counts)
    moment, update = (trace["by_part"][key]["head"] for key in ("moment", "update"))
    assert min(moment) > 0 and min(update) > 0 and max(update) < 10

    seen = replay_facts({"arm": "tiny", **trace})
    norms = trace["columns"]["gradient_norm"]
    assert seen["peak"]["step"] == int(np.argmax(norms)) + 1 and seen["epoch"] == 5
    assert seen["peak"]["patterns"] == trace["columns"]["patterns"][seen["peak"]["step"] - 1]
    error = np.array(trace["columns"]["mae"]) / trace["columns"]["constant"]
    assert (seen["lost"] is None) == bool((error < 1).all())
    assert replay_sentence({"arm": "tiny", **trace})
    with pytest.raises(UserError, match="settings"):
        replay(arm.model_copy(update={"batch_size": 8}), tiny, 1, state, 1)
    with pytest.raises(UserError, match="steps"):
        replay(arm, tiny, 1, state, 10_000)
