"""The "grid lines" object, written again from its description: no line of study/ is used here."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.draw import line


def grid_lines(seed: int, canvas_px: int, lines: int, keep_px: int) -> np.ndarray:
    """Complex object: lines, blur and mix, central crop, phase on."""
    stream = np.random.RandomState(seed)
    image = np.zeros((canvas_px, canvas_px))
    for _ in range(lines):
        r0, c0, r1, c1 = (math.floor(canvas_px * stream.rand()) for _ in range(4))
        image[line(r0, c0, r1, c1)] = 1
    mixed = sum(
        weight * gaussian_filter(image, sigma) for sigma, weight in ((1, 1), (5, 2), (10, 5))
    )
    edge = (canvas_px - keep_px) // 2
    amplitude = mixed[edge : edge + keep_px, edge : edge + keep_px]
    phase = np.pi * np.tanh((amplitude - amplitude.max() / 2) / (3 * amplitude.mean()))
    return amplitude * np.exp(1j * phase)


@pytest.fixture(scope="session")
def published_object() -> np.ndarray:
    """Object seed 2 at published size, (392, 392), phase on."""
    return grid_lines(2, 784, 400, 392)


@pytest.fixture(scope="session")
def truth(published_object: np.ndarray) -> np.ndarray:
    """A window of 120 x 120 px: big enough for five levels, small enough for many tests."""
    return published_object[40:160, 60:180]
