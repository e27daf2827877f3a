"""The losses of a whole split, summed batch by batch on the device.

`val_loss` is the relative mean absolute error for every arm, so that all arms can be compared;
`val_own_loss` is the loss that the arm trains on, over the same patterns.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex64
from torch import Tensor, nn

from study.training.data import Batch, TrainData
from study.training.losses import LOSSES, Loss, Prediction, poisson_deviance, predicted_rate
from study.training.step import predict

BATCH = 64


class Totals:
    """Sums over the batches of one split; nothing waits for the device before `facts`."""

    def __init__(self, loss: Loss, photon_scale: float, device: torch.device) -> None:
        self.loss = loss
        self.photon_scale = photon_scale
        self._sums = {
            name: torch.zeros((), dtype=torch.float64, device=device)
            for name in (
                "error",
                "scale",
                "own_error",
                "own_scale",
                "deviance",
                "pixels",
                "patch_std",
            )
        }
        self._patches = 0

    def add(self, prediction: Prediction, batch: Batch) -> None:
        error, scale = LOSSES["mae"].terms(prediction, batch, self.photon_scale)
        own_error, own_scale = self.loss.terms(prediction, batch, self.photon_scale)
        self._add(error=error, scale=scale, own_error=own_error, own_scale=own_scale)
        self._add(patch_std=prediction.patch.abs().std(dim=(-2, -1)).sum())
        if batch.counts is not None:
            rate = predicted_rate(prediction, self.photon_scale)
            self._add(deviance=batch.judged(poisson_deviance(rate, batch.counts)).sum())
            self._add(pixels=batch.judged(torch.ones_like(batch.counts)).sum())
        self._patches += prediction.patch[..., 0, 0].numel()

    def _add(self, **parts: Tensor) -> None:
        for name, part in parts.items():
            self._sums[name] += part

    def facts(self) -> dict[str, float]:
        """Losses of the split and the mean std of |O| within a patch (network units).

        `val_deviance` is per known pixel, twice the loss of the counts; only where the loss reads
        counts.
        """
        sums = {name: float(value) for name, value in self._sums.items()}
        facts = {
            "val_loss": sums["error"] / sums["scale"],
            "val_own_loss": sums["own_error"] / sums["own_scale"],
            "patch_std": sums["patch_std"] / self._patches,
        }
        pixels = sums["pixels"]
        return facts | ({"val_deviance": sums["deviance"] / pixels} if pixels else {})


@torch.no_grad()
def evaluate(
    generator: nn.Module,
    probe: Complex64[Tensor, "*m n n"],
    photon_scale: float,
    data: TrainData,
    loss: Loss,
) -> dict[str, float]:
    """`Totals.facts` of a split under a network, in evaluation mode; the mode is restored."""
    totals = Totals(loss, photon_scale, probe.device)
    mode = generator.training
    generator.eval()
    for batch in data.in_order(BATCH):
        totals.add(predict(generator, probe, batch.amplitude), batch)
    generator.train(mode)
    return totals.facts()
