"""A small scan with everything known: what the fault suite spoils and compares with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.ndimage


@dataclass(frozen=True)
class Scene:
    """`counts` (J, n, n) uint32, zero frequency at n // 2; `corners` (J, 2) px as (y, x); `probe`
    (n, n) in sqrt(photons); `obj` (h, w)."""

    counts: np.ndarray
    corners: np.ndarray
    probe: np.ndarray
    obj: np.ndarray


@lru_cache
def scene(
    n: int = 32, count: int = 100, photons: float = 1e5, symmetric: bool = False, seed: int = 0
) -> Scene:
    """A jittered raster over an object of smooth random phase and amplitude.

    The probe is defocused and, unless `symmetric`, not equal to any of its mirror images.
    """
    draw = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(count)))
    step = 0.12 * n
    grid = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)[:count]
    corners = np.round(grid * step + draw.uniform(-1, 1, (count, 2)) + 2)
    size = int(corners.max()) + n + 3

    def smooth(width: float) -> np.ndarray:
        field = scipy.ndimage.gaussian_filter(draw.normal(size=(size, size)), width)
        return field / field.std()

    scale = n / 32
    amplitude = 0.75 + 0.1 * np.tanh(smooth(1.5 * scale))
    obj = amplitude * np.exp(0.7j * np.tanh(smooth(1.5 * scale)) + 0.4j * smooth(0.8 * scale))
    steps = (np.arange(n) - n // 2) / n
    y, x = steps[:, None], steps[None, :]
    radius = np.hypot(y, x)
    light = 1 / (1 + np.exp((radius - 0.22) * 60))
    phase = 40 * radius**2
    if not symmetric:
        light = light * (1 + 1.6 * y + 0.9 * x)
        phase = phase + 25 * y * x + 60 * (y**3 - 2 * y * x**2) + 14 * y**2
    probe = light * np.exp(1j * phase)
    probe *= np.sqrt(photons / np.sum(np.abs(probe) ** 2)) / 0.75
    windows = np.stack([obj[y : y + n, x : x + n] for y, x in corners.astype(int)])
    field = np.fft.fftshift(np.fft.fft2(probe * windows, norm="ortho"), axes=(-2, -1))
    counts = draw.poisson(np.abs(field) ** 2).astype(np.uint32)
    return Scene(counts, corners, probe, obj)
