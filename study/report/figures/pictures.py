"""The small images in git: true object and one reconstruction per arm, available without a pull."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas

from study.evidence.images import CHANNELS, NAME, Facts, blank_channels, read_images
from study.report.figures.style import Drawing, bare, canvas, grid, wrapped
from study.report.gather import Inputs, not_here

COLUMNS = 6
LABEL_MM = 8.0  # two lines of a name


def draw_pictures(inputs: Inputs) -> Drawing | str:
    """One block per arm of this pipeline: true object and reconstruction, amplitude above phase.

    Raises UserError for an invalid image file.
    """
    found = {}
    for arm in inputs.ordered([name for name in inputs.arms if "/" not in name]):
        file = inputs.folder(arm) / NAME
        if (
            file.is_file()
            and "reconstruction" in (read := read_images(file, inputs.root))[0].panels
        ):
            found[arm] = read
            inputs.used.add(file)
    if not found:
        return not_here("Images of the arms")
    lines = -(-len(found) // COLUMNS)
    figure = canvas(lines * (28 + LABEL_MM))
    axes = grid(figure, lines, COLUMNS, (0.5, 0.5, 1, LABEL_MM), (2, LABEL_MM)).ravel()
    blank = {
        arm: blank_channels(inputs.findings.arms[arm], facts) for arm, (facts, _) in found.items()
    }
    for axis, (arm, (facts, panels)) in zip(axes, found.items(), strict=False):
        axis.imshow(_block(facts, panels), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        bare(axis)
        star = "*" if blank[arm] else ""
        axis.set_title(wrapped(f"{arm}{star}", 16), pad=2)
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    return Drawing("pictures", figure, _table(found, blank), _caption(blank))


def _block(facts: Facts, panels: Mapping[Any, Any]) -> np.ndarray:
    """The panels of one arm side by side, amplitude above phase."""
    rows = [np.hstack([np.asarray(panels[name, c]) for name in facts.panels]) for c in CHANNELS]
    return np.vstack(rows)


def _table(
    found: Mapping[str, tuple[Facts, Any]], blank: Mapping[str, Mapping[str, str]]
) -> pandas.DataFrame:
    """Seed, checkpoint and grey levels per arm."""
    rows = [
        {
            "arm": arm,
            "seed": facts.seed,
            "checkpoint": facts.checkpoint,
            "amplitude_black": facts.amplitude[0],
            "amplitude_white": facts.amplitude[1],
            "phase_black_rad": facts.phase[0],
            "phase_white_rad": facts.phase[1],
            "not_evaluable": "; ".join(f"{c}: {why}" for c, why in blank[arm].items()),
        }
        for arm, (facts, _) in found.items()
    ]
    return pandas.DataFrame(rows)


def _caption(blank: Mapping[str, Mapping[str, str]]) -> str:
    starred = "; ".join(
        sorted(
            {f"{channel}: {why}" for reasons in blank.values() for channel, why in reasons.items()}
        )
    )
    return (
        "Test object (left) and reconstruction (right) of each arm of the root study, amplitude "
        "above phase, as stored in results/<arm>/images.png (8 bit, at most 84 px). Each arm is "
        "represented by the run with the median validation loss (best weights) and the test object "
        "of that run; grey levels span the range of the test object."
        + (f" * not evaluable ({starred})." if starred else "")
    )
