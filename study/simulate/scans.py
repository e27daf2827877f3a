"""Scan positions: window positions of every split, in object pixels.

A scan is a regular raster of all windows that fit (row-major), optionally jittered. With group size
4 each window of n + 4 px holds 2 x 2 patches, 4 px apart, channel axis row-major.
"""

import numpy as np
from jaxtyping import Float32, Float64

from study.optics.groups import group_offsets, window_px
from study.settings import SPLITS, Jittered, Raster


def raster(window_px: int, object_px: int, stride_px: int) -> Float64[np.ndarray, "J 2"]:
    """Top-left corners (y, x) of all windows inside the object, row-major."""
    steps = np.arange(0, object_px - window_px + 1, stride_px, dtype=np.float64)
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    return np.stack([rows.ravel(), columns.ravel()], axis=1)


def jitter(
    positions_px: Float64[np.ndarray, "J 2"],
    jitter_px: float,
    last_px: float,
    generator: np.random.Generator,
) -> Float64[np.ndarray, "J 2"]:
    """Each coordinate moved by U(-jitter_px, jitter_px), then kept within 0..last_px."""
    moved = positions_px + generator.uniform(-jitter_px, jitter_px, positions_px.shape)
    return np.clip(moved, 0.0, last_px)


def group(
    positions_px: Float64[np.ndarray, "J 2"], group_size: int
) -> Float32[np.ndarray, "J c 2"]:
    """Patch corners of every window: the window itself, or its 2 x 2 patches in row-major order."""
    return (positions_px[:, None, :] + np.array(group_offsets(group_size))).astype(np.float32)


def scan_positions(
    scan: Raster | Jittered, split: str, *, n: int, object_px: int, group_size: int, images: int
) -> Float32[np.ndarray, "J c 2"]:
    """Positions of one split, image after image; jitter differs between images and splits."""
    window = window_px(n, group_size)
    corners = np.tile(raster(window, object_px, getattr(scan.stride_px, split)), (images, 1))
    if isinstance(scan, Jittered):
        generator = np.random.default_rng([scan.seed, SPLITS.index(split)])
        corners = jitter(corners, scan.jitter_px, object_px - window, generator)
    return group(corners, group_size)
