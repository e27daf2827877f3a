"""Grid-lines objects: random straight lines, blurred at three widths (physics: the data set).

The random stream is numpy's frozen legacy one, so that seeds 1 and 2 give the published objects on
every platform and numpy version; the images of a split continue one stream. An independent phase is
drawn from a second stream of the same seed, so that the amplitudes do not depend on its presence.
Where a data set draws objects per seed, both streams start from `numpy.random.SeedSequence` of the
split's object seed, with the seed of the run in its spawn key.
"""

from typing import Literal

import numpy as np
from jaxtyping import Complex128, Float64
from scipy.ndimage import gaussian_filter
from skimage.draw import line

# Weight of each Gaussian width (px) in the amplitude.
BLURS = ((1.0, 1.0), (5.0, 2.0), (10.0, 5.0))
# Second word of the seed of an independent phase; with a run's seed, last word of the spawn key.
AMPLITUDE_STREAM, PHASE_STREAM = 0, 1


def draw_lines(
    stream: np.random.RandomState, canvas_px: int, lines: int
) -> Float64[np.ndarray, "canvas canvas"]:
    """Canvas of zeros with `lines` one-pixel Bresenham lines set to 1; crossings do not add up.

    Four draws per line, in the order r0, c0, r1, c1, each end point at floor(canvas_px * u).
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
    amplitude: Float64[np.ndarray, "*shape"],
) -> Float64[np.ndarray, "*shape"]:
    """phi = pi tanh((A - max(A)/2) / (3 mean(A))) in rad; max and mean over all pixels given."""
    mean = amplitude.mean()
    if mean == 0:
        return np.zeros_like(amplitude)
    return np.pi * np.tanh((amplitude - amplitude.max() / 2) / (3 * mean))


def draw_images(
    stream: np.random.RandomState, *, images: int, object_px: int, canvas_px: int, lines: int
) -> Float64[np.ndarray, "images object_px object_px"]:
    """Blurred lines of every image, un-normalised (the object's amplitude)."""
    return np.stack(
        [
            crop_centre(blur_and_mix(draw_lines(stream, canvas_px, lines)), object_px)
            for _ in range(images)
        ]
    )


def object_stream(seed: int, run: int | None, which: int) -> np.random.RandomState:
    """The draws of the amplitude or the phase (`which` of the two streams) of one split.

    `run`: seed of the run, in a data set that draws its objects per seed; None elsewhere.
    """
    if run is not None:
        sequence = np.random.SeedSequence(seed, spawn_key=(run, which))
        return np.random.RandomState(np.random.MT19937(sequence))
    # A seed of two words starts another stream than any single number, so than any split's.
    return np.random.RandomState(seed if which == AMPLITUDE_STREAM else [seed, which])


def grid_lines(
    seed: int,
    *,
    run: int | None = None,
    images: int,
    object_px: int,
    canvas_px: int,
    lines: int,
    phase: bool | Literal["independent"],
) -> Complex128[np.ndarray, "images object_px object_px"]:
    """Objects A exp(i phi) of one split, in object units. `seed` and `run`: see `object_stream`.

    `phase`: False gives phi = 0, True the published phi = `phase_of(A)`, "independent" phi =
    `phase_of(B)`, where B is a second set of as many lines from a separate stream. B has the
    statistics of A, so phi has the scale and range of the published phase (about -0.7..0.9 rad at
    392 px) and no relation to A.
    """
    size = {"images": images, "object_px": object_px, "canvas_px": canvas_px, "lines": lines}
    amplitude = draw_images(object_stream(seed, run, AMPLITUDE_STREAM), **size)
    if phase == "independent":
        angle = phase_of(draw_images(object_stream(seed, run, PHASE_STREAM), **size))
    else:
        angle = phase_of(amplitude) if phase else np.zeros_like(amplitude)
    return amplitude * np.exp(1j * angle)
