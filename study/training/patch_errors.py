"""Error of the patches before stitching, against the true patches of the data set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from study.formats.dataset import Dataset
from study.optics import exit_wave
from study.training.data import PATCH_TRUTH, TrainData
from study.training.diagnostics import Record, observing

PATTERNS_AT_ONCE = 64


def patch_metrics(generator: nn.Module, dataset: Dataset, split: str) -> Record:
    """Amplitude error of the patches before stitching: |O P| against the true |Y P|.

    In network units, weighted by the probe so that dark corners do not count, over every pattern of
    the split; under two scalings, each named: `none`, and `mean` (the prediction times the factor
    that gives it the truth's mean, as the published scores do; left out for a zero prediction). A
    measurement has no truth: `available` is false and `reason` explains it.
    """
    facts = {"split": split, "quantity": "abs(object) * abs(probe), network units"}
    if dataset.splits[split].obj is None:
        reason = f"data set {dataset.manifest.name} is a measurement: no true object is known"
        return {**facts, "available": False, "reason": reason, "scalings": []}
    device = next(generator.parameters()).device
    data = TrainData(dataset, split, device, frozenset({PATCH_TRUTH}))
    probe = torch.tensor(dataset.probe, device=device)
    plain = _errors("none", 1.0, generator, probe, data)
    scalings = [plain.facts]
    if plain.predicted > 0:
        scale = plain.truth / plain.predicted
        scalings.append(_errors("mean", scale, generator, probe, data).facts)
    return {**facts, "available": True, "patterns": len(data), "scalings": scalings}


@dataclass(frozen=True)
class Errors:
    """Errors of a split under one scaling, and the sums that the next scaling is made of."""

    facts: Record
    predicted: float
    truth: float


def _errors(
    scaling: str,
    scale: float,
    generator: nn.Module,
    probe: Complex[Tensor, "n n"],
    data: TrainData,
) -> Errors:
    """One pass over the split, batch by batch: it may lie on disk."""
    sums = torch.zeros(4, dtype=torch.float64, device=probe.device)
    pixels = 0
    for batch in data.in_order(PATTERNS_AT_ONCE):
        assert batch.patch_truth is not None, "the data hold the true patches"
        with observing(generator):
            predicted = exit_wave(probe, generator(batch.amplitude)).abs()
        truth = exit_wave(probe, batch.patch_truth).abs()
        difference = scale * predicted - truth
        parts = (difference.abs(), difference.square(), predicted, truth)
        sums += torch.stack([part.sum(dtype=torch.float64) for part in parts])
        pixels += truth.numel()
    error, squared, *levels = sums.tolist()
    facts = {"scaling": scaling, "scale": scale, "mae": error / pixels, "mse": squared / pixels}
    return Errors(facts, *levels)
