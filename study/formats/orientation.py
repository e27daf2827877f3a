"""The eight orientations of a frame or of positions: names, matrices, and moving arrays by them.

The command line offers the same names.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from jaxtyping import Float64

Axes = tuple[str, str]  # order of the axes, and which are reversed
Orientation = Literal[
    "as_stored",
    "flip_y",
    "flip_x",
    "rotate_180",
    "transpose",
    "rotate_90",
    "rotate_270",
    "anti_transpose",
]
# Transposed or not, then reversed axes.
ORIENTATIONS: dict[Orientation, Axes] = {
    "as_stored": ("yx", "none"),
    "flip_y": ("yx", "y"),
    "flip_x": ("yx", "x"),
    "rotate_180": ("yx", "both"),
    "transpose": ("xy", "none"),
    "rotate_90": ("xy", "y"),
    "rotate_270": ("xy", "x"),
    "anti_transpose": ("xy", "both"),
}
ORDERS = ("yx", "xy")
FLIPS = ("none", "y", "x", "both")
AS_STORED: Axes = ("yx", "none")
ALL_AXES: tuple[Axes, ...] = tuple(itertools.product(ORDERS, FLIPS))


def matrix(axes: Axes) -> Float64[np.ndarray, "2 2"]:
    """Signed permutation that takes stored (y, x) to (y, x) as read."""
    order, flip = axes
    signs = {"none": (1, 1), "y": (-1, 1), "x": (1, -1), "both": (-1, -1)}[flip]
    turn = np.eye(2) if order == "yx" else np.eye(2)[::-1]
    return np.diag(signs).astype(np.float64) @ turn


def inverse(axes: Axes) -> Axes:
    """The axes that undo `axes`."""
    back = matrix(axes).T
    return next(each for each in ALL_AXES if np.array_equal(matrix(each), back))


def arrange(
    positions_px: Float64[np.ndarray, "J 2"], order: str, flip: str
) -> Float64[np.ndarray, "J 2"]:
    """Stored positions read in one convention, as (y, x); `flip` is in terms of the result."""
    table = positions_px if order == "yx" else positions_px[:, ::-1]
    signs = {"none": (1, 1), "y": (-1, 1), "x": (1, -1), "both": (-1, -1)}[flip]
    return table * np.array(signs, dtype=np.float64)


def turn(images: np.ndarray, axes: Axes) -> np.ndarray:
    """Images (..., n, n) moved as `arrange` moves positions; the pixel n // 2 stays in place."""
    order, flip = axes
    moved = images if order == "yx" else np.swapaxes(images, -1, -2)
    for axis, name in ((-2, "y"), (-1, "x")):
        if flip in (name, "both"):
            moved = np.flip(moved, axis)
            if images.shape[-1] % 2 == 0:
                moved = np.roll(moved, 1, axis)
    return moved
