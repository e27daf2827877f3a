"""Detector pixels summed in squares of b x b, for frames finer than the probe needs.

The pixel of the object stays; a window shrinks from n to m = n / b px, so the probe has to fit into
m px. Summed pixels are centred beside the zero frequency when b is even; the probe carries this
offset as a phase ramp. A sum with an unknown pixel is unknown.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex128, Float32

from study.formats.probe import crop
from study.settings import UserError

SMALLEST_PX = 4
MOST_LIGHT_OUTSIDE = 0.01  # of the probe's, outside the smaller window


def check_bin(n: int, factor: int) -> int:
    """Side of patterns of n px binned by `factor`. Raises UserError where it does not divide n."""
    if n % factor or n // factor < SMALLEST_PX:
        raise UserError(
            f"patterns have {n} px, which `--bin {factor}` does not divide into at least "
            f"{SMALLEST_PX}; give a divisor, or `--crop {n - n % factor}` with it"
        )
    return n // factor


def bin_counts(counts: Float32[np.ndarray, "J n n"], factor: int) -> Float32[np.ndarray, "J m m"]:
    """Photons of `factor` x `factor` pixels added."""
    m = counts.shape[-1] // factor
    return counts.reshape(len(counts), m, factor, m, factor).sum(axis=(2, 4), dtype=np.float32)


def bin_known(known: Bool[np.ndarray, "n n"], factor: int) -> Bool[np.ndarray, "m m"]:
    """Whether all pixels of each sum were measured."""
    m = len(known) // factor
    return np.asarray(known.reshape(m, factor, m, factor).all(axis=(1, 3)))


def bin_probe(
    probe: Complex128[np.ndarray, "k n n"], factor: int
) -> Complex128[np.ndarray, "k m m"]:
    """The modes in the smaller window, with the offset of the summed pixels as a phase ramp.

    Raises UserError where more than a hundredth of their light is outside.
    """
    n = probe.shape[-1]
    m = n // factor
    inner = crop(probe, m)
    outside = 1 - float(np.sum(np.abs(inner) ** 2) / np.sum(np.abs(probe) ** 2))
    if outside > MOST_LIGHT_OUTSIDE:
        raise UserError(
            f"`--bin {factor}` leaves windows of {m} px, and {outside:.1%} of the probe's light is "
            f"outside; accepted: {MOST_LIGHT_OUTSIDE:.0%}; give a smaller number"
        )
    # Where the zero frequency (fine pixel n // 2) is among the sums, relative to m // 2.
    offset = (n // 2 - (factor - 1) / 2) / factor - m // 2
    ramp = np.exp(2j * np.pi * offset * (np.arange(m) - m // 2) / m)
    return inner * (ramp[:, None] * ramp[None, :])


def binning_said(n: int, factor: int) -> str:
    """The sentence of the manifest."""
    return (
        f"binning: {factor} x {factor} pixels added, {n} to {n // factor} px per pattern, as "
        "given; the object's pixel stays, sums with a masked pixel are masked"
    )
