"""Units of light: photons, amplitudes, and the Poisson draw.

With S = `photon_scale`, a dimensionless amplitude A belongs to the intensity (S A)^2 in photons per
pixel (physics: dose). Conversions of measured amplitudes and objects are here with their inverses;
all work on numpy arrays and torch tensors alike. A probe in sqrt(photons) is S times P_sim; the
callers that need one multiply by S themselves.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt32


def amplitude_from_counts(counts: Any, photon_scale: float) -> Any:
    """Measured amplitude X = sqrt(counts) / S, dimensionless."""
    return counts**0.5 / photon_scale


def counts_from_amplitude(amplitude: Any, photon_scale: float) -> Any:
    """Photons (S X)^2 of a dimensionless amplitude; inverse of `amplitude_from_counts`."""
    return (amplitude * photon_scale) ** 2


def to_network_units(obj: Any, object_norm: float) -> Any:
    """Object units to the units in which a network's patch is of order 1: Y = A / object_norm."""
    return obj / object_norm


def to_object_units(patch: Any, object_norm: float) -> Any:
    """Inverse of `to_network_units`."""
    return patch * object_norm


def photon_scale(
    photons_per_pattern: float, relative_intensity_sums: Float[np.ndarray, " J"]
) -> float:
    """S = sqrt(photons / mean over patches of sum (Y |P|)^2): the dose, turned into a scale."""
    return float(np.sqrt(photons_per_pattern / np.mean(relative_intensity_sums)))


def draw_counts(
    intensity: Float[np.ndarray, "*shape"], generator: np.random.Generator
) -> UInt32[np.ndarray, "*shape"]:
    """Poisson counts of an expected intensity in photons.

    The mean is rounded to 30 bits first (1e-9, far below the noise): FFT libraries of different
    processors differ in the last bits, and a draw must not.
    """
    mantissa, exponent = np.frexp(np.asarray(intensity, dtype=np.float64))
    rounded = np.ldexp(np.round(np.ldexp(mantissa, 30)), exponent - 30)
    return generator.poisson(rounded).astype(np.uint32)
