"""Writes history and checkpoints of a run while it trains, and stops it between two steps.

An epoch ends with its row, then the best weights, then the checkpoint: whatever is killed in
between, the checkpoint and the weights that it names exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning

from study.metrics.survival import Event, find_event
from study.runs import RunFolder
from study.runs.status import losses_of_floors
from study.training.checkpoints import keep_checkpoint, save_checkpoint, save_weights
from study.training.reconstructor import HistoryRow
from study.training.setup import Run
from study.training.stopping import Stop

Progress = Callable[[int, int, HistoryRow], None]


class Diverged(Exception):
    """The loss of an epoch is not finite."""


class CheckpointCallback(lightning.Callback):
    """Writes what must survive: history, best weights, checkpoint, status; and heeds a stop."""

    def __init__(self, run: Run, folder: RunFolder, stop: Stop, progress: Progress | None) -> None:
        self.run = run
        self.folder = folder
        self.stop = stop
        self.progress = progress

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        # Lightning set its own handlers, which end a run without a checkpoint of ours.
        self.stop.listen()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # After the last batch the epoch is closed first: its checkpoint is the next one.
        if self.stop.cause is not None and not trainer.is_last_batch:
            self.save()
            self.stop.check()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        module = self.run.module
        row = module.history[-1]
        self.folder.write_history([*module.history])
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(row[name]):
                raise Diverged(f"epoch {row['epoch']}: {name} is {row[name]}")
        if best_row(module.history) is row:
            save_weights(self.folder.best, module.generator, self.run.network, module.epoch)
        self.save()
        if self._traced:
            keep_checkpoint(self.folder, row["epoch"])
        self.report(row)
        if self.event() is not None:
            trainer.should_stop = True
        self.stop.check()

    @property
    def _traced(self) -> bool:
        rule = self.run.arm.survival
        return rule is not None and rule.traced_seed == self.run.seed

    def event(self) -> Event | None:
        """The death of a survival run in the epochs so far; None while alive, and of other runs."""
        rule = self.run.arm.survival
        if rule is None:
            return None
        floors = losses_of_floors(self.folder.checked_status(), self.folder.status_file)
        losses = [row["val_loss"] for row in self.run.module.history]
        return find_event(losses, *floors, rule)

    def save(self) -> None:
        state = {"identity": self.run.identity, "run": self.run.module.state_dict_of_run()}
        save_checkpoint(self.folder, state)

    def report(self, row: HistoryRow) -> None:
        best = best_row(self.run.module.history)
        self.folder.update_status(
            epoch=row["epoch"],
            val_loss=row["val_loss"],
            best_epoch=best["epoch"],
            best_val_loss=best["val_loss"],
            why_eager=self.run.module.advance.why_eager,
        )
        epochs = self.run.arm.epochs
        self.folder.log(
            f"epoch {row['epoch']}/{epochs} train {row['train_loss']:.5g} "
            f"val {row['val_loss']:.5g} lr {row['learning_rate']:.3g} {row['seconds']:.2f} s"
        )
        if self.progress is not None:
            self.progress(row["epoch"], epochs, row)


def best_row(history: Sequence[HistoryRow]) -> HistoryRow:
    """The epoch with the lowest validation loss, the earliest of equals."""
    finite = [row for row in history if math.isfinite(row["val_loss"])]
    return min(finite, key=lambda row: row["val_loss"])
