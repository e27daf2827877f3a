"""The compared images: a checked pair, one channel of it, and the shape of a metric set.

Design choices
- A metric is a function of a `Pair`, two real images that the set has made comparable. It returns a
  number or raises `Undefined` with the reason; it never returns NaN.
- A metric set is a value, not a class to inherit from: what it removes from the complex images, how
  it cuts the channels out, a table name -> metric, and whether the gate blanks it.
- Everything is computed in double precision, whatever precision was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

from study.settings import UserError

# Two pixels trimmed a side (`published`) must leave one 7 x 7 window.
MIN_SIDE_PX = 11


class Undefined(Exception):
    """A number that does not exist for these images; the message is the reason."""


@dataclass(frozen=True)
class ComparedImages:
    """Two complex images in object units and the pixels that count."""

    prediction: Complex[np.ndarray, "h w"]
    truth: Complex[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class Pair:
    """One channel, `amplitude` (object units) or `phase` (radians), ready to be compared."""

    channel: str
    prediction: Float[np.ndarray, "h w"]
    truth: Float[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class MetricSet:
    """`align(scene, remove_ramp)` gives the scene that is scored and what it took away."""

    align: Callable[[ComparedImages, bool], tuple[ComparedImages, dict[str, float]]]
    channels: Mapping[str, Callable[[ComparedImages], Pair]]
    metrics: Mapping[str, Callable[[Pair], float]]
    gate_blanks: bool


def checked_scene(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None
) -> ComparedImages:
    """The scene in double precision. All three are (h, w); no mask means every pixel.

    Raises UserError for images that are not complex, not two-dimensional, not finite, smaller than
    11 x 11 px or of two shapes, and for a mask that is not boolean, of another shape or empty.
    """
    for name, image in (("prediction", prediction), ("truth", truth)):
        check_object(image, f"the {name}")
    if prediction.shape != truth.shape:
        raise UserError(
            f"the prediction has shape {prediction.shape} but the truth has {truth.shape}; "
            "both must be the same window of the object: crop one of them"
        )
    if min(truth.shape) < MIN_SIDE_PX:
        raise UserError(
            f"the images have shape {truth.shape}; scores need at least "
            f"{MIN_SIDE_PX} x {MIN_SIDE_PX} px"
        )
    inside = np.ones(truth.shape, dtype=bool) if mask is None else _checked_mask(mask, truth.shape)
    return ComparedImages(prediction.astype(np.complex128), truth.astype(np.complex128), inside)


def check_object(image: np.ndarray, name: str) -> None:
    """Raises UserError, its sentence starting with `name`, unless the image is a finite complex
    (h, w) array."""
    if not np.iscomplexobj(image):
        raise UserError(f"{name} is {image.dtype}; a complex object (h, w) is needed")
    if image.ndim != 2:
        raise UserError(f"{name} has shape {image.shape}; a complex object (h, w) is needed")
    if not np.isfinite(image).all():
        bad = int((~np.isfinite(image)).sum())
        raise UserError(
            f"{name} has {bad} non-finite pixels of {image.size}; that is bad input, not a score: "
            "reconstruct it again"
        )


def _checked_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if mask.dtype != bool or mask.shape != shape:
        raise UserError(
            f"the mask is {mask.dtype} of shape {mask.shape}; a boolean mask of shape {shape} is "
            "needed"
        )
    if not mask.any():
        raise UserError("the mask selects no pixel; pass the illuminated pixels or leave it out")
    return mask


def amplitude_scale(scene: ComparedImages) -> float:
    """The factor that brings the prediction to the truth's mean amplitude.

    With a known probe it is 1.00 within a few percent; 5 % off is a defect of the reconstruction.
    """
    mean = np.abs(scene.prediction[scene.mask]).mean()
    if mean == 0:
        raise Undefined("the predicted amplitude is zero everywhere, so no factor scales it")
    return float(np.abs(scene.truth[scene.mask]).mean() / mean)


def mean_absolute_error(pair: Pair) -> float:
    """mean |prediction - truth| over the mask, in the channel's unit."""
    return float(np.abs(_difference(pair)).mean())


def mean_squared_error(pair: Pair) -> float:
    """mean (prediction - truth)^2 over the mask, in the channel's unit squared."""
    return float(np.square(_difference(pair)).mean())


def peak_signal_to_noise(pair: Pair, peak: float) -> float:
    """10 log10(peak^2 / MSE) in dB, `peak` in the channel's unit. Undefined for equal images."""
    error = mean_squared_error(pair)
    if error == 0:
        raise Undefined("the two images are equal, so the PSNR is infinite")
    return float(20 * np.log10(peak) - 10 * np.log10(error))


def _difference(pair: Pair) -> np.ndarray:
    return (pair.prediction - pair.truth)[pair.mask]
