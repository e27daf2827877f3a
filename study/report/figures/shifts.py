"""Shifts of refined positions: one arrow per position, in object pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from study.report.figures.style import BLUE, GRAY, canvas, styled

ARROW_SHARE = 0.04  # length of the longest arrow relative to the longer side of the scan


def draw_shifts(
    positions_px: Float32[np.ndarray, "J 2"], shift_px: Float32[np.ndarray, "J 2"], out: Path
) -> Path:
    """Write OUT_shifts.png next to the npz file `out` and return its path.

    Shows the given positions (y, x) and their shifts; arrows are enlarged by the factor in the
    title.
    """
    path = out.with_name(f"{out.name.removesuffix('.npz')}_shifts.png")
    y, x = positions_px.T
    dy, dx = shift_px.T
    length = np.hypot(dy, dx)
    span = max(float(np.ptp(y)), float(np.ptp(x)), 1.0)
    factor = max(1, round(ARROW_SHARE * span / max(float(length.max()), 1e-6)))
    with styled():
        figure = canvas(120, 130)
        axes = figure.add_axes((0.12, 0.1, 0.85, 0.8))
        axes.plot(x, y, ".", color=GRAY, markersize=2)
        axes.quiver(
            x,
            y,
            factor * dx,
            factor * dy,
            angles="xy",
            scale_units="xy",
            scale=1,
            color=BLUE,
            width=0.0025,
            headwidth=3.5,
        )
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_xlabel("x (object px)")
        axes.set_ylabel("y (object px)")
        axes.set_title(
            f"Shifts of {len(y)} positions, enlarged {factor} times: median "
            f"{np.median(length):.2g} px, largest {length.max():.2g} px",
            loc="left",
        )
        figure.savefig(path, dpi=200, metadata={"Software": None})
    return path
