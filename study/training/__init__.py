"""Training: one run from an arm's settings to weights, history and reconstructions.

`study.training.fit.fit` trains; `check` refuses settings that cannot work before anything is
allocated. Lightning is imported by `fit` alone.
"""

from __future__ import annotations

from study.generators import size
from study.params import Arm
from study.training.clipping import check_rule

__all__ = ["check"]


def check(arm: Arm, n: int, channels: int) -> None:
    """Refuse an arm whose names, options or geometry cannot work on patterns (channels, n, n).

    Raises UserError with the nearest name, or with the numbers that do not fit. Whether a
    supervised loss has its true patches only the data set can tell: `fit` asks it.
    """
    size(arm.generator, n, channels)
    check_rule(arm.clip.gradient_clip_algorithm)
