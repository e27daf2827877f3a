"""Monitors of a run: the collapse alarm (always) and the diagnostics (on request).

Design choices
- Both are Lightning callbacks that read the run and never change it: weights, gradients and random
  streams are what they would be without. No hook runs during a step. The check costs one
  forward pass of `WATCHED_PATTERNS` patterns per epoch; `diagnose` one more
  forward and backward pass, of the first batch.
- One set of files under diagnostics/. Every record names its `source`: `training` (the callback,
  at the first batch of each epoch), `collapse` or `dead_layers` (an alarm, when it last began),
  `best` or `last` (a stored checkpoint, `diagnose_run`), and its `epoch`: the one that begins for
  `training`, else the one that has ended.
- A resumed run repeats no record: those of epochs that it will train again are dropped first.
- Two alarms are judged at the end of every epoch, and both may end again. `collapse`: all
  predictions look the same; it decides the state of the run. `dead_layers`: nearly all units of a
  layer are dead; networks with skip connections continue learning past one, so it is reported, not
  judged. The epoch at which a present alarm began is in status.json, null while there is none;
  events.jsonl keeps them all, with the facts.

    loader_stats.jsonl   first batch of train and validation, probe, scales, validation loader
    activations.jsonl    input, lifter, blocks, spectral and local branch, patch |.| and angle
    gradients.jsonl      every parameter, and local over spectral by block
    patch_metrics.json   by source: |O P| against |Y P| before stitching, by scaling
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import lightning
import torch
from jaxtyping import Complex64
from torch import Tensor, nn

from study.formats.dataset import Dataset
from study.reading import parse_json
from study.runs import RunFolder, append_line, plain, read_json, read_lines, write_json, write_text
from study.settings import BatchOrder, UserError
from study.training.checkpoints import load_weights
from study.training.conditioning import provide_data
from study.training.data import Batch, TrainData
from study.training.diagnostics import (
    Record,
    activations,
    gradients,
    loader_stats,
    loss_gradients,
    observing,
    pattern_spread,
)
from study.training.losses import LOSSES, Loss, weighted
from study.training.patch_errors import patch_metrics
from study.training.reconstructor import Reconstructor
from study.training.setup import read_in_effect
from study.training.step import predict

# Collapsed: the predicted patterns differ from each other by less than this fraction of the spread
# of the measured ones. Healthy networks stay above it from their first epoch on and under strong
# noise, which widens the measured spread only (tried, n = 16: 0.015 and more, 0.07 at 1e3 photons
# per pattern); collapsed ones fall to rounding, under 1e-6.
SPREAD_LIMIT = 0.01
# Measured patterns that differ by rounding only cannot serve as a reference.
ALIKE = 1e-6
# Dead: this share of a layer's units. ReLU networks learn with half of them dead, and one of a
# head's two (the imaginary part of an object without phase) may rightly be constant.
DEAD_LIMIT = 0.9
WATCHED_PATTERNS = 32
# Alarm -> the key of status.json with the epoch at which it began.
ALARMS = {"collapse": "collapsed_at_epoch", "dead_layers": "dead_layers_at_epoch"}
LOADER, ACTIVATIONS = "loader_stats.jsonl", "activations.jsonl"
GRADIENTS, PATCHES = "gradients.jsonl", "patch_metrics.json"


def callbacks(diagnose: bool, folder: RunFolder, dataset: Dataset) -> list[lightning.Callback]:
    """The alarm, and with `diagnose` the diagnostics, for one run; placed before
    the checkpoint callback."""
    alarm = CollapseAlarm(folder, dataset)
    return [alarm, Diagnose(folder, dataset)] if diagnose else [alarm]


def collapsed_at_epoch(folder: RunFolder) -> int | None:
    """Epoch (from 1) at which the present collapse began; None if there is none."""
    return folder.status().get(ALARMS["collapse"])


# --- what is diagnosed ------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A network with the loss and the data that it is trained with, on one device."""

    generator: nn.Module
    probe: Complex64[Tensor, "*m n n"]
    loss: Loss
    dataset: Dataset
    train_data: TrainData
    batch_size: int
    batch_order: BatchOrder
    order_seed: int

    def first_batch(self) -> Batch:
        """The first batch of epoch 1, whatever the current epoch."""
        size, seed = self.batch_size, self.order_seed
        return next(iter(self.train_data.shuffled(size, seed, 0, self.batch_order)))

    def gradients(self, batch: Batch) -> list[Record]:
        """Records of d loss / d parameters of one batch, before any clip."""
        with torch.enable_grad():
            prediction = predict(self.generator, self.probe, batch.amplitude)
            loss = self.loss(prediction, batch, self.dataset.manifest.photon_scale)
            return gradients(self.generator, loss_gradients(self.generator, loss))

    def loaders(self) -> list[Record]:
        """Records of the first batch of train and validation."""
        patterns = len(self.dataset.splits["validation"].counts)
        first = {
            "train": self.first_batch().index.cpu().numpy(),
            "validation": torch.arange(min(patterns, self.batch_size)).numpy(),
        }
        batches = -(-patterns // self.batch_size)
        return loader_stats(self.dataset, first, batches if patterns else None)


def subject_of(module: Reconstructor, dataset: Dataset) -> Subject:
    """The network of a live run."""
    return Subject(
        generator=module.generator,
        probe=module.step.probe,
        loss=module.step.loss,
        dataset=dataset,
        train_data=module.train_data,
        batch_size=module.arm.batch_size,
        batch_order=module.arm.batch_order,
        order_seed=module.order_seed,
    )


# --- the files --------------------------------------------------------------------------------

Drop = Callable[[Record], bool]


def _lines(records: Sequence[Record], source: str, epoch: int) -> list[str]:
    label = {"source": source, "epoch": epoch}
    return [json.dumps(plain({**label, **record}), allow_nan=False) for record in records]


def _replace(path: Path, drop: Drop, lines: Sequence[str] = ()) -> None:
    """Rewrite a file of records without those for which `drop` is true, and append `lines`. Lines
    that are no records are left out: a kill, or a full disk, leaves parts of lines.
    """
    found = ((line, _record(line, path)) for line in read_lines(path))
    kept = [line for line, record in found if record is not None and not drop(record)]
    if path.is_file() or lines:
        write_text(path, "".join(f"{line}\n" for line in (*kept, *lines)))


def _record(line: str, path: Path) -> Record | None:
    """A line as a record with its source and epoch, or None."""
    try:
        record = parse_json(line, path)
    except UserError:
        return None
    known = isinstance(record, dict) and isinstance(record.get("source"), str)
    return record if known and isinstance(record.get("epoch"), int) else None


def _from(source: str) -> Drop:
    return lambda record: record["source"] == source


def _write_patches(subject: Subject, out: Path, source: str, epoch: int) -> None:
    facts = patch_metrics(subject.generator, subject.dataset, "validation")
    path = out / PATCHES
    before = read_json(path)
    others = before if isinstance(before, dict) else {}
    write_json(path, {**others, source: {"epoch": epoch, **facts}})


def write_snapshot(subject: Subject, out: Path, source: str, epoch: int) -> list[Path]:
    """All four files for the present weights, from the first batch; returns their paths.

    Records of the same source are replaced, all others kept.
    """
    batch = subject.first_batch()
    records = {
        LOADER: subject.loaders(),
        ACTIVATIONS: activations(subject.generator, batch.amplitude),
        GRADIENTS: subject.gradients(batch),
    }
    for name, found in records.items():
        _replace(out / name, _from(source), _lines(found, source, epoch))
    _write_patches(subject, out, source, epoch)
    return [out / name for name in (*records, PATCHES)]


# --- collapse ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class CollapseCheck:
    """The facts of one epoch end.

    `relative_spread` is None where all measured patterns are alike, so that it has no meaning;
    `dead_layers` are those over `DEAD_LIMIT`, with their share.
    """

    predicted_spread: float
    measured_spread: float
    relative_spread: float | None
    dead_layers: dict[str, float]

    def rings(self, alarm: str) -> bool:
        if alarm == "dead_layers":
            return bool(self.dead_layers)
        return self.relative_spread is not None and self.relative_spread < SPREAD_LIMIT


def check_collapse(module: Reconstructor) -> CollapseCheck:
    """Spread of the predicted against the measured validation patterns, and layers that died.

    `WATCHED_PATTERNS` patterns, evenly spaced over the split; see `pattern_spread` for the measure.
    """
    data = module.validation_data
    chosen = torch.linspace(0, len(data) - 1, min(len(data), WATCHED_PATTERNS)).long()
    measured = data.select(chosen).amplitude
    with observing(module.generator):
        predicted = predict(module.generator, module.step.probe, measured).amplitude
    spreads = pattern_spread(predicted), pattern_spread(measured)
    return CollapseCheck(
        *spreads,
        relative_spread=spreads[0] / spreads[1] if spreads[1] > ALIKE else None,
        dead_layers={name: share for name, share in module.dead.items() if share > DEAD_LIMIT},
    )


class CollapseAlarm(lightning.Callback):
    """Follows the two alarms; writes diagnostics when one begins. Training continues.

    Events: `collapse` and `dead_layers` at the beginning, the same with `_over` at the end.
    """

    def __init__(self, folder: RunFolder, dataset: Dataset) -> None:
        self.folder = folder
        self.dataset = dataset
        self.since: dict[str, int | None] = dict.fromkeys(ALARMS)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """A resumed run takes up its alarms, unless their epoch is trained again."""
        done, status = cast(Reconstructor, pl_module).epoch, self.folder.status()
        for alarm, key in ALARMS.items():
            before = status.get(key)
            self._mark(alarm, before if before is not None and before <= done else None)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        module = cast(Reconstructor, pl_module)
        judgement = check_collapse(module)
        for alarm in ALARMS:
            if self._follow(alarm, judgement, module.epoch):
                subject = subject_of(module, self.dataset)
                write_snapshot(subject, self.folder.diagnostics, alarm, module.epoch)

    def _follow(self, alarm: str, judgement: CollapseCheck, epoch: int) -> bool:
        """Note a change of one alarm; whether it begins now."""
        rings = judgement.rings(alarm)
        if rings == (self.since[alarm] is not None):
            return False
        self._mark(alarm, epoch if rings else None)
        kind = alarm if rings else f"{alarm}_over"
        limits = {"spread_limit": SPREAD_LIMIT, "dead_limit": DEAD_LIMIT}
        self.folder.event(kind, epoch=epoch, **vars(judgement), **limits)
        self.folder.log(f"epoch {epoch}: {kind}")
        return rings

    def _mark(self, alarm: str, epoch: int | None) -> None:
        self.since[alarm] = epoch
        self.folder.update_status(**{ALARMS[alarm]: epoch})


# --- diagnostics during training --------------------------------------------------------------


class Diagnose(lightning.Callback):
    """`--diagnose`: loaders at the start, one batch of every epoch, patches at the end."""

    def __init__(self, folder: RunFolder, dataset: Dataset) -> None:
        self.out = folder.diagnostics
        self.dataset = dataset

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        module = cast(Reconstructor, pl_module)
        # The records of an epoch in progress are kept: they were written at its first batch.
        begun = module.epoch + bool(module.records)
        for name in (ACTIVATIONS, GRADIENTS):
            _replace(self.out / name, lambda r: _from("training")(r) and r["epoch"] > begun)
        loaders = subject_of(module, self.dataset).loaders()
        _replace(self.out / LOADER, _from("training"), _lines(loaders, "training", 1))

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: list[Batch],
        batch_idx: int,
    ) -> None:
        module = cast(Reconstructor, pl_module)
        if module.records:
            return
        subject, epoch = subject_of(module, self.dataset), module.epoch + 1
        whole = next(iter(module.batches()))  # `batch` may be this rank's piece of it
        records = {
            ACTIVATIONS: activations(subject.generator, whole.amplitude),
            GRADIENTS: subject.gradients(whole),
        }
        for name, found in records.items():
            append_line(self.out / name, "\n".join(_lines(found, "training", epoch)))

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        module = cast(Reconstructor, pl_module)
        _write_patches(subject_of(module, self.dataset), self.out, "training", module.epoch)


# --- diagnostics of a stored checkpoint -------------------------------------------------------


def diagnose_run(
    folder: RunFolder,
    dataset: Dataset,
    which: str = "last",
    out: Path | None = None,
) -> list[Path]:
    """The same files from the stored weights of `which` (source `best` or `last`), on the CPU.

    One forward and backward pass of the first batch of the run's own order, and the validation
    patches. Written to `out`, the run's diagnostics/ when None; returns the paths. Raises UserError
    for any name other than best or last, while the run is training, when the weights or params.yaml
    cannot be read, and for data of another size.
    """
    if which not in ("best", "last"):
        raise UserError(f"checkpoint is {which!r}; accepted: best, last")
    if folder.status().get("state") == "running" and folder.alive():
        raise UserError(f"{folder.path} is still training; wait for its end or cancel it")
    file = folder.best if which == "best" else folder.last
    generator, network, epoch = load_weights(file)
    provide_data(generator, dataset, torch.device("cpu"))
    settings = read_in_effect(folder.path / "params.yaml")
    _check_size(dataset, network.n, network.channels)
    loss = weighted(LOSSES[settings.loss.name], settings.loss.overlap_weight)
    subject = Subject(
        generator=generator,
        probe=torch.tensor(dataset.forward_probe),
        loss=loss,
        dataset=dataset,
        train_data=TrainData(dataset, "train", torch.device("cpu"), loss.needs),
        batch_size=settings.batch_size,
        batch_order=settings.batch_order,
        order_seed=settings.seeds.order,
    )
    return write_snapshot(subject, out or folder.diagnostics, which, epoch)


def _check_size(dataset: Dataset, n: int, channels: int) -> None:
    manifest = dataset.manifest
    if (manifest.n, manifest.group_size) != (n, channels):
        raise UserError(
            f"the network takes n = {n} and group_size {channels}; data set {manifest.name} has "
            f"n = {manifest.n} and group_size {manifest.group_size}; choose a data set with "
            f"n = {n} and group_size {channels}"
        )
