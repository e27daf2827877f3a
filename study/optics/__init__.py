"""The forward model as stateless torch functions, which simulation and loss share.

The iterative methods repeat it with zero frequency first, which saves the shifts.
"""

from study.optics.back_projection import back_project, own_constant
from study.optics.patches import (
    adjoint,
    covered,
    extract,
    illumination,
    stitch_tiles,
    stitch_weighted,
)
from study.optics.wave import (
    diffract,
    exit_wave,
    far_field,
    inverse_far_field,
    light_of,
)

__all__ = [
    "adjoint",
    "back_project",
    "covered",
    "diffract",
    "exit_wave",
    "extract",
    "far_field",
    "illumination",
    "inverse_far_field",
    "light_of",
    "own_constant",
    "stitch_tiles",
    "stitch_weighted",
]
