"""What diffraction does not determine: a global phase, and a phase ramp if the probe may tilt.

Both are found on the product prediction * conj(truth), never on unwrapped phases, so 2 pi jumps and
dark pixels do no harm.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex, Float

Image = Complex[np.ndarray, "h w"]

# Gauss-Newton converges quadratically from half a Fourier bin.
REFINEMENTS = 6


def global_phase(prediction: Image, truth: Image, mask: Bool[np.ndarray, "h w"]) -> float:
    """The angle t (rad) that minimises sum |prediction exp(-i t) - truth|^2 over the mask."""
    return float(np.angle(np.sum(prediction[mask] * truth[mask].conj())))


def phase_ramp(
    prediction: Image, truth: Image, mask: Bool[np.ndarray, "h w"]
) -> tuple[float, float]:
    """Slopes (y, x) in rad/px of the ramp that the prediction has and the truth has not.

    Peak of the product's spectrum, then weighted least squares on what phase is left.
    """
    product = np.where(mask, prediction * truth.conj(), 0)
    peak = np.unravel_index(np.argmax(np.abs(np.fft.fft2(product))), product.shape)
    y, x = (
        2 * np.pi * float(np.fft.fftfreq(n)[k]) for n, k in zip(product.shape, peak, strict=True)
    )
    for _ in range(REFINEMENTS):
        more_y, more_x = _leftover_slopes(product * np.exp(-1j * ramp(product.shape, (y, x))))
        y, x = y + more_y, x + more_x
    return y, x


def ramp(shape: tuple[int, ...], slopes: tuple[float, float]) -> Float[np.ndarray, "h w"]:
    """slopes[0] * y + slopes[1] * x in rad, zero at the centre of the image."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return slopes[0] * y[:, None] + slopes[1] * x


def angle(image: Image) -> Float[np.ndarray, "h w"]:
    """Phase in rad, 0 where the amplitude is 0 (np.angle gives pi for -0)."""
    return np.where(image == 0, 0.0, np.angle(image))


def _leftover_slopes(product: np.ndarray) -> tuple[float, float]:
    """Plane through the phase of a product whose ramp is nearly gone, weighted by its modulus."""
    phase = angle(product * np.exp(-1j * np.angle(product.sum())))
    weight = np.abs(product)
    columns = [ramp(product.shape, (1.0, 0.0)), ramp(product.shape, (0.0, 1.0))]
    design = np.stack([*columns, np.ones(product.shape)], axis=-1).reshape(-1, 3)
    normal = design.T @ (design * weight.reshape(-1, 1))
    moment = design.T @ (weight * phase).ravel()
    y, x, _ = np.linalg.lstsq(normal, moment, rcond=None)[0]
    return float(y), float(x)
