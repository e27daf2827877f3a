"""Fourier ring correlation of two real images, and where it falls through a threshold.

    FRC(q) = |sum_q A B*| / sqrt(sum_q |A|^2 sum_q |B|^2)        (Saxton and Baumeister 1982)

over the rings round(|k|) = q of the unwindowed DFT, k in cycles per image side, up to the corner.

Design choices
- The images are real, so half of the spectrum (rfft2) with the other half as weight 2 is exact, and
  a ring sum is one bincount over an index that depends on the size only.
- Ring 0 is one coefficient, so its correlation is 1 whatever it holds.
- A ring in which an image has no power above rounding correlates with nothing: 0. Otherwise a
  constant image would be scored by the noise of the FFT.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Shaped

from study.metrics.pair import Undefined


def frc(
    first: Float[np.ndarray, "n n"], second: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, " rings"]:
    """Correlation per ring 0 .. round(sqrt(2) (n // 2)), each in [0, 1]."""
    index, weight = _rings(first.shape[0])
    a, b = np.fft.rfft2(first).ravel(), np.fft.rfft2(second).ravel()
    # The imaginary part of a ring sum cancels between k and -k.
    cross = np.abs(np.bincount(index, weight * (a * b.conj()).real))
    power_a, power_b = (np.bincount(index, weight * (x * x.conj()).real) for x in (a, b))
    curve = np.zeros_like(cross)
    heard = _above_rounding(power_a) & _above_rounding(power_b)
    curve[heard] = cross[heard] / (np.sqrt(power_a[heard]) * np.sqrt(power_b[heard]))
    curve[0] = 1.0
    return np.minimum(curve, 1.0)


def crossing(curve: Float[np.ndarray, " rings"], threshold: float) -> float:
    """Ring (interpolated) at which the curve first falls below the threshold.

    Raises Undefined, "not crossed", when it never does.
    """
    below = np.flatnonzero(curve < threshold)
    if below.size == 0:
        raise Undefined("not crossed")
    last = int(below[0])
    if last == 0:
        return 0.0
    high, low = curve[last - 1], curve[last]
    return float(last - 1 + (high - threshold) / (high - low))


def centre_square(image: Shaped[np.ndarray, "h w"]) -> Shaped[np.ndarray, "n n"]:
    """The centred square of the shorter side."""
    side = min(image.shape)
    top, left = ((extent - side) // 2 for extent in image.shape)
    return image[top : top + side, left : left + side]


def _above_rounding(power: np.ndarray) -> np.ndarray:
    """FFT rounding is eps log(n) of the image's norm; the number of rings lies above log(n)."""
    return power > (power.size * np.finfo(float).eps) ** 2 * power.sum()


@lru_cache(maxsize=8)
def _rings(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ring index and weight of every rfft2 coefficient of an n x n image, flat."""
    ky, kx = np.fft.fftfreq(n, 1 / n), np.fft.rfftfreq(n, 1 / n)
    index = np.round(np.hypot(ky[:, None], kx)).astype(np.intp)
    mirrored = (kx > 0) & (2 * kx < n)
    weight = np.broadcast_to(np.where(mirrored, 2.0, 1.0), index.shape)
    return index.ravel(), weight.ravel()
