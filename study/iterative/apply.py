"""rPIE on any data set, with held-out patterns always: what `study reconstruct rpie` calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from study.formats.dataset import Dataset
from study.formats.reconstruction import Reconstruction
from study.iterative.references import pack
from study.iterative.rpie import Progress
from study.iterative.sources import Task, fitted_and_held_out, fitted_and_judged, make
from study.optics.assembly import total_r_factor
from study.params import Rpie, Scalar, UserError, explain


@dataclass(frozen=True)
class Applied:
    """A reconstruction, its probe with it, and R over the patterns that made it and the others.

    None where no such pattern lies on known object. `passes`: R of every pass.
    """

    reconstruction: Reconstruction
    r_factor_fitted: float | None
    r_factor_held_out: float | None
    passes: tuple[float, ...]


def reconstruct_rpie(
    dataset: Dataset,
    passes: int,
    alpha: float,
    update_probe: bool | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Applied:
    """Object and probe from some patterns of `dataset`, and R on others that were not seen.

    An imported set: fitted to train and validation, judged by test. A simulated set: fitted to the
    test split without every 16th pattern, judged on all of it. `update_probe` None: where the probe
    was measured, not where it is the simulation's own.

    Raises UserError for settings outside their range, and when no photon is there.
    """
    if update_probe is None:
        update_probe = dataset.manifest.kind == "imported"
    source = _source({"passes": passes, "alpha": alpha, "update_probe": update_probe, "seed": seed})
    fitted, held_out = fitted_and_held_out(dataset)
    _, judged = fitted_and_judged(dataset)
    made = make(source, Task(dataset, fitted, progress))
    return Applied(
        pack(made, dataset, judged),
        total_r_factor(made.stitched, made.probe, fitted),
        total_r_factor(made.stitched, made.probe, held_out),
        made.r_factor,
    )


def _source(settings: Mapping[str, Scalar]) -> Rpie:
    try:
        return Rpie.model_validate({"name": "rpie", **settings})
    except ValidationError as error:
        raise UserError(explain(error, settings, "rpie")) from None
