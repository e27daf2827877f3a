"""The LightningModule of a run: which batches, when a step, what is logged once an epoch.

Optimisation is manual: a training step is one call of `TrainStep`, so nothing of it hides in
Lightning; schedules are stepped here, between epochs. What a step measures stays on the device
until the epoch ends. All state that a resumed run needs is in `state_dict_of_run`: the order of an
epoch depends on its number only, so no generator state is kept.

history.csv, one row an epoch (`history`)
    epoch                   finished epochs, from 1
    train_loss              mean over the batches of the loss that is trained on
    val_loss, val_own_loss  validation split: relative MAE for all arms; the trained loss
    val_deviance            per pixel, only where the loss reads counts
    learning_rate           read back from the optimiser
    gradient_norm_*         median, p99, max over the batches, before the clip; then after it
    clipped_fraction        mean share of what the rule looks at that it shortened
    amplitude_std           std of A_pred over a batch, mean over the batches
    patch_std               std of |O| within a patch, mean over the validation split
    norm_weight.BLOCK.*, layerscale.BLOCK.*   mean, std, largest magnitude
    dead.LAYER              share of dead units on the first validation batch
    gradient_ratio          norm of the local over the spectral weights' gradient, the median over
                            the blocks, in the last step of the epoch, after the clip

timing.csv, one row an epoch
    seconds, peak_memory_mib
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim import Optimizer

from study.settings import Arm
from study.training.data import Batch, Batches, Groups, TrainData
from study.training.diagnostics import dead_units, gradient_ratio, norm_stats
from study.training.graph import GraphedStep
from study.training.optimizers import load_state, set_rate, used_rate
from study.training.ranks import ALONE, Ranks
from study.training.schedules import LearningRate
from study.training.step import RECORD, TrainStep
from study.training.validation import Totals

MIB = 2**20
# Steps that one call of Lightning's loop takes. A step on a GPU is shorter than the loop around it;
# a CPU's is long, and a stop should not wait for many. Several devices meet in every call.
STEPS_PER_CALL = {"cuda": 64, "cpu": 1}
HistoryRow = dict[str, Any]


class Reconstructor(lightning.LightningModule):
    """One run in memory: step, data, schedule, and the history so far.

    `epoch`: finished epochs; `history`: one row each; `records`: the steps of the unfinished epoch.
    """

    def __init__(
        self,
        arm: Arm,
        step: TrainStep,
        train_data: TrainData,
        validation_data: TrainData,
        order_seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.arm = arm
        self.generator = step.generator
        self.step = step
        self.advance = GraphedStep(step, arm.batch_size, ranks)
        self.train_data = train_data
        self.validation_data = validation_data
        self.order_seed = order_seed
        self.ranks = ranks
        self.schedule = LearningRate(arm)
        self.epoch = 0
        self.history: list[HistoryRow] = []
        self.records: list[Tensor] = []
        self.seconds_before = 0.0
        self.started = time.perf_counter()

    def batches(self) -> Batches:
        """All batches of the current epoch, not only this rank's share."""
        arm = self.arm
        return self.train_data.shuffled(
            arm.batch_size, self.order_seed, self.epoch, arm.batch_order
        )

    # -- what Lightning asks for

    def configure_optimizers(self) -> Optimizer:
        return self.step.optimizer

    def train_dataloader(self) -> Groups:
        mine = self.batches().after(len(self.records)).share(self.ranks.rank, self.ranks.size)
        at_once = 1 if self.ranks.several else STEPS_PER_CALL[self.step.probe.device.type]
        return mine.in_groups(at_once)

    def val_dataloader(self) -> Batches:
        return self.validation_data.in_order(self.arm.batch_size)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """The split is already on the device."""
        return batch

    def on_train_epoch_start(self) -> None:
        self.started = time.perf_counter()
        set_rate(self.step.optimizer, self.schedule.rate(self.epoch))

    def training_step(self, batch: list[Batch], batch_index: int) -> None:
        self.records += [self.advance(each) for each in batch]

    def on_validation_model_zero_grad(self) -> None:
        """Lightning would drop the gradients here; the row of the epoch reads them, and the next
        step drops them itself."""

    def on_validation_epoch_start(self) -> None:
        self.totals = Totals(self.step.loss, self.step.photon_scale, self.step.probe.device)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self.totals.add(self.step.forward(batch), batch)
        if batch_index == 0:
            self.dead = dead_units(self.generator, batch.amplitude)

    def on_validation_epoch_end(self) -> None:
        """Close the epoch: its row, then the schedule's look at the validation loss."""
        validation = self.ranks.agree(self.totals.facts())
        self.epoch += 1
        self.ranks.compare(self.generator, self.epoch)
        row = {"epoch": self.epoch, **self._training_facts(), **validation, **self._network_facts()}
        self.history.append({**row, "seconds": self.seconds, "peak_memory_mib": self._peak_mib()})
        self.records, self.seconds_before = [], 0.0
        self.schedule.observe(validation["val_loss"])

    # -- the row of an epoch

    @property
    def seconds(self) -> float:
        """Spent on the current epoch, before a resume too."""
        return self.seconds_before + time.perf_counter() - self.started

    def _training_facts(self) -> HistoryRow:
        steps = torch.stack(self.records).double().cpu()  # (steps, 5): one copy per epoch
        columns = dict(zip(RECORD, steps.unbind(dim=1), strict=True))
        return {
            "train_loss": float(columns["loss"].mean()),
            "learning_rate": used_rate(self.step.optimizer),
            **_spread("gradient_norm", columns["gradient_norm"]),
            **_spread("gradient_norm_clipped", columns["gradient_norm_clipped"]),
            "clipped_fraction": float(columns["clipped_fraction"].mean()),
            "amplitude_std": float(columns["amplitude_std"].mean()),
        }

    def _network_facts(self) -> HistoryRow:
        row: HistoryRow = {}
        for block, kinds in norm_stats(self.generator).items():
            for kind, facts in kinds.items():
                row |= {f"{kind}.{block}.{name}": value for name, value in facts.items()}
        ratio = gradient_ratio(self.generator)
        row |= {} if ratio is None else {"gradient_ratio": ratio}
        return row | {f"dead.{layer}": share for layer, share in self.dead.items()}

    def _peak_mib(self) -> float:
        """Most memory so far: of the tensors on CUDA, of the process on a CPU."""
        if self.step.probe.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / MIB
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB

    # -- going on later

    def state_dict_of_run(self) -> HistoryRow:
        """Tensors and plain values that `load_state_dict_of_run` continues from, bit for bit."""
        return {
            "epoch": self.epoch,
            "generator": self.generator.state_dict(),
            "optimizer": self.step.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "records": self.records,
            "seconds": self.seconds if self.records else 0.0,
        }

    def load_state_dict_of_run(self, state: HistoryRow) -> None:
        device = self.step.probe.device
        self.epoch = state["epoch"]
        self.generator.load_state_dict(state["generator"])
        load_state(self.step.optimizer, state["optimizer"])
        self.advance.forget()
        self.schedule.load_state_dict(state["schedule"])
        self.history = list(state["history"])
        self.records = [record.to(device) for record in state["records"]]
        self.seconds_before = state["seconds"]


def _spread(name: str, values: Tensor) -> HistoryRow:
    """median, 99th percentile and maximum over the steps; NaN where any step is NaN."""
    quantiles = torch.quantile(values, torch.tensor([0.5, 0.99], dtype=values.dtype))
    median, p99 = quantiles.tolist()
    return {f"{name}_median": median, f"{name}_p99": p99, f"{name}_max": float(values.max())}
