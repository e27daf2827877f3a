"""Pixels that were not measured: what replaces them, and how they are found.

A mask is (n, n) bool, True where a pixel was measured, the same for all patterns of a data set. No
sum (loss, likelihood, R-factor) has a masked pixel in it, and an amplitude replacement leaves the
model's value there. Stored counts hold the radial mean of their own pattern at masked pixels:
what a network sees there, and nothing else computes with it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int64, Num

CHUNK = 256


def fill_masked(
    counts: Num[np.ndarray, "*b n n"], mask: Bool[np.ndarray, "n n"]
) -> Num[np.ndarray, "*b n n"]:
    """`counts` with the radial mean of each pattern, about n // 2, at the masked pixels.

    The mean is over the known pixels of the same rounded radius; a radius without any is
    interpolated between its neighbours. Whole numbers are rounded. The result has the type of
    `counts`, which stays as it is.
    """
    result = counts.copy()
    if mask.all():
        return result
    flat = result.reshape(-1, *mask.shape)
    ring = rings(len(mask))
    inside, outside = ring[mask], ring[~mask]
    pixels = np.bincount(inside, minlength=int(ring.max()) + 1)
    seen = np.flatnonzero(pixels)
    # Known pixels sorted by radius, so that a radial sum is a sum over neighbours.
    order = np.argsort(inside, kind="stable")
    edges = np.searchsorted(inside[order], seen)
    for start in range(0, len(flat), CHUNK):
        some = flat[start : start + CHUNK]
        known = some[:, mask].astype(np.float64)[:, order]
        means = np.add.reduceat(known, edges, axis=1) / pixels[seen]
        filled = _interpolated(means, seen, outside)
        some[:, ~mask] = np.round(filled) if counts.dtype.kind in "iu" else filled
    return result


def filling(hidden: int) -> str:
    """What a manifest says about `hidden` masked pixels."""
    return (
        f"mask: {hidden} pixels per pattern are unknown and enter no sum; networks see the radial "
        "mean of the pattern there"
    )


def rings(n: int) -> Int64[np.ndarray, "n n"]:
    """Distance of every pixel from the zero frequency at n // 2, rounded to whole pixels."""
    steps = np.arange(n) - n // 2
    return np.round(np.hypot(steps[:, None], steps[None, :])).astype(np.int64)


def _interpolated(values: np.ndarray, at: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Linear interpolation of the rows of `values`, given at `at`, at the places `wanted`."""
    upper = np.clip(np.searchsorted(at, wanted), 0, len(at) - 1)
    lower = np.maximum(upper - 1, 0)
    span = at[upper] - at[lower]
    share = np.where(span > 0, (wanted - at[lower]) / np.maximum(span, 1), 1.0)
    share = np.clip(share, 0.0, 1.0)
    return (1 - share) * values[:, lower] + share * values[:, upper]
