"""Training: one run from an arm's settings to weights, history and reconstructions.

`study.training.fit.fit` trains; `check` refuses settings that cannot work before anything is
allocated. Lightning is imported by `fit` only.
"""

from __future__ import annotations

from study.generators import size
from study.settings import Arm, UserError
from study.training.clipping import check_rule
from study.training.ranks import check_devices

__all__ = ["check"]


def check(arm: Arm, n: int, channels: int, devices: int = 1) -> None:
    """Refuse an arm whose names, options or geometry cannot work on patterns (channels, n, n), and
    more devices than the machine or a batch has.

    Raises UserError with the nearest name, or with the numbers that do not fit. Whether a
    supervised loss has its true patches only the data set can tell: `fit` asks it.
    """
    size(arm.generator, n, channels)
    check_rule(arm.clip.gradient_clip_algorithm)
    check_devices(devices, arm.batch_size)
    if devices > 1 and (joint := _joint(arm)):
        raise UserError(
            f"--devices is {devices}, but {joint} needs the run on one device; leave --devices out"
        )


def _joint(arm: Arm) -> str | None:
    """The setting that needs a batch, or the whole run, in one place."""
    if arm.survival is not None:
        return "survival, whose run stops at its event,"
    if getattr(arm.loss, "overlap_weight", 0) > 0:
        return "loss.overlap_weight"
    return "legacy.batch_coupled_probe" if arm.legacy.batch_coupled_probe else None
