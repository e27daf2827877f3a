"""Masks drawn on the mean pattern: rectangles and polygons in pixels of the file.

One shape per line:  rectangle Y0 X0 Y1 X1   (both corners included)
                     polygon Y X Y X Y X ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from study.settings import UserError

MOST_SHAPES, MOST_CORNERS = 100, 500


def parse(text: str) -> list[tuple[str, list[float]]]:
    """(kind, [y, x, ...] in px) per line.

    Raises UserError for an invalid line or too many shapes.
    """
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        kind, *words = line.split()
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        fits = len(numbers) == 4 if kind == "rectangle" else len(numbers) % 2 == 0
        enough = fits and len(numbers) >= (4 if kind == "rectangle" else 6)
        finite = all(math.isfinite(one) and abs(one) < 1e6 for one in numbers)
        if kind not in ("rectangle", "polygon") or not enough or not finite:
            raise UserError(
                f"{line[:60]!r} is not a shape; accepted: `rectangle Y0 X0 Y1 X1` and `polygon Y X "
                "Y X Y X ...` with at least three corners, in px"
            )
        found.append((kind, numbers[: 2 * MOST_CORNERS]))
    if len(found) > MOST_SHAPES:
        raise UserError(f"{len(found)} shapes are drawn; at most {MOST_SHAPES} are accepted")
    return found


def of_shapes(text: str, n: int) -> Bool[np.ndarray, "n n"]:
    """Mask of the pixels inside any of the shapes. Raises UserError for invalid shapes."""
    image = Image.new("1", (n, n))
    draw = ImageDraw.Draw(image)
    for kind, numbers in parse(text):
        corners = [(round(x), round(y)) for y, x in zip(numbers[::2], numbers[1::2], strict=True)]
        if kind == "rectangle":
            (x0, y0), (x1, y1) = corners
            draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=1)
        else:
            draw.polygon(corners, fill=1, outline=1)
    return np.asarray(image, bool).copy()


def drawn(selection: Mapping[str, Any]) -> list[str]:
    """Convert the boxes and lassos of a chart selection to lines of text."""
    lines = []
    for box in selection.get("box") or ():
        (x0, x1), (y0, y1) = box["x"], box["y"]
        lines.append(_line("rectangle", [y0, x0, y1, x1]))
    for lasso in selection.get("lasso") or ():
        pairs = zip(lasso["y"], lasso["x"], strict=True)
        lines.append(_line("polygon", [value for pair in pairs for value in pair]))
    return lines


def _line(kind: str, numbers: Sequence[float]) -> str:
    return " ".join([kind, *(f"{number:.0f}" for number in numbers[: 2 * MOST_CORNERS])])
