"""Print figure of a scan's object and probe, 180 mm wide."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from app.compare.scenes import Scene
from app.dataset.figures import phase_shades
from study.report.figures.style import canvas


def reconstruction(one: Scene, probe: np.ndarray) -> Figure:
    """Object amplitude and phase, and the amplitude of the first probe mode; axes in object px.

    `probe`: (m, n, n) complex.
    """
    phase = phase_shades(one.images["phase"])
    made = canvas(72)
    panels = (
        ("amplitude (object units)", one.images["amplitude"], "gray", None, None),
        ("phase (rad)", one.images["phase"], phase.scale, phase.low, phase.high),
        ("probe amplitude", np.abs(probe[0]), "gray", 0.0, None),
    )
    for place, (title, values, colours, low, high) in enumerate(panels, start=1):
        axes = made.add_subplot(1, len(panels), place)
        image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title)
        made.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.12)
    made.tight_layout()
    return made
