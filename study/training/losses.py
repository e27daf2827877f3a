"""Losses: how far a prediction is from the measurement, as a number of order 1.

Every loss is a ratio of two sums, error / scale, over the patterns at hand: a batch doubled with
itself has the same loss, and the loss of a split is the ratio of its summed parts. Both sums are
over the known pixels of the detector.

    mae         sum |A_pred - X| / sum X                          zero output: exactly 1
    poisson     sum deviance / (2 sum counts), in photons         zero output: large
    supervised  sum |O - Y exp(i phi)| / sum |Y exp(i phi)|       zero output: exactly 1

`overlap_weight` adds weight * sum |A(O_bar) - X| / sum X (`overlap_terms`): what the patches of one
batch stitch shall explain the patterns too, as ptychography demands of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Complex64, Float, Float32
from torch import Tensor

from study.optics import adjoint, diffract, extract, light_of
from study.optics.counts import counts_from_amplitude
from study.settings import LossParams, SupervisedLoss
from study.training.data import CORNERS, COUNTS, PATCH_TRUTH, Batch

RATE_FLOOR = 1e-6  # photons per pixel: keeps the logarithm of a dark prediction finite


@dataclass(frozen=True)
class Prediction:
    """`patch` O in network units; `amplitude` A_pred = |far_field(P_sim O)|, dimensionless;
    `probe`: P_sim or its modes, as provided."""

    patch: Complex64[Tensor, "b c n n"]
    amplitude: Float32[Tensor, "b c n n"]
    probe: Complex64[Tensor, "*m n n"]


ScalarTensor = Float[Tensor, ""]
Terms = tuple[ScalarTensor, ScalarTensor]


def mae_terms(prediction: Prediction, batch: Batch, photon_scale: float) -> Terms:
    """Sums of |A_pred - X| and of X: mean absolute error relative to the mean amplitude."""
    error = (prediction.amplitude - batch.amplitude).abs()
    return batch.judged(error).sum(), batch.judged(batch.amplitude).sum()


def poisson_deviance(
    rate: Float[Tensor, "*shape"], counts: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """2 (I - k + k ln(k / I)) per pixel; k = 0 contributes 2 I. Photons; zero where I = k.

    Twice the log-likelihood ratio to the saturated model (McCullagh & Nelder 1989, table 2.1).
    Computed in float64: at 1e7 photons the terms cancel to seven digits.
    """
    rate, counts = rate.double(), counts.double()
    return 2 * (rate - counts + torch.xlogy(counts, counts) - torch.xlogy(counts, rate))


def predicted_rate(prediction: Prediction, photon_scale: float) -> Float[Tensor, "b c n n"]:
    """Expected photons (S A_pred)^2 + 1e-6 per pixel, float64."""
    return counts_from_amplitude(prediction.amplitude.double(), photon_scale) + RATE_FLOOR


def poisson_terms(prediction: Prediction, batch: Batch, photon_scale: float) -> Terms:
    """Summed deviance and twice the summed counts (at least one photon)."""
    assert batch.counts is not None, "the loss poisson declares that it needs counts"
    deviance = poisson_deviance(predicted_rate(prediction, photon_scale), batch.counts)
    counts = batch.judged(batch.counts.double()).sum()
    return batch.judged(deviance).sum(), 2 * counts.clamp(min=1.0)


def supervised_terms(prediction: Prediction, batch: Batch, photon_scale: float) -> Terms:
    """Sums of |O - truth| and of |truth|, network units."""
    assert batch.patch_truth is not None, "the loss supervised declares that it needs patch_truth"
    return (prediction.patch - batch.patch_truth).abs().sum(), batch.patch_truth.abs().sum()


def overlap_terms(prediction: Prediction, batch: Batch) -> Terms:
    """Sums of |A(O_bar) - X| and of X, O_bar the object that the patches of the batch stitch.

    O_bar at a pattern's place is the illumination-weighted mean of all patches of the batch that
    overlap there. One pattern does not determine the phase of its patch; patches that meet in one
    object have to agree in it. A patch without neighbours is its own mean.
    """
    assert batch.corners is not None and batch.canvas is not None, "the overlap needs the corners"
    corners, probe = batch.corners.flatten(0, 1), prediction.probe
    light = light_of(probe)
    patch = prediction.patch.flatten(0, 1)
    seen = adjoint(light.expand(len(patch), -1, -1), corners, batch.canvas)
    summed = adjoint(light * patch, corners, batch.canvas)
    mean = extract(summed / seen.clamp(min=1e-6 * light.max()), corners, len(light))
    amplitude = diffract(probe, mean).view_as(batch.amplitude)
    error = (amplitude - batch.amplitude).abs()
    return batch.judged(error).sum(), batch.judged(batch.amplitude).sum()


def with_overlap(
    terms: Callable[[Prediction, Batch, float], Terms],
    weight: float,
    prediction: Prediction,
    batch: Batch,
    photon_scale: float,
) -> Terms:
    """The two sums of a loss, with the overlap's ratio times `weight` added to theirs."""
    error, scale = terms(prediction, batch, photon_scale)
    joint_error, joint_scale = overlap_terms(prediction, batch)
    return error + weight * scale.detach() * joint_error / joint_scale, scale


@dataclass(frozen=True)
class Loss:
    """A loss by its two sums; `needs` names the fields of a batch that it reads besides X."""

    name: str
    terms: Callable[[Prediction, Batch, float], Terms]
    needs: frozenset[str] = frozenset()
    overlap_weight: float = 0.0

    def __call__(self, prediction: Prediction, batch: Batch, photon_scale: float) -> ScalarTensor:
        """The loss of one batch. The scale is measured, so it carries no gradient."""
        error, scale = self.terms(prediction, batch, photon_scale)
        return error / scale.detach()


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("mae", mae_terms),
        Loss("poisson", poisson_terms, frozenset({COUNTS})),
        Loss("supervised", supervised_terms, frozenset({PATCH_TRUTH})),
    )
}


def build_loss(params: LossParams) -> Loss:
    """The loss of an arm."""
    weight = 0.0 if isinstance(params, SupervisedLoss) else params.overlap_weight
    return weighted(LOSSES[params.name], weight)


def weighted(loss: Loss, weight: float) -> Loss:
    """A loss with `weight` times the overlap's disagreement added; itself for 0."""
    if weight == 0:
        return loss
    terms = partial(with_overlap, loss.terms, weight)
    return Loss(loss.name, terms, loss.needs | {CORNERS}, weight)
