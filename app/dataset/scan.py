"""Scan step, overlap, and the dose per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from app.dataset.leakage import diameter_px


@dataclass(frozen=True)
class Steps:
    """Geometry and illumination of a scan.

    `step_px`: median distance to the nearest other position; NaN for a single position.
    `overlap`: linear overlap 1 - step / diameter of neighbouring illuminated disks, 0 if they are
    disjoint. `dose`: (h, w) dose per pixel relative to the maximum. `lit_share`: share of pixels
    with more than 1 % of the maximum.
    """

    step_px: float
    diameter_px: float
    overlap: float
    dose: np.ndarray
    lit_share: float


def steps(corners_px: np.ndarray, probe: np.ndarray, shape: tuple[int, int]) -> Steps:
    """Steps of the positions on one image; windows are added at the nearest integer pixel.

    `corners_px`: (J, 2) as (y, x); `probe`: (n, n) complex; `shape`: (h, w) of the image.
    """
    diameter = diameter_px(probe)
    step = _nearest(corners_px)
    light = np.abs(probe.astype(np.complex128)) ** 2
    dose = np.zeros(shape)
    n = len(probe)
    for y, x in np.round(corners_px).astype(int):
        window = dose[max(y, 0) : y + n, max(x, 0) : x + n]
        window += light[max(-y, 0) :, max(-x, 0) :][: window.shape[0], : window.shape[1]]
    dose /= max(dose.max(), 1e-300)
    overlap = max(0.0, 1 - step / diameter) if np.isfinite(step) else 0.0
    return Steps(step, diameter, overlap, dose, float(np.mean(dose > 0.01)))


def _nearest(corners_px: np.ndarray) -> float:
    if len(corners_px) < 2:
        return float("nan")
    distance, _ = KDTree(corners_px).query(corners_px, k=2)
    return float(np.median(distance[:, 1]))
