"""rPIE as a reference row: a whole object, fitted to all patterns that the row may see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Complex64, Float32
from torch import Tensor

from study.iterative.rpie import BATCH, PROBE_ALPHA, Result, RpieOptions, Stop, rpie
from study.iterative.task import Made, Task, on_one_canvas
from study.optics.assembly import Stitched, hold_out, total_r_factor, whole
from study.optics.counts import counts_from_amplitude
from study.optics.measurement import Measurement
from study.settings import Rpie, RpieConverged, RpieSetting, Scalar


def iterative(source: Rpie, task: Task) -> Made:
    """rPIE on all fitted patterns."""
    found = _fit(task, task.fitted, RpieSetting(alpha=source.alpha, update="batches"), source)
    effective = {
        **source.model_dump(exclude={"name"}),
        "batch": BATCH,
        "probe_alpha": PROBE_ALPHA if source.update_probe else None,
        "start": "best constant",
    }
    return found.made(effective)


def converged(source: RpieConverged, task: Task) -> Made:
    """rPIE until R stops changing, with the setting that predicts patterns best that were left out.

    Every 16th fitted pattern, from the 9th on, is left out (`optics.assembly.hold_out`); test
    patterns of a measurement are none of them. Each setting runs from the constant to convergence
    on the others. The lowest R over the left-out patterns wins; between equals, and where no
    left-out pattern lies on known object (a scan that hardly overlaps, fewer than 9 patterns), the
    first by name. The winner runs once more, from the constant, on all fitted patterns: its R per
    pass is the row's history.
    """
    left_out = hold_out(len(task.fitted.amplitude))
    kept, judged = task.fitted.only(~left_out), task.fitted.only(left_out)
    tried: dict[str, dict[str, Scalar]] = {}
    for name, setting in sorted(source.settings.items()):
        trial = _fit(replace(task, progress=None), kept, setting, source)
        tried[name] = {
            "passes": len(trial.result.r_factor),
            "converged": trial.result.converged,
            "r_factor_left_out": total_r_factor(trial.stitched, trial.probe, judged),
        }
    best = min(tried, key=lambda name: _or_infinity(tried[name]["r_factor_left_out"]))
    found = _fit(task, task.fitted, source.settings[best], source)
    effective = {
        **source.model_dump(exclude={"name"}),
        "batch": BATCH,
        "probe_alpha": PROBE_ALPHA if source.update_probe else None,
        "start": "best constant",
        "left_out_patterns": len(judged.amplitude),
        "tried": tried,
        "chosen": best,
        "passes_done": len(found.result.r_factor),
        "converged": found.result.converged,
    }
    return found.made(effective)


@dataclass(frozen=True)
class _Fit:
    """A result of rPIE on its canvas, and the probe in the units of P_sim."""

    stitched: Stitched
    probe: Complex64[Tensor, "*m n n"]
    result: Result
    shift_px: Float32[Tensor, "J c 2"] | None = None

    def made(self, effective: Mapping[str, Any]) -> Made:
        return Made(self.stitched, self.probe, True, effective, self.result.r_factor, self.shift_px)


def _fit(
    task: Task, fitted: Measurement, setting: RpieSetting, source: Rpie | RpieConverged
) -> _Fit:
    """rPIE on the patterns of `fitted`, with the probe of the data set."""
    photon_scale, scan = task.dataset.manifest.photon_scale, fitted.scan
    first = task.start_probe
    positions_px, shape = on_one_canvas(scan)
    result = rpie(
        counts_from_amplitude(fitted.amplitude.flatten(0, 1), photon_scale),
        first * photon_scale,
        positions_px,
        shape,
        RpieOptions(
            passes=source.passes,
            alpha=setting.alpha,
            update_probe=source.update_probe,
            seed=source.seed,
            update=setting.update,
            stop=Stop(source.change, source.over) if isinstance(source, RpieConverged) else None,
            refine_positions=task.refine_positions,
        ),
        known=fitted.known,
        progress=task.progress,
    )
    canvas = result.obj.unflatten(0, (scan.images, scan.object_shape[0]))
    # Scored and judged where the networks are: the given probe determines the illuminated pixels.
    stitched = whole(canvas, task.probe, scan)
    shift = None
    if result.positions_px is not None:
        shift = (result.positions_px - positions_px).view_as(scan.positions_px)
    probe = result.probe / photon_scale if source.update_probe else first
    return _Fit(stitched, probe, result, shift)


def _or_infinity(value: Scalar) -> float:
    return float(value) if isinstance(value, float) and math.isfinite(value) else math.inf
