"""Timed runs in the loop of `study train`: Lightning, several steps per call, validation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from statistics import median
from typing import Any

import lightning
import torch

from bench.clock import now
from bench.subject import Subject
from study.training import fit, reconstructor
from study.training.setup import Run

WITHOUT = "measured without a graph"


class Stopwatch(lightning.Callback):
    """Seconds of the steps and of the validation of each epoch; synchronises at each end.

    Placed before the callbacks that write files, so that their time is not included.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.training: list[float] = []
        self.validation: list[float] = []

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.started = now(self.device)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.is_last_batch:
            self.training.append(now(self.device) - self.started)

    def on_validation_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.validating = now(self.device)

    def on_validation_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.validation.append(now(self.device) - self.validating)


def train(run: Run, *watchers: lightning.Callback) -> None:
    """Train all epochs of a run with the trainer of `study train`, without writing files."""
    with fit._quiet_lightning():
        fit._trainer(run, list(watchers)).fit(run.module)


def check_recorded(run: Run) -> None:
    """Raise RuntimeError if a GPU run did not use its graph, which would invalidate the figure."""
    why = run.module.advance.why_eager
    if run.module.step.probe.device.type == "cuda" and why is not None:
        raise RuntimeError(why)


@contextlib.contextmanager
def steps_per_call(steps: int, device: torch.device) -> Iterator[None]:
    """Temporarily change the number of steps per call of Lightning's loop."""
    table = reconstructor.STEPS_PER_CALL
    before = dict(table)
    table[device.type] = steps
    try:
        yield
    finally:
        table.clear()
        table.update(before)


def eager_step(subject: Subject, device: torch.device) -> float:
    """Seconds per step as in plain Lightning: without a graph, one step per call."""
    run = subject.run(0, device)
    run.module.advance.why_eager = WITHOUT
    with steps_per_call(1, device):
        return _per_step(run, device)


def graphed_step(subject: Subject, device: torch.device) -> float:
    """Seconds per step as in `study train`."""
    run = subject.run(0, device)
    taken = _per_step(run, device)
    check_recorded(run)
    return taken


def _per_step(run: Run, device: torch.device) -> float:
    """Median over the epochs after the first, in which the graph is recorded."""
    watch = Stopwatch(device)
    train(run, watch)
    arm, module = run.arm, run.module
    steps = len(module.train_data.shuffled(arm.batch_size, module.order_seed, 0))
    return median(watch.training[1:]) / steps
