"""R-factor of predicted patterns against measured ones, the crystallographers' residual.

    R = sum |sqrt(counts) - |far field|| / sum sqrt(counts)

over the pixels that were measured: `known` (n, n), None for all.

Both amplitudes in sqrt(photons): a prediction in network units is times the photon scale first.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Num

from study.settings import UserError


def r_factor(
    counts: Num[np.ndarray, "*b n n"],
    amplitude: Float[np.ndarray, "*b n n"],
    known: Bool[np.ndarray, "n n"] | None = None,
) -> float:
    """R over all patterns; `counts` in photons, `amplitude` = |far field| in sqrt(photons).

    0 is a perfect fit, 1 what a dark prediction gets. Raises UserError for no photons at all.
    """
    residual, measured = _sums(counts, amplitude, known)
    if measured.sum() == 0:
        raise UserError("the patterns hold no photon, so there is no R-factor; check the counts")
    return float(residual.sum() / measured.sum())


def r_factor_per_pattern(
    counts: Num[np.ndarray, "*b n n"],
    amplitude: Float[np.ndarray, "*b n n"],
    known: Bool[np.ndarray, "n n"] | None = None,
) -> Float[np.ndarray, "*b"]:
    """R of every pattern, same units; NaN, the array's null, for a pattern without a photon."""
    residual, measured = _sums(counts, amplitude, known)
    return np.divide(residual, measured, out=np.full(measured.shape, np.nan), where=measured > 0)


def _sums(
    counts: np.ndarray, amplitude: np.ndarray, known: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    measured = np.sqrt(counts.astype(np.float64))
    residual = np.abs(measured - amplitude)
    if known is not None:
        measured, residual = measured * known, residual * known
    return residual.sum(axis=(-2, -1)), measured.sum(axis=(-2, -1))
