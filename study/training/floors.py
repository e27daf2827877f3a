"""What a loss can be at best and at worst on one data set, so that skill has its two ends.

All three are relative mean absolute errors (the `val_loss` of every arm) on the validation split:
the true patches (what noise alone leaves), the best constant object, and the zero object (1).
"""

from __future__ import annotations

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from study.formats.dataset import Dataset
from study.optics import diffract
from study.training.data import PATCH_TRUTH, TrainData

CHUNK = 256
ZERO_LOSS = 1.0


def noise_floor(data: TrainData, probe: Complex64[Tensor, "n n"]) -> float:
    """Loss of the true patches: sum |A_true - X| / sum X; `data` holds the true patches."""
    error = torch.zeros((), dtype=torch.float64, device=probe.device)
    for batch in data.in_order(CHUNK):
        assert batch.patch_truth is not None, "the noise floor needs data with the true patches"
        amplitude = diffract(probe, batch.patch_truth)
        error += (amplitude - batch.amplitude).abs().sum(dtype=torch.float64)
    return float(error / data.amplitude.sum(dtype=torch.float64))


def best_constant_loss(
    amplitude: Float32[Tensor, "J c n n"], probe: Complex64[Tensor, "n n"]
) -> float:
    """min over a >= 0 of sum |a B - X| / sum X, B = |far_field(probe)| a constant object's pattern.

    The minimum of a weighted sum of |a - X / B| lies at the weighted median of X / B.
    """
    shape = diffract(probe, torch.ones_like(probe))  # (n, n)
    lit = shape > 0
    weight = shape[lit]  # (pixels,)
    ratio = amplitude.flatten(0, 1)[:, lit] / weight  # (patterns, pixels)
    reached = weight.expand_as(ratio).flatten()
    ratio, order = ratio.flatten().sort()
    reached = reached[order].cumsum(0, dtype=torch.float64)
    best = ratio[torch.searchsorted(reached, reached[-1:] / 2)]
    error = (best * shape - amplitude).abs().sum(dtype=torch.float64)
    return float(error / amplitude.sum(dtype=torch.float64))


def floors(dataset: Dataset, device: torch.device) -> dict[str, float | None]:
    """noise (None for a measurement), best_constant and zero, on the validation split."""
    known = dataset.splits["validation"].obj is not None
    data = TrainData(dataset, "validation", device, frozenset({PATCH_TRUTH} if known else ()))
    probe = torch.tensor(dataset.probe, device=device)
    return {
        "noise": noise_floor(data, probe) if known else None,
        "best_constant": best_constant_loss(data.amplitude, probe),
        "zero": ZERO_LOSS,
    }
