"""The eight orientations of a frame, by name; the command line offers the same names."""

from __future__ import annotations

from typing import Literal

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
