"""The metric set `standard`: what this study means by a score.

- The global phase is removed once, from the complex image; a phase ramp only on request. Nothing
  else is fitted: the amplitude scale is reported and its error stays in the scores.
- Only pixels of the mask (the illuminated ones) count.
- The phase error is angle(a conj b), in (-pi, pi]; the phase image that SSIM and FRC see is the
  truth's phase plus that error, so no false 2 pi jump enters.
- Data range and peak are the truth's own. Phase has no zero, so its peak is its range.
- FRC with the mean removed and a Hann window (edges of the field otherwise correlate), up to
  Nyquist, in 1/px. "not crossed" is an answer.
- A degenerate channel has no scores at all: see `study.metrics.gate`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from study.metrics import similarity
from study.metrics.frc import centre_square, crossing, frc
from study.metrics.gauge import angle, global_phase, phase_ramp, ramp
from study.metrics.pair import (
    ComparedImages,
    MetricSet,
    Pair,
    Undefined,
    mean_absolute_error,
    mean_squared_error,
    peak_signal_to_noise,
)

# A level of the pyramid without any likeness has SSIM <= 0, which no weight can be the power of.
MS_SSIM_FLOOR = 1e-4


def align(scene: ComparedImages, remove_ramp: bool) -> tuple[ComparedImages, dict[str, float]]:
    """Both images turned to the truth's mean direction; what was taken off the prediction."""
    prediction, truth, mask = scene.prediction, scene.truth, scene.mask
    slopes = phase_ramp(prediction, truth, mask) if remove_ramp else (0.0, 0.0)
    prediction = prediction * np.exp(-1j * ramp(truth.shape, slopes))
    offset = global_phase(prediction, truth, mask)
    direction = np.angle(truth[mask].sum())
    aligned = ComparedImages(
        prediction * np.exp(-1j * (offset + direction)), truth * np.exp(-1j * direction), mask
    )
    return aligned, {
        "global_phase_rad": offset,
        "ramp_y_rad_per_px": slopes[0],
        "ramp_x_rad_per_px": slopes[1],
    }


def amplitude(scene: ComparedImages) -> Pair:
    """Amplitudes in object units, unscaled."""
    return Pair("amplitude", np.abs(scene.prediction), np.abs(scene.truth), scene.mask)


def phase(scene: ComparedImages) -> Pair:
    """The truth's phase and the same plus the phase error, in rad."""
    truth = angle(scene.truth)
    error = np.angle(np.exp(1j * (angle(scene.prediction) - truth)))
    return Pair("phase", truth + error, truth, scene.mask)


def psnr(pair: Pair) -> float:
    """PSNR in dB; the peak is the truth's maximum for amplitude, its range for phase."""
    peak = _range(pair) if pair.channel == "phase" else float(pair.truth[pair.mask].max())
    return peak_signal_to_noise(pair, peak)


def ssim(pair: Pair) -> float:
    """SSIM 7 x 7 with the truth's own range, over the windows inside the mask."""
    return similarity.ssim(pair.prediction, pair.truth, _range(pair), pair.mask)


def ms_ssim(pair: Pair) -> float:
    """Weighted geometric mean of the SSIM at up to five levels, each the 2 x 2 mean of the last.

    Full SSIM at every level; weights of Wang et al. 2003, normalised over the levels that exist.
    """
    levels = list(
        similarity.ssim_by_level(pair.prediction, pair.truth, _range(pair), pair.mask, _halved)
    )
    if not levels:
        raise Undefined(similarity.NO_WINDOW)
    weights, values = np.array(levels).T
    return float(np.exp(np.average(np.log(np.maximum(values, MS_SSIM_FLOOR)), weights=weights)))


def frc50(pair: Pair) -> float:
    """Frequency in 1/px at which the FRC against the truth falls below 0.5, Nyquist being 0.5.

    Raises Undefined: "not crossed", or when the mask's box is under 7 px.
    """
    box = np.ix_(*(_extent(np.any(pair.mask, axis=axis, keepdims=True)) for axis in (1, 0)))
    mask = centre_square(pair.mask[box])
    side = mask.shape[0]
    if side < similarity.WINDOW_PX or not mask.any():
        raise Undefined(f"the mask leaves a square of {side} px, too small for an FRC")
    images = (centre_square(image[box]) for image in (pair.prediction, pair.truth))
    curve = frc(*(_windowed(image, mask) for image in images))
    return crossing(curve[: side // 2 + 1], 0.5) / side


def _windowed(image: np.ndarray, mask: np.ndarray) -> Float[np.ndarray, "n n"]:
    """Mean of the mask's pixels removed, zero outside it, Hann window on both axes."""
    window = np.hanning(mask.shape[0])
    return np.where(mask, image - image[mask].mean(), 0.0) * np.outer(window, window)


def _extent(used: np.ndarray) -> np.ndarray:
    """Every index from the first used row or column to the last."""
    places = np.flatnonzero(used)
    return np.arange(places[0], places[-1] + 1)


def _halved(image: np.ndarray) -> np.ndarray:
    h, w = (extent // 2 for extent in image.shape)
    return image[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean(axis=(1, 3))


def _range(pair: Pair) -> float:
    return float(np.ptp(pair.truth[pair.mask]))


STANDARD = MetricSet(
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
    gate_blanks=True,
)
