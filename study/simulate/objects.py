"""Grid-lines objects: random straight lines, blurred at three widths (physics: the data set).

The random stream is numpy's frozen legacy one, so that seeds 1 and 2 give the published objects on
every platform and numpy version; the images of a split continue one stream.
"""

import numpy as np
from jaxtyping import Complex128, Float64
from scipy.ndimage import gaussian_filter
from skimage.draw import line

# Weight of each Gaussian width (px) in the amplitude.
BLURS = ((1.0, 1.0), (5.0, 2.0), (10.0, 5.0))


def draw_lines(
    stream: np.random.RandomState, canvas_px: int, lines: int
) -> Float64[np.ndarray, "canvas canvas"]:
    """Canvas of zeros with `lines` one-pixel Bresenham lines set to 1; crossings do not add up.

    Four draws a line, in the order r0, c0, r1, c1, each end point at floor(canvas_px * u).
    """
    canvas = np.zeros((canvas_px, canvas_px))
    for _ in range(lines):
        r0, c0, r1, c1 = (int(canvas_px * stream.rand()) for _ in range(4))
        canvas[line(r0, c0, r1, c1)] = 1.0
    return canvas


def blur_and_mix(
    canvas: Float64[np.ndarray, "canvas canvas"],
) -> Float64[np.ndarray, "canvas canvas"]:
    """Sum of weighted Gaussian blurs, reflecting border, un-normalised."""
    return sum(
        (weight * gaussian_filter(canvas, sigma, mode="reflect") for sigma, weight in BLURS),
        np.zeros_like(canvas),
    )


def crop_centre(
    canvas: Float64[np.ndarray, "canvas canvas"], size_px: int
) -> Float64[np.ndarray, "size size"]:
    """The central size_px x size_px pixels: blurred borders stay outside."""
    start = (canvas.shape[0] - size_px) // 2
    return canvas[start : start + size_px, start : start + size_px]


def phase_of(
    amplitude: Float64[np.ndarray, "images h w"],
) -> Float64[np.ndarray, "images h w"]:
    """phi = pi tanh((A - max(A)/2) / (3 mean(A))) in rad; max and mean over all images."""
    mean = amplitude.mean()
    if mean == 0:
        return np.zeros_like(amplitude)
    return np.pi * np.tanh((amplitude - amplitude.max() / 2) / (3 * mean))


def grid_lines(
    seed: int, *, images: int, object_px: int, canvas_px: int, lines: int, phase: bool
) -> Complex128[np.ndarray, "images object_px object_px"]:
    """Objects A exp(i phi) of one split, in object units; phi = 0 without `phase`."""
    stream = np.random.RandomState(seed)
    amplitude = np.stack(
        [
            crop_centre(blur_and_mix(draw_lines(stream, canvas_px, lines)), object_px)
            for _ in range(images)
        ]
    )
    angle = phase_of(amplitude) if phase else np.zeros_like(amplitude)
    return amplitude * np.exp(1j * angle)
