"""Several devices train the function that one trains, and none of them is left behind.

The processes here are real ones on the CPU, joined by gloo; nccl differs by its name alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from checking import events_of
from study.formats.dataset import Dataset
from study.runs import RunFolder, environment
from study.settings import Arm, UserError, read_yaml
from study.training import fit as fit_file
from study.training.data import Batch, TrainData
from study.training.fit import fit
from study.training.ranks import Ranks, SharedStep, bit_sum, check_devices
from study.training.reconstructor import Reconstructor
from study.training.setup import build_run

CPU = torch.device("cpu")
PATTERNS = 169  # of the tiny data set
AGC = {"gradient_clip_algorithm": "agc", "gradient_clip_val": 0.01, "exclude_head": False}


# --- the law, without processes ---------------------------------------------------------------


@given(batch_size=st.integers(1, PATTERNS + 3), of=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_pieces_make_up_the_batch_and_differ_by_one_pattern_at_most(
    tiny: Dataset, batch_size: int, of: int
) -> None:
    whole = TrainData(tiny, "train", CPU).shuffled(batch_size, order_seed=3, epoch=1)
    shares = [whole.share(rank, of) for rank in range(of)]
    assert all(len(share) == len(whole) for share in shares)
    for batch, *pieces in zip(whole, *shares, strict=True):
        assert torch.cat([piece.index for piece in pieces]).equal(batch.index)
        assert torch.cat([piece.amplitude for piece in pieces]).equal(batch.amplitude)
        sizes = [len(piece.index) for piece in pieces]
        assert max(sizes) - min(sizes) <= 1


@dataclass(frozen=True)
class Known(Ranks):
    """Ranks whose sums over all were added up beforehand."""

    sums: Tensor | None = None

    def total(self, parts: Tensor) -> Tensor:
        assert self.sums is not None
        return self.sums


@pytest.mark.parametrize("count", [2, 7, 16])  # two patterns for three ranks: one gets none
@pytest.mark.parametrize("name", ["mae", "poisson", "supervised"])
def test_the_mean_of_the_ranks_gradients_is_that_of_the_joint_batch(
    name: str, count: int, tiny: Dataset, vary: Callable[..., Arm]
) -> None:
    arm, size = vary(loss=name, batch_size=16), 3
    alone = build_run(arm, tiny, 0, CPU).module
    batch = alone.train_data.select(torch.arange(count))
    loss, std = alone.step.backward(batch)
    whole = [value.grad for value in alone.generator.parameters()]

    steps = [build_run(arm, tiny, 0, CPU, Ranks(rank, size)).module.step for rank in range(size)]
    pieces = [alone.train_data.select(index) for index in torch.arange(count).tensor_split(size)]
    sums = torch.zeros(5, dtype=torch.float64)
    gradients = []
    for step, piece in zip(steps, pieces, strict=True):
        assert isinstance(step, SharedStep)
        sums += step.parts(piece)[1]
    for step, piece in zip(steps, pieces, strict=True):
        assert isinstance(step, SharedStep)
        step.ranks, step.backpropagate = Known(0, size, sums), lambda loss: loss.backward()
        shared_loss, shared_std = step.backward(piece)
        assert float(shared_loss) == pytest.approx(float(loss), rel=1e-6)
        assert float(shared_std) == pytest.approx(float(std), rel=1e-5)
        gradients.append([value.grad for value in step.generator.parameters()])
    for expected, *parts in zip(whole, *gradients, strict=True):
        assert expected is not None
        torch.testing.assert_close(sum(parts) / size, expected, rtol=1e-4, atol=1e-7)
    if count < size:
        assert all(not gradient.any() for gradient in gradients[-1])


def test_the_checksum_sees_the_last_bit_and_no_nan() -> None:
    weights = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    moved = weights.clone()
    moved[3, 2] = torch.nextafter(moved[3, 2], torch.tensor(9.0))
    assert bit_sum(moved) != bit_sum(weights)
    assert bit_sum(weights.t()) == bit_sum(weights)
    assert bit_sum(torch.full((4,), float("nan"))) == 0


def test_more_devices_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(environment, "cores", lambda: 4)
    check_devices(4, 16)
    with pytest.raises(UserError, match="has 4 cores and no GPU; accepted: 1 to 4"):
        check_devices(5, 16)
    with pytest.raises(UserError, match=r"a batch of this arm has 2 patterns.*accepted: 1 to 2"):
        check_devices(3, 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="has 2 GPUs; accepted: 1 to 2"):
        check_devices(3, 16)


# --- two processes ----------------------------------------------------------------------------


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks on the CPU, whatever machine this is."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(environment, "cores", lambda: 2)


def save_weights_at_the_end(file: Path) -> None:
    """From now on a run in this process leaves its weights (float32) in `file`."""

    def save(module: Reconstructor) -> None:
        torch.save(module.generator.state_dict(), file)

    Reconstructor.on_train_end = save


def keeping_help(file: Path, *arguments) -> None:
    save_weights_at_the_end(file)
    fit_file._help(*arguments)


def dying_help(*arguments) -> None:
    """A worker that is killed in its fourth step."""
    training_step = Reconstructor.training_step

    def step(module: Reconstructor, batch: Batch, index: int) -> None:
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        training_step(module, batch, index)

    Reconstructor.training_step = step
    fit_file._help(*arguments)


def failing_help(*arguments) -> None:
    raise SystemExit(3)


def drifting_help(*arguments) -> None:
    """A worker whose weights move by one bit after the first epoch."""

    def drift(module: Reconstructor) -> None:
        bias = module.generator.get_parameter("head.bias").data
        bias[0] = torch.nextafter(bias[0], torch.tensor(9.0))

    Reconstructor.on_validation_end = drift
    fit_file._help(*arguments)


def helped_by(monkeypatch: pytest.MonkeyPatch, part: Callable[..., None]) -> None:
    monkeypatch.setattr(fit_file, "_help", part)


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Children that run this python's multiprocessing; not its resource tracker.

    Other tests of this process leave children too, which may end at any moment.
    """
    return [child for child in process.children() if "spawn_main" in command_of(child)]


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return ""


def signal_the_workers(epoch: int, of: int, row: dict) -> None:
    workers = workers_of(psutil.Process())
    assert len(workers) == 1
    for worker in workers:
        worker.send_signal(signal.SIGINT)
        worker.send_signal(signal.SIGTERM)


CASES = {
    "mae, norm, a last batch of 5 + 4": {},
    "poisson, agc, a last batch of 1 + 0": {
        "loss": "poisson",
        "clip": AGC,
        "batch_size": 24,
    },
}


def assert_equal_up_to_rounding(found: torch.Tensor, wanted: torch.Tensor, lr: float) -> None:
    """Adam divides by the size of past gradients: where these are near zero, rounding of the sums
    over ranks moves a weight by part of a learning rate. How often depends on the processor."""
    off = ~torch.isclose(found, wanted, rtol=1e-3, atol=1e-5)
    assert off.sum() <= 0.01 * off.numel()
    assert (found - wanted).abs().max() <= lr


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_end_with_equal_weights_which_are_those_of_one(
    case: str,
    tiny: Dataset,
    vary: Callable[..., Arm],
    tmp_path: Path,
    two_cores: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And Ctrl-C and SIGTERM, which a terminal sends to workers too, do nothing to them."""
    arm = vary(**CASES[case])
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    monkeypatch.setattr(Reconstructor, "on_train_end", Reconstructor.on_train_end)  # to go back
    variables = dict(os.environ)
    save_weights_at_the_end(tmp_path / "one.pt")
    fit(arm, tiny, 0, one)
    helped_by(monkeypatch, partial(keeping_help, tmp_path / "rank1.pt"))
    save_weights_at_the_end(tmp_path / "rank0.pt")
    fit(arm, tiny, 0, two, devices=2, progress=signal_the_workers)

    names = ("one.pt", "rank0.pt", "rank1.pt")
    alone, rank0, rank1 = (torch.load(tmp_path / name, weights_only=True) for name in names)
    assert alone.keys() == rank0.keys() == rank1.keys()
    for name, value in alone.items():
        assert rank0[name].equal(rank1[name])
        assert_equal_up_to_rounding(rank0[name], value, arm.optimizer.lr)
    left, right = one.history(), two.history()
    pandas.testing.assert_frame_equal(left, right, rtol=1e-4, atol=1e-7)
    assert two.status()["state"] == one.status()["state"] == "finished"
    assert [read_yaml(run.path / "params.yaml")["devices"] for run in (one, two)] == [1, 2]
    assert {file.name for file in one.path.iterdir()} == {file.name for file in two.path.iterdir()}
    assert dict(os.environ) == variables and not torch.distributed.is_initialized()
    assert workers_of(psutil.Process()) == []


@pytest.mark.slow
def test_stopped_within_an_epoch_and_resumed_equals_uninterrupted(
    tiny: Dataset,
    control: Arm,
    tmp_path: Path,
    two_cores: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    fit(control, tiny, 0, whole, devices=2)
    training_step = Reconstructor.training_step

    def step_then_signal(module: Reconstructor, batch: Batch, index: int) -> None:
        training_step(module, batch, index)
        if (module.epoch, index) == (1, 4):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Reconstructor, "training_step", step_then_signal)
        fit(control, tiny, 0, folder, devices=2)
    assert folder.status()["state"] == "cancelled" and folder.checkpoint.is_file()
    assert workers_of(psutil.Process()) == []
    fit(control, tiny, 0, folder, devices=2)
    resumed = next(event for event in events_of(folder) if event["kind"] == "resumed")
    assert (resumed["epoch"], resumed["steps"]) == (1, 5)
    pandas.testing.assert_frame_equal(folder.history(), whole.history(), check_exact=True)
    for name in ("best", "last"):
        assert folder.object_file(name).read_bytes() == whole.object_file(name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "says"),
    [
        (dying_help, "rank 1 of 2 was killed by signal 9 .* during training"),
        (failing_help, "rank 1 of 2 exited with 3 during training"),
        (
            drifting_help,
            "the 2 devices hold different weights after epoch 2 .1 parameters, first head.bias",
        ),
    ],
)
def test_a_rank_that_fails_is_named_at_once_and_the_run_can_go_on(
    part: Callable[..., None],
    says: str,
    tiny: Dataset,
    control: Arm,
    tmp_path: Path,
    two_cores: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, started = RunFolder(tmp_path), time.monotonic()
    helped_by(monkeypatch, part)
    with pytest.raises(UserError, match=says):
        fit(control, tiny, 0, folder, devices=2)
    assert time.monotonic() - started < 60
    assert folder.status()["state"] == "stopped" and folder.checkpoint.is_file()
    assert workers_of(psutil.Process()) == [] and not torch.distributed.is_initialized()
    fit(control, tiny, 0, folder)
    assert folder.settled


def note_the_workers_and_die(arm: Arm, dataset: Dataset, path: Path) -> None:
    """The body of a child: train on two ranks, and kill -9 itself after the first epoch."""
    folder = RunFolder(path)

    def die(epoch: int, of: int, row: dict) -> None:
        (worker,) = workers_of(psutil.Process())
        np.savetxt(folder.path / "worker", [worker.pid], fmt="%d")
        os.kill(os.getpid(), signal.SIGKILL)

    fit(arm, dataset, 0, folder, devices=2, progress=die)


@pytest.mark.slow
def test_workers_end_when_rank_0_is_killed(
    tiny: Dataset, control: Arm, tmp_path: Path, two_cores: None
) -> None:
    folder = RunFolder(tmp_path)
    child = multiprocessing.get_context("spawn").Process(
        target=note_the_workers_and_die, args=(control, tiny, folder.path)
    )
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    pid, deadline = int(np.loadtxt(folder.path / "worker")), time.monotonic() + 10
    while running(pid):
        assert time.monotonic() < deadline, "the worker outlives rank 0"
        time.sleep(0.02)


def running(pid: int) -> bool:
    """Whether a process still does anything: an orphan that nobody reaps does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
