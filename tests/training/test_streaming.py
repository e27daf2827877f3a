"""A split left on disk trains as one in memory does: to the bit, and without leftovers."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fit import assert_same_run, in_a_child
from test_prefetch import readers

from study.formats.dataset import Dataset, load_dataset, save_dataset
from study.runs import RunFolder
from study.settings import Arm, UserError, read_yaml
from study.training import watch
from study.training.checkpoints import load_checkpoint, load_weights
from study.training.data import CORNERS, COUNTS, PATCH_TRUTH, Batch, TrainData
from study.training.fit import fit
from study.training.floors import floors
from study.training.patch_errors import patch_metrics
from study.training.reconstruct import reconstruct_held_out
from study.training.setup import build_run

CPU = torch.device("cpu")
EVERYTHING = frozenset({COUNTS, PATCH_TRUTH, CORNERS})


@dataclass(frozen=True)
class Twins:
    """One data set in memory, and left on disk in `folder`."""

    memory: Dataset
    disk: Dataset
    folder: Path


def twins(dataset: Dataset, folder: Path) -> Twins:
    save_dataset(dataset, folder)
    memory, disk = (load_dataset(folder, limit_bytes=limit) for limit in (math.inf, 0))
    return Twins(memory, disk, folder)


@pytest.fixture(scope="session", params=["tiny", "grouped"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """Groups of one and of four patterns."""
    dataset = request.getfixturevalue(request.param)
    return twins(dataset, tmp_path_factory.mktemp("both") / "set")


@pytest.fixture
def single(tiny: Dataset, tmp_path: Path) -> Twins:
    return twins(tiny, tmp_path / "set")


def assert_same_batch(a: Batch, b: Batch) -> None:
    for name, left in vars(a).items():
        right = getattr(b, name)
        assert (left is None) == (right is None), name
        if isinstance(left, torch.Tensor):
            assert left.dtype == right.dtype and left.equal(right), name
        else:
            assert left == right, name


# --- batches ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    needs=st.sampled_from([frozenset(), frozenset({COUNTS}), frozenset({PATCH_TRUTH}), EVERYTHING]),
    size=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
    done=st.integers(0, 3),
)
@pytest.mark.slow
def test_batches_are_equal_to_the_bit(
    both: Twins, needs: frozenset[str], size: int, seed: int, done: int
) -> None:
    memory, disk = (TrainData(d, "validation", CPU, needs) for d in (both.memory, both.disk))
    assert (memory.held, disk.held) == ("memory", "disk")
    assert len(memory) == len(disk)
    for a, b in (
        (memory.in_order(size), disk.in_order(size)),
        (memory.shuffled(size, seed, 2), disk.shuffled(size, seed, 2)),
        (memory.shuffled(size, seed, 0).after(done), disk.shuffled(size, seed, 0).after(done)),
    ):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same_batch(left, right)
    assert not readers()


def test_chosen_patterns_are_equal_to_the_bit(both: Twins) -> None:
    memory, disk = (TrainData(d, "train", CPU, EVERYTHING) for d in (both.memory, both.disk))
    for places in ([], [0], [7, 3, 3], [*range(40, 9, -3)]):
        index = torch.tensor(places, dtype=torch.int64)
        assert_same_batch(memory.select(index), disk.select(index))


def test_a_split_on_disk_is_not_held(single: Twins) -> None:
    assert TrainData(single.disk, "train", CPU, EVERYTHING).whole is None


def test_an_abandoned_epoch_leaves_no_thread(single: Twins) -> None:
    data = TrainData(single.disk, "train", CPU)
    batches = iter(data.shuffled(4, 0, 0))
    next(batches)
    assert readers()
    del batches
    assert not readers()


def test_a_measurement_on_disk_has_no_true_patches(single: Twins) -> None:
    splits = {name: replace(split, obj=None) for name, split in single.disk.splits.items()}
    with pytest.raises(UserError, match="true patches: choose the loss mae or poisson"):
        TrainData(replace(single.disk, splits=splits), "train", CPU, frozenset({PATCH_TRUTH}))


# --- runs -------------------------------------------------------------------------------------


def fitted(arm: Arm, dataset: Dataset, folder: Path) -> RunFolder:
    run = RunFolder(folder)
    fit(arm, dataset, 0, run)
    return run


@pytest.mark.parametrize("loss", ["mae", "poisson", "supervised"])
@pytest.mark.slow
def test_two_epochs_give_the_same_weights(
    loss: str, vary: Callable[..., Arm], both: Twins, tmp_path: Path
) -> None:
    arm = vary(loss=loss)
    memory, disk = (
        fitted(arm, dataset, tmp_path / name)
        for name, dataset in (("memory", both.memory), ("disk", both.disk))
    )
    assert_same_run(memory, disk)
    assert memory.status()["floors"] == disk.status()["floors"]
    held = [read_yaml(run.path / "params.yaml")["data"]["held"] for run in (memory, disk)]
    assert held == ["memory", "disk"]
    assert not readers()


@pytest.fixture
def whole(control: Arm, single: Twins, tmp_path: Path) -> RunFolder:
    return fitted(control, single.memory, tmp_path / "whole")


@pytest.mark.parametrize("goes_on", ["memory", "disk"])
@pytest.mark.slow
def test_a_run_stopped_in_mid_epoch_resumes_equal(
    goes_on: str, whole: RunFolder, control: Arm, single: Twins, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "stopped")
    assert in_a_child(control, single.disk, folder.path, 1, 4, signal.SIGTERM) == 1
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None and len(checkpoint["run"]["records"]) == 5
    fit(control, getattr(single, goes_on), 0, folder)
    assert_same_run(folder, whole)


def test_a_run_stopped_in_mid_epoch_leaves_no_thread(
    control: Arm, single: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from study.training.reconstructor import Reconstructor

    step = Reconstructor.training_step

    def step_then_stop(module: Reconstructor, batch: Batch, index: int) -> None:
        step(module, batch, index)
        if index == 4:
            assert readers()
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Reconstructor, "training_step", step_then_stop)
    arm = control.model_copy(update={"batch_size": 4})
    folder = RunFolder(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        fit(arm, single.disk, 0, folder)
    assert folder.status()["state"] == "cancelled"
    assert not readers()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda file: file.unlink(), r"train.cxi is gone while it was in use"),
        (lambda file: os.truncate(file, file.stat().st_size // 2), r"train.cxi is torn"),
    ],
)
def test_a_file_lost_during_training_stops_the_run_with_its_name(
    harm: Callable[[Path], None], message: str, control: Arm, single: Twins, tmp_path: Path
) -> None:
    def progress(epoch: int, of: int, row: dict) -> None:
        harm(single.folder / "train.cxi")

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        fit(control, single.disk, 0, folder, progress=progress)
    status = folder.status()
    assert status["state"] == "stopped" and "train.cxi" in status["cause"]
    assert load_checkpoint(folder) is not None  # it goes on when the file is back
    assert not readers()


@pytest.mark.slow
def test_a_lost_file_resumes_when_it_is_back(
    whole: RunFolder, control: Arm, single: Twins, tmp_path: Path
) -> None:
    file, aside = single.folder / "train.cxi", tmp_path / "aside"
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"train.cxi is gone"):
        fit(control, single.disk, 0, folder, progress=lambda *_: file.rename(aside))
    aside.rename(file)
    fit(control, single.disk, 0, folder)
    assert_same_run(folder, whole)


# --- what else reads the patterns -------------------------------------------------------------


def test_floors_and_patch_metrics_do_not_see_where_the_patterns_are(
    both: Twins, control: Arm
) -> None:
    assert floors(both.memory, CPU) == floors(both.disk, CPU)
    generator = build_run(control, both.memory, 3, CPU).generator
    found = [patch_metrics(generator, d, "validation") for d in (both.memory, both.disk)]
    assert found[0] == found[1] and found[0]["available"]


@pytest.mark.slow
def test_diagnosing_a_run_on_disk_writes_what_it_would_in_memory(
    control: Arm, single: Twins, tmp_path: Path
) -> None:
    folders = []
    for name in ("memory", "disk"):
        folders.append(RunFolder(tmp_path / name))
        fit(control, getattr(single, name), 0, folders[-1], diagnose=True)
    files = [
        {file.name: file.read_bytes() for file in run.diagnostics.iterdir()} for run in folders
    ]
    assert files[0] == files[1] and set(files[0]) >= {watch.LOADER, watch.PATCHES}


def test_a_held_out_reconstruction_is_the_same(whole: RunFolder, single: Twins) -> None:
    network, _, _ = load_weights(whole.best)
    memory, disk = (reconstruct_held_out(network, d) for d in (single.memory, single.disk))
    np.testing.assert_array_equal(memory.reconstruction.object, disk.reconstruction.object)
    assert memory.r_factor_held_out == disk.r_factor_held_out
