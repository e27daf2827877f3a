"""A run: repeatable to the bit, resumable, cancellable, and honest about how it ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from checking import events_of
from study.formats.dataset import Dataset
from study.formats.reconstruction import load_reconstruction
from study.runs import RunFolder
from study.settings import Arm, UserError, read_yaml
from study.training.checkpoints import load_checkpoint, load_weights, read_state
from study.training.data import Batch, TrainData
from study.training.fit import fit
from study.training.reconstruct import reconstruct_split
from study.training.reconstructor import Reconstructor
from study.training.setup import build_run
from study.training.validation import evaluate

CPU = torch.device("cpu")


def facts_of(folder: RunFolder) -> pandas.DataFrame:
    return folder.history()


def assert_same_run(a: RunFolder, b: RunFolder) -> None:
    """Weights and reconstructions to the byte, histories to the bit."""
    pandas.testing.assert_frame_equal(facts_of(a), facts_of(b), check_exact=True)
    for name in ("best", "last"):
        left, right = read_state(a.path / f"{name}.pt"), read_state(b.path / f"{name}.pt")
        assert left["epoch"] == right["epoch"]
        for key, value in left["weights"].items():
            assert value.equal(right["weights"][key])
        assert a.object_file(name).read_bytes() == b.object_file(name).read_bytes()


@pytest.fixture(scope="module")
def whole(tiny: Dataset, control: Arm, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The control arm, three epochs, uninterrupted."""
    folder = RunFolder(tmp_path_factory.mktemp("whole"))
    fit(control.model_copy(update={"epochs": 3}), tiny, 0, folder)
    return folder


@pytest.fixture
def three(control: Arm) -> Arm:
    return control.model_copy(update={"epochs": 3})


# --- a whole run ------------------------------------------------------------------------------


def test_two_runs_are_bit_equal(
    three: Arm, whole: RunFolder, trained: Callable[..., RunFolder]
) -> None:
    assert_same_run(trained(three), whole)


def test_a_finished_run_holds_what_it_promises(whole: RunFolder, three: Arm) -> None:
    status = whole.status()
    history = whole.history()
    assert status["state"] in ("finished", "collapsed") and whole.settled
    assert status["epoch"] == 3 and history["epoch"].tolist() == [1, 2, 3]
    assert status["best_val_loss"] == pytest.approx(history["val_loss"].min())
    assert status["best_epoch"] == history["val_loss"].idxmin() + 1
    assert 0 < status["floors"]["noise"] < status["floors"]["best_constant"]
    names = {file.name for file in whole.path.iterdir()}
    expected = {"params.yaml", "status.json", "history.csv", "best.pt", "last.pt"}
    assert expected | {"object_best.npz", "object_last.npz"} <= names
    assert not {name for name in names if "checkpoint" in name or name.endswith(".tmp")}


def test_history_holds_every_promised_column(whole: RunFolder) -> None:
    history = whole.history()
    norms = [
        f"gradient_norm{kind}_{s}" for kind in ("", "_clipped") for s in ("median", "p99", "max")
    ]
    for name in ("train_loss", "val_loss", "val_own_loss", "learning_rate", *norms):
        assert np.isfinite(history[name]).all(), name
    for name in ("clipped_fraction", "amplitude_std", "patch_std"):
        assert np.isfinite(history[name]).all(), name
    assert (history["gradient_norm_median"] <= history["gradient_norm_p99"]).all()
    assert (history["gradient_norm_p99"] <= history["gradient_norm_max"]).all()
    assert (history["gradient_norm_clipped_max"] <= 1.0 + 1e-6).all()  # the arm clips at 1
    dead = [name for name in history if name.startswith("dead.")]
    assert dead and history[dead].map(lambda share: 0 <= share <= 1).all().all()


def test_every_epoch_has_the_gradient_ratio_of_its_last_step(
    whole: RunFolder, three: Arm, tiny: Dataset
) -> None:
    module = build_run(three, tiny, 0, torch.device("cpu")).module
    expected = []
    for epoch in range(3):
        module.epoch = epoch
        for batch in module.batches():
            module.step(batch)
        blocks = [*module.generator.encoder, module.generator.bottleneck]
        expected.append(np.median([local_over_spectral(block) for block in blocks]))
    assert whole.history()["gradient_ratio"].tolist() == pytest.approx(expected, rel=1e-5)


def local_over_spectral(block: Any) -> float:
    local, spectral = (
        np.concatenate([value.grad.numpy().ravel() for value in branch.parameters()])
        for branch in (block.local_conv, block.spectral)
    )
    return float(np.linalg.norm(local) / np.linalg.norm(spectral))


def test_norms_and_layerscales_are_logged_by_block(
    vary: Callable[..., Arm], trained: Callable[..., RunFolder]
) -> None:
    arm = vary(
        generator={"name": "stable_hybrid", "layerscale_init": 0.25}, epochs=1, batch_size=64
    )
    row = trained(arm).history().iloc[0]
    assert row["layerscale.encoder.0.mean"] == pytest.approx(0.25, abs=0.02)
    assert row["norm_weight.bottleneck.largest"] == pytest.approx(1.0, abs=0.02)
    assert "norm_weight.encoder.1.std" in row


def test_scores_belong_to_the_stored_weights(whole: RunFolder, tiny: Dataset, three: Arm) -> None:
    """Weights are stored as float16, and images and losses are made from that very file."""
    for which in ("best", "last"):
        file = whole.path / f"{which}.pt"
        kept = {v.dtype for v in read_state(file)["weights"].values() if v.is_floating_point()}
        assert kept == {torch.float16}
        network, _, epoch = load_weights(file)
        again = reconstruct_split(network, tiny, checkpoint=which, epoch=epoch)
        stored = load_reconstruction(whole.object_file(which))
        np.testing.assert_array_equal(again.object, stored.object)
        assert (stored.checkpoint, stored.epoch) == (which, epoch)
        step = build_run(three, tiny, 0, CPU).module.step
        data = TrainData(tiny, "validation", CPU)
        loss = evaluate(network, step.probe, step.photon_scale, data, step.loss)["val_loss"]
        assert whole.status()["stored"][which]["val_loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("name", ["mae", "poisson", "supervised"])
def test_every_loss_falls_in_a_run_of_its_own(
    name: str, vary: Callable[..., Arm], trained: Callable[..., RunFolder]
) -> None:
    history = trained(vary(loss=name, optimizer={"name": "adam", "lr": 3e-3})).history()
    assert history["train_loss"].is_monotonic_decreasing
    assert history["val_own_loss"].is_monotonic_decreasing
    assert ("val_deviance" in history) == (name == "poisson")


def test_a_settled_run_is_left_as_it_is(whole: RunFolder, tiny: Dataset, three: Arm) -> None:
    before = {file: file.stat().st_mtime_ns for file in whole.path.iterdir()}
    fit(three, tiny, 0, whole)
    assert {file: file.stat().st_mtime_ns for file in whole.path.iterdir()} == before


def test_progress_is_told_every_epoch(control: Arm, tiny: Dataset, tmp_path: Path) -> None:
    message = []
    fit(control, tiny, 0, RunFolder(tmp_path), progress=lambda e, of, row: message.append((e, of)))
    assert message == [(1, 2), (2, 2)]


def test_diagnosing_changes_nothing(
    three: Arm, whole: RunFolder, tiny: Dataset, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    fit(three, tiny, 0, folder, diagnose=True)
    assert any(folder.diagnostics.iterdir())
    assert_same_run(folder, whole)


def test_the_callers_signals_and_threads_are_given_back(
    control: Arm, trained: Callable[..., RunFolder]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    threads = threading.active_count()
    trained(control.model_copy(update={"epochs": 1, "batch_size": 64}))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert threading.active_count() == threads


def test_a_run_outside_the_main_thread_works(
    control: Arm, trained: Callable[..., RunFolder]
) -> None:
    arm = control.model_copy(update={"epochs": 1, "batch_size": 64})
    folders: list[RunFolder] = []
    thread = threading.Thread(target=lambda: folders.append(trained(arm)))
    thread.start()
    thread.join()
    assert folders and folders[0].settled


# --- interrupted ------------------------------------------------------------------------------


def signal_itself(
    arm: Arm, dataset: Dataset, path: Path, epoch: int, step: int, number: int
) -> None:
    """The body of a child: train, and send itself a signal after one step of one epoch."""
    training_step = Reconstructor.training_step

    def step_then_signal(module: Reconstructor, batch: Batch, index: int) -> None:
        training_step(module, batch, index)
        if (module.epoch, index) == (epoch, step):
            os.kill(os.getpid(), number)

    Reconstructor.training_step = step_then_signal
    folder = RunFolder(path)
    folder.start("tiny", 0, arm.epochs, {})
    fit(arm, dataset, 0, folder)


def in_a_child(*what: Any) -> int:
    """Exit code of a process of its own that runs `signal_itself`.

    Not a fork of this one: MKL's transforms, used here before, may never return in it.
    """
    child = multiprocessing.get_context("spawn").Process(target=signal_itself, args=what)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(
    whole: RunFolder, three: Arm, tiny: Dataset, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    assert in_a_child(three, tiny, folder.path, 1, 4, signal.SIGKILL) == -signal.SIGKILL
    assert folder.status()["state"] == "running" and not folder.alive()
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint["run"]["epoch"] == 1  # one epoch is lost at most
    fit(three, tiny, 0, folder)
    assert_same_run(folder, whole)
    assert [event for event in events_of(folder) if event["kind"] == "resumed"]


@pytest.mark.slow
def test_sigterm_checkpoints_the_step_and_resumes_equal(
    whole: RunFolder, three: Arm, tiny: Dataset, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    assert in_a_child(three, tiny, folder.path, 1, 4, signal.SIGTERM) == 1  # by KeyboardInterrupt
    status = folder.status()
    assert (status["state"], status["cause"]) == ("cancelled", "stopped by SIGTERM")
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint["run"]["epoch"] == 1 and len(checkpoint["run"]["records"]) == 5
    fit(three, tiny, 0, folder)
    assert_same_run(folder, whole)


def interrupt_at(epoch: int, number: int) -> Callable[[int, int, dict], None]:
    """A progress callable that signals this process at the end of `epoch`."""
    return lambda e, of, row: os.kill(os.getpid(), number) if e == epoch else None


def test_ctrl_c_at_the_end_of_an_epoch_resumes_equal(
    three: Arm, whole: RunFolder, tiny: Dataset, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(three, tiny, 0, folder, progress=interrupt_at(2, signal.SIGINT))
    assert folder.status()["state"] == "cancelled" and folder.status()["epoch"] == 2
    fit(three, tiny, 0, folder)
    assert_same_run(folder, whole)


def test_a_run_cancelled_after_its_last_epoch_only_reconstructs(
    three: Arm, whole: RunFolder, tiny: Dataset, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(three, tiny, 0, folder, progress=interrupt_at(3, signal.SIGTERM))
    message: list[int] = []
    fit(three, tiny, 0, folder, progress=lambda e, of, row: message.append(e))
    assert message == []
    assert_same_run(folder, whole)


def test_a_torn_checkpoint_falls_back_to_the_one_before(
    three: Arm, whole: RunFolder, tiny: Dataset, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(three, tiny, 0, folder, progress=interrupt_at(2, signal.SIGINT))
    content = folder.checkpoint.read_bytes()
    folder.checkpoint.write_bytes(content[: len(content) // 2])
    fit(three, tiny, 0, folder)
    kinds = [event["kind"] for event in events_of(folder)]
    assert "checkpoint_unreadable" in kinds
    resumed = next(event for event in events_of(folder) if event["kind"] == "resumed")
    assert resumed["epoch"] == 1
    assert_same_run(folder, whole)


def test_a_folder_of_another_run_is_refused(three: Arm, tiny: Dataset, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(three, tiny, 0, folder, progress=interrupt_at(1, signal.SIGINT))
    echoed = (tmp_path / "params.yaml").read_bytes()
    other = three.model_copy(update={"batch_size": 8})
    with pytest.raises(UserError, match=r"differs in batch_size, seed; choose"):
        fit(other, tiny, 1, folder)
    assert folder.status()["state"] == "stopped"
    assert (tmp_path / "params.yaml").read_bytes() == echoed


# --- that ends badly --------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_fails_with_its_epoch(
    three: Arm, tiny: Dataset, tmp_path: Path
) -> None:
    """Weights turn NaN in the second epoch: best weights of the first one are still scored."""
    folder = RunFolder(tmp_path)

    def poison(epoch: int, of: int, row: dict) -> None:
        if epoch == 1:
            module.generator.head.bias.data.fill_(float("nan"))

    from study.training import fit as fit_file

    built = fit_file.build_run

    def keep(*arguments, **keywords):
        nonlocal module
        run = built(*arguments, **keywords)
        module = run.module
        return run

    module = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_file, "build_run", keep)
        fit(three, tiny, 0, folder, progress=poison)
    status = folder.status()
    assert (status["state"], status["cause"]) == ("failed", "epoch 2: train_loss is nan")
    assert folder.settled and status["best_epoch"] == 1
    assert folder.object_file("best").is_file() and not folder.object_file("last").exists()
    assert len(folder.history()) == 2 and np.isnan(folder.history()["train_loss"][1])


def test_an_error_is_raised_and_leaves_its_cause(three: Arm, tiny: Dataset, tmp_path: Path) -> None:
    def fail(epoch: int, of: int, row: dict) -> None:
        raise OSError("the disk is full")

    folder = RunFolder(tmp_path)
    with pytest.raises(OSError, match="disk is full"):
        fit(three, tiny, 0, folder, progress=fail)
    status = folder.status()
    assert (status["state"], status["cause"]) == ("stopped", "OSError: the disk is full")


def test_a_supervised_arm_refuses_a_measurement(
    vary: Callable[..., Arm], tiny: Dataset, tmp_path: Path
) -> None:
    splits = {name: replace(split, obj=None) for name, split in tiny.splits.items()}
    measurement = replace(tiny, splits=splits)
    with pytest.raises(UserError, match="measurement without a true object"):
        fit(vary(loss="supervised"), measurement, 0, RunFolder(tmp_path))


def test_a_run_whose_alarm_still_rings_ends_as_collapsed(
    three: Arm, tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from study.training import watch

    monkeypatch.setattr(watch, "SPREAD_LIMIT", 1e3)  # no prediction is that varied
    folder = RunFolder(tmp_path)
    fit(three.model_copy(update={"epochs": 1}), tiny, 0, folder)
    status = folder.status()
    assert (status["state"], status["cause"]) == ("collapsed", "collapsed since epoch 1")
    assert folder.object_file("last").is_file()


# --- what was really set ----------------------------------------------------------------------


def test_effective_settings_come_from_live_objects(whole: RunFolder, three: Arm) -> None:
    echoed = read_yaml(whole.path / "params.yaml")
    assert echoed["optimizer"]["class"] == "torch.optim.adam.Adam"
    assert echoed["optimizer"]["lr"] == 1e-3 and echoed["optimizer"]["fused"] is True
    assert echoed["schedule"]["learning_rates"] == [1e-3] * 3
    assert echoed["clip"] == {"rule": "norm", "limit": 1.0, "excluded_parameters": []}
    assert echoed["generator"]["channels_per_level"] == [4, 8]
    assert echoed["seeds"] == {"weights": 0, "order": 0}
    assert (echoed["batches_per_epoch"], echoed["threads"]) == (11, 1)
