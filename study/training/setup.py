"""A run in memory, built from settings, and its settings in effect.

The effective settings are read from the objects that will act (optimiser, network, clip rule,
schedule), not from the request: a setting that was lost on the way shows in the run's
params.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from study.formats.dataset import Dataset
from study.generators import Generator
from study.reading import quoted, read_yaml
from study.settings import Arm, BatchOrder, Scalar, UserError, explain, leaves, nearest
from study.settings.base import Count, Seed
from study.training import precision, process
from study.training.checkpoints import Network
from study.training.conditioning import provide_data
from study.training.data import TrainData
from study.training.losses import LOSSES
from study.training.optimizers import effective
from study.training.ranks import ALONE, Ranks, SharedStep
from study.training.reconstructor import Reconstructor
from study.training.schedules import learning_rates
from study.training.step import TrainStep, make_step


@dataclass(frozen=True)
class Run:
    """A run in memory: what it is, and the module that trains it."""

    arm: Arm
    seed: int
    data_sha256: str
    network: Network
    generator: Generator
    module: Reconstructor

    @property
    def identity(self) -> dict[str, Scalar]:
        """Facts that must agree with a checkpoint to continue it."""
        return {**leaves(self.arm), "seed": self.seed, "data_sha256": self.data_sha256}


def build_run(
    arm: Arm, dataset: Dataset, seed: int, device: torch.device, ranks: Ranks = ALONE
) -> Run:
    """Data, network and step of one run on `device`; nothing is written."""
    manifest = dataset.manifest
    network = Network(arm.generator, manifest.n, manifest.group_size)
    generator = network.build(seed).to(device)
    precision.use(arm.precision, generator, device)
    probe = provide_data(generator, dataset, device)
    kind = partial(SharedStep, ranks) if ranks.several else TrainStep
    step = make_step(arm, generator, probe, manifest.photon_scale, kind)
    needs = step.loss.needs
    module = Reconstructor(
        arm,
        step,
        TrainData(dataset, "train", device, needs),
        TrainData(dataset, "validation", device, needs),
        order_seed=seed if arm.order_seed is None else arm.order_seed,
        ranks=ranks,
    )
    if isinstance(step, SharedStep):
        step.backpropagate = module.manual_backward
    return Run(arm, seed, manifest.content_sha256, network, generator, module)


class _Described(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class LossInEffect(_Described):
    name: str
    overlap_weight: float


class SeedsInEffect(_Described):
    order: Seed


class InEffect(_Described):
    """The part of a run's params.yaml (`describe`) that is read again."""

    loss: LossInEffect
    batch_size: Count
    batch_order: BatchOrder
    seeds: SeedsInEffect


def read_in_effect(file: Path) -> InEffect:
    """The settings in effect of a stored run. Raises UserError, which names the key."""
    content = read_yaml(file)
    try:
        found = InEffect.model_validate(content)
    except ValidationError as error:
        raise UserError(
            f"{file}: {explain(error, content, '', InEffect)}; restore it (`dvc checkout`), or "
            "train the run again"
        ) from None
    if found.loss.name not in LOSSES:
        raise UserError(
            f"{file}: unknown loss.name {quoted(found.loss.name)}{nearest(found.loss.name, LOSSES)}"
        )
    return found


def describe(run: Run, dataset: Dataset) -> dict[str, Any]:
    """The settings in effect, read from the built objects, not from the arm."""
    module, step = run.module, run.module.step
    manifest, arm = dataset.manifest, run.arm
    batches = module.batches()
    schedule = {
        "name": module.schedule.settings.name,
        "stepped": "every epoch",
        "learning_rates": learning_rates(arm),
    }
    clip = {
        "rule": step.clip.rule,
        "limit": step.clip.limit,
        "excluded_parameters": step.clip.excluded,
    }
    data = {
        "name": manifest.name,
        "content_sha256": manifest.content_sha256,
        "photon_scale": manifest.photon_scale,
        "n": manifest.n,
        "group_size": manifest.group_size,
        "held": module.train_data.held,
        "train_patterns": len(module.train_data),
        "validation_patterns": len(module.validation_data),
    }
    return {
        "generator": {
            "name": arm.generator.name,
            **run.generator.effective(),
        },
        "loss": {"name": step.loss.name, "overlap_weight": step.loss.overlap_weight},
        "optimizer": effective(step.optimizer),
        "schedule": schedule,
        "clip": clip,
        "data": data,
        "seeds": {"weights": run.seed, "order": module.order_seed},
        "epochs": arm.epochs,
        "batch_size": arm.batch_size,
        "legacy": {"batch_coupled_probe": step.coupled_to is not None},
        "batches_per_epoch": len(batches),
        "batch_order": arm.batch_order,
        "precision": precision.effective(run.generator, step.probe.device),
        "cuda_graph": module.advance.why_eager or "recorded after the first steps",
        "device": str(step.probe.device),
        "devices": module.ranks.size,
        "threads": torch.get_num_threads(),
        "flushes_denormals": process.flushes_denormals(),
    } | ({} if arm.survival is None else {"survival": arm.survival.model_dump()})
