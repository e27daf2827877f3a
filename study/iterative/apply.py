"""rPIE on any data set, with held-out patterns always: what `study reconstruct rpie` calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32
from pydantic import ValidationError

from study.formats.dataset import Dataset
from study.formats.reconstruction import Reconstruction
from study.iterative.references import pack
from study.iterative.rpie import Progress
from study.iterative.shifts import refined_positions
from study.iterative.sources import make
from study.iterative.task import Task, fitted_and_held_out, fitted_and_judged
from study.optics.assembly import total_r_factor
from study.settings import Rpie, Scalar, UserError, explain


@dataclass(frozen=True)
class Applied:
    """A reconstruction, its probe with it, and R over the patterns that made it and the others.

    None where no such pattern lies on known object. `passes`: R of every pass. `probe`: all modes.
    `positions_px`: of the fitted patterns as given. With refined positions: `shift_px` of each, and
    `r_factor_held_out_refined`, R over the others once their own shifts are found, object and probe
    unchanged.
    """

    reconstruction: Reconstruction
    r_factor_fitted: float | None
    r_factor_held_out: float | None
    passes: tuple[float, ...]
    probe: Complex64[np.ndarray, "*m n n"]
    positions_px: Float32[np.ndarray, "J 2"]
    shift_px: Float32[np.ndarray, "J 2"] | None = None
    r_factor_held_out_refined: float | None = None


def reconstruct_rpie(
    dataset: Dataset,
    passes: int,
    alpha: float,
    update_probe: bool | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    modes: int | None = None,
    refine_positions: bool = False,
) -> Applied:
    """Object and probe from some patterns of `dataset`, and R on others that were not seen.

    An imported set: fitted to train and validation, judged by test. A simulated set: fitted to the
    test split without every 16th pattern, judged on all of it. `update_probe` None: where the probe
    was measured, not where it is the simulation's own. `modes`: of the probe, None for as many as
    the data set has. `refine_positions`: also find the shift of every position.

    Raises UserError for settings outside their range, and when no photon is there.
    """
    if update_probe is None:
        update_probe = dataset.manifest.kind == "imported"
    source = _source({"passes": passes, "alpha": alpha, "update_probe": update_probe, "seed": seed})
    fitted, held_out = fitted_and_held_out(dataset)
    _, judged = fitted_and_judged(dataset)
    made = make(source, Task(dataset, fitted, progress, modes, refine_positions))
    there, refined = fitted, None
    if made.shift_px is not None:
        there = fitted.at(fitted.scan.positions_px + made.shift_px)
        near = held_out.at(refined_positions(made.stitched.canvas, made.probe, held_out))
        refined = total_r_factor(made.stitched, made.probe, near)
    return Applied(
        pack(made, dataset, judged),
        total_r_factor(made.stitched, made.probe, there),
        total_r_factor(made.stitched, made.probe, held_out),
        made.r_factor,
        made.probe.numpy(),
        fitted.scan.positions_px.flatten(0, 1).numpy(),
        None if made.shift_px is None else made.shift_px.flatten(0, 1).numpy(),
        refined,
    )


def _source(settings: Mapping[str, Scalar]) -> Rpie:
    try:
        return Rpie.model_validate({"name": "rpie", **settings})
    except ValidationError as error:
        raise UserError(explain(error, settings, "rpie", Rpie)) from None
