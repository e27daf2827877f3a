"""The metric set `published`: the definitions of the earlier work, kept to repeat its numbers.

Two pixels a side are trimmed; the amplitude is scaled to the truth's mean; a phase plane is fitted
and removed from prediction and truth. Known weaknesses, kept on purpose: the scaling hides a wrong
amplitude, PSNR's peak is 255 in object units and radians alike, the phase is scored against a data
range of one turn (a flat phase gets 0.84), and an FRC that is never crossed reads as the curve's
length. Any constant amplitude gets SSIM 0.2771 and MAE 0.5131 on the published test object, so the
gate is beside these numbers. They are compared with published ones, never with `standard`.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from study.metrics import similarity
from study.metrics.frc import centre_square, crossing, frc
from study.metrics.gauge import angle, ramp
from study.metrics.pair import (
    ComparedImages,
    MetricSet,
    Pair,
    Undefined,
    amplitude_scale,
    mean_absolute_error,
    mean_squared_error,
    peak_signal_to_noise,
)
from study.settings import UserError

TRIM_PX = 2
PEAK = 255.0
MS_SSIM_BLUR_PX = 1.0
MS_SSIM_FLOOR = 1e-4


def align(scene: ComparedImages, remove_ramp: bool) -> tuple[ComparedImages, dict[str, float]]:
    """Trim. Raises UserError for a mask or a ramp request: the published definition has neither."""
    if remove_ramp or not scene.mask.all():
        raise UserError(
            "the metric set published scores every pixel and always removes a phase plane; got "
            f"{'remove_ramp' if remove_ramp else 'a mask'}: leave it out or use the set standard"
        )
    inner = (slice(TRIM_PX, -TRIM_PX),) * 2
    return ComparedImages(scene.prediction[inner], scene.truth[inner], scene.mask[inner]), {}


def amplitude(scene: ComparedImages) -> Pair:
    """Amplitudes, the prediction's scaled to the truth's mean. Undefined for a zero prediction."""
    scaled = amplitude_scale(scene) * np.abs(scene.prediction)
    return Pair("amplitude", scaled, np.abs(scene.truth), scene.mask)


def phase(scene: ComparedImages) -> Pair:
    """Phases in rad, without their own best planes; not unwrapped."""
    flat = [without_plane(angle(image)) for image in (scene.prediction, scene.truth)]
    return Pair("phase", flat[0], flat[1], scene.mask)


def without_plane(phase_rad: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """phase - (a x + b y + c) by least squares: on a full centred grid the three are orthogonal."""
    rest = phase_rad - phase_rad.mean()
    for slopes in ((1.0, 0.0), (0.0, 1.0)):
        basis = ramp(rest.shape, slopes)
        rest = rest - basis * (np.vdot(basis, rest) / np.vdot(basis, basis))
    return rest


def psnr(pair: Pair) -> float:
    """PSNR in dB with peak 255, whatever the unit."""
    return peak_signal_to_noise(pair, PEAK)


def ssim(pair: Pair) -> float:
    """SSIM 7 x 7; data range the truth's for amplitude, 1 for phase mapped to turns."""
    prediction, truth = _mapped(pair)
    data_range = 1.0 if pair.channel == "phase" else float(np.ptp(truth))
    return similarity.ssim(prediction, truth, data_range, pair.mask)


def ms_ssim(pair: Pair) -> float:
    """Product of max(SSIM, 1e-4)^weight over levels [::2], amplitude blurred by 1 px first.

    Unlike Wang et al. 2003 every level has the full SSIM, nothing is low-passed between levels, and
    an image too small for five levels keeps the unused weight as a gift.
    """
    prediction, truth = _mapped(pair)
    if pair.channel == "amplitude":
        prediction, truth = (
            gaussian_filter(image, MS_SSIM_BLUR_PX) for image in (prediction, truth)
        )
    data_range = max(float(np.ptp(prediction)), float(np.ptp(truth)))
    levels = similarity.ssim_by_level(
        prediction, truth, data_range, pair.mask, lambda image: image[::2, ::2]
    )
    return math.prod(max(value, MS_SSIM_FLOOR) ** weight for weight, value in levels)


def frc50(pair: Pair) -> float:
    """Where the FRC of the centre square crosses 0.5, in rings; the curve's length if nowhere."""
    curve = frc(centre_square(pair.prediction), centre_square(pair.truth))
    try:
        return crossing(curve, 0.5)
    except Undefined:
        return float(len(curve))


def _mapped(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Phases in turns, (phi + pi) / 2 pi; amplitudes as they are."""
    if pair.channel == "amplitude":
        return pair.prediction, pair.truth
    return (pair.prediction + np.pi) / (2 * np.pi), (pair.truth + np.pi) / (2 * np.pi)


PUBLISHED = MetricSet(
    align=align,
    channels={"amplitude": amplitude, "phase": phase},
    metrics={
        "mae": mean_absolute_error,
        "mse": mean_squared_error,
        "psnr": psnr,
        "ssim": ssim,
        "ms_ssim": ms_ssim,
        "frc50": frc50,
    },
    gate_blanks=False,
)
