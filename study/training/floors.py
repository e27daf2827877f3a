"""Best and worst loss on a data set, the reference points of skill.

All three are relative mean absolute errors (the `val_loss` of every arm) on the validation split:
the true patches (what noise alone leaves), the best constant object, and the zero object (1). The
split is gone through batch by batch, so that it may lie on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Complex64, Float32, Float64, Int32
from torch import Tensor

from study.formats.dataset import Dataset
from study.optics import diffract
from study.training.data import PATCH_TRUTH, TrainData

CHUNK = 256
ZERO_LOSS = 1.0


def noise_floor(data: TrainData, probe: Complex64[Tensor, "*m n n"]) -> float:
    """Loss of the true patches: sum |A_true - X| / sum X; `data` holds the true patches."""
    error, scale = torch.zeros(2, dtype=torch.float64, device=probe.device)
    for batch in data.in_order(CHUNK):
        assert batch.patch_truth is not None, "the noise floor needs data with the true patches"
        amplitude = diffract(probe, batch.patch_truth)
        error += batch.judged((amplitude - batch.amplitude).abs()).sum(dtype=torch.float64)
        scale += batch.judged(batch.amplitude).sum(dtype=torch.float64)
    return float(error / scale)


def best_constant(data: TrainData, probe: Complex64[Tensor, "*m n n"]) -> Float32[Tensor, "n n"]:
    """a B of the constant object that fits a split best, B = |far_field(probe)|.

    The minimum over a >= 0 of a weighted sum of |a - X / B| is at the weighted median of X / B.
    """
    shape = diffract(probe, torch.ones_like(probe.reshape(-1, *probe.shape[-2:])[0]))  # (n, n)
    lit = shape > 0 if data.known is None else (shape > 0) & data.known
    weight = shape[lit]  # (pixels,)

    def ratios() -> Iterator[Float32[Tensor, "b pixels"]]:
        for batch in data.in_order(CHUNK):
            yield batch.amplitude.flatten(0, 1)[:, lit] / weight

    return weighted_median(ratios, weight) * shape


def best_constant_loss(data: TrainData, probe: Complex64[Tensor, "*m n n"]) -> float:
    """min over a >= 0 of sum |a B - X| / sum X, see `best_constant`."""
    fitted = best_constant(data, probe)
    error, scale = torch.zeros(2, dtype=torch.float64, device=probe.device)
    for batch in data.in_order(CHUNK):
        error += batch.judged((fitted - batch.amplitude).abs()).sum(dtype=torch.float64)
        scale += batch.judged(batch.amplitude).sum(dtype=torch.float64)
    return float(error / scale)


def weighted_median(
    rows: Callable[[], Iterator[Float32[Tensor, "b pixels"]]], weight: Float32[Tensor, " pixels"]
) -> Float32[Tensor, ""]:
    """Smallest of all values, none negative, up to which half of their weight lies.

    `rows()` goes through the values, of any number, in blocks; `weight` belongs to the columns. The
    bits of floats that are not negative are ordered as they are, so two passes find it: the first
    the upper half of its bits, the second the lower (a radix selection).
    """

    def weigh(bins: Callable[[Int32[Tensor, "b pixels"]], Tensor]) -> Float64[Tensor, " 65536"]:
        weights = torch.zeros(2**16 + 1, dtype=torch.float64, device=weight.device)
        for block in rows():
            bits = bins(block.abs().view(torch.int32))  # abs: a zero may carry a sign
            share = weight.double().expand_as(block).flatten()
            weights += torch.bincount(bits.flatten(), share, len(weights))
        return weights[:-1].cumsum(0)

    reached = weigh(lambda bits: bits >> 16)
    half = reached[-1:] / 2
    upper = torch.searchsorted(reached, half)
    below = torch.where(upper > 0, reached[upper - 1], 0.0)
    other = 2**16  # the bin of what lies elsewhere
    within = weigh(lambda bits: torch.where(bits >> 16 == upper, bits & 0xFFFF, other))
    lower = torch.searchsorted(below + within, half)
    return ((upper << 16) + lower).to(torch.int32).view(torch.float32)[0]


def floors(dataset: Dataset, device: torch.device) -> dict[str, float | None]:
    """noise (None for a measurement), best_constant and zero, on the validation split."""
    known = dataset.splits["validation"].obj is not None
    data = TrainData(dataset, "validation", device, frozenset({PATCH_TRUTH} if known else ()))
    probe = torch.tensor(dataset.forward_probe, device=device)
    return {
        "noise": noise_floor(data, probe) if known else None,
        "best_constant": best_constant_loss(data, probe),
        "zero": ZERO_LOSS,
    }
