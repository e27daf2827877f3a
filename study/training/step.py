"""One training step, as one object: forward, loss, backward, clip, optimiser.

`Reconstructor.training_step` calls it through `GraphedStep`, which records it as a CUDA graph where
that is possible; a test calls it directly. Nothing in it waits for the device, and what it measures
stays there as five numbers per step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor, nn
from torch.optim import Optimizer

from study.optics import diffract
from study.settings import Arm
from study.training.clipping import Clipper
from study.training.data import Batch
from study.training.legacy import couple
from study.training.losses import Loss, Prediction, build_loss
from study.training.optimizers import build_optimizer

# Numbers recorded by a step, in this order.
RECORD = ("loss", "gradient_norm", "gradient_norm_clipped", "clipped_fraction", "amplitude_std")


def predict(
    generator: nn.Module,
    probe: Complex64[Tensor, "*m n n"],
    amplitude: Float32[Tensor, "b c n n"],
) -> Prediction:
    """Patch of every measured pattern, and the amplitude that the forward model gives for it.

    `probe`: P_sim, or modes (m, n, n) whose intensities add up.
    """
    patch = generator(amplitude)  # (b, c, n, n) complex, network units
    return Prediction(patch, diffract(probe, patch), probe)


class TrainStep:
    """One training step on one device. `photon_scale`: S of the data set.

    `coupled_to`: None, or the size of a full batch under the defect of `training.legacy`.
    """

    def __init__(
        self,
        generator: nn.Module,
        probe: Complex64[Tensor, "*m n n"],
        photon_scale: float,
        loss: Loss,
        optimizer: Optimizer,
        clip: Clipper,
        coupled_to: int | None = None,
    ) -> None:
        self.generator = generator
        self.probe = probe
        self.photon_scale = photon_scale
        self.loss = loss
        self.optimizer = optimizer
        self.clip = clip
        self.coupled_to = coupled_to

    def forward(self, batch: Batch) -> Prediction:
        return predict(self.generator, self.probe, batch.amplitude)

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Leave d loss / d parameters in `.grad`; returns the loss and the std of A_pred."""
        self.optimizer.zero_grad(set_to_none=True)
        prediction = self.forward(batch)
        if self.coupled_to is not None:
            prediction = couple(prediction, self.coupled_to)
        loss = self.loss(prediction, batch, self.photon_scale)
        loss.backward()
        return loss.detach(), prediction.amplitude.detach().std()

    def __call__(self, batch: Batch) -> Float32[Tensor, " 5"]:
        """One step on one batch; returns the numbers named by `RECORD`, on the device."""
        loss, amplitude_std = self.backward(batch)
        clipped = self.clip()
        self.optimizer.step()
        facts = (loss, clipped.norm_before, clipped.norm_after, clipped.fraction, amplitude_std)
        return torch.stack([fact.float() for fact in facts])


def make_step(
    arm: Arm,
    generator: nn.Module,
    probe: Complex64[Tensor, "*m n n"],
    photon_scale: float,
    kind: Callable[..., TrainStep] = TrainStep,
) -> TrainStep:
    """The step of `arm` for a network and a probe on one device, built by `kind`."""
    limit, rule = arm.clip.gradient_clip_val, arm.clip.gradient_clip_algorithm
    return kind(
        generator=generator,
        probe=probe,
        photon_scale=photon_scale,
        loss=build_loss(arm.loss),
        optimizer=build_optimizer(arm.optimizer, generator.parameters(), probe.device),
        clip=Clipper(generator, rule, limit, arm.clip.exclude_head),
        coupled_to=arm.batch_size if arm.legacy.batch_coupled_probe else None,
    )
