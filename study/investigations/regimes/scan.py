"""One scan of the regime map: the numbers of every method at one dose, probe and scan step.

    test object -> rescan -> counts -> method -> stitched object -> scores on illuminated pixels

Design choices
- All methods see the same counts and the same assumed probe, and all patches are stitched by the
  illumination-weighted average: tiles as published leave no overlap to use, and cannot bridge gaps.
- A pixel counts when it received a tenth of the scan's median illumination and a tenth of what the
  brightest pixel of one pattern receives: wide steps light little, and their median with it. The
  box around these pixels is the region, and `known_share` of it is lit.
- rPIE that refines the probe may tilt it, so the phase ramp is taken off its object before it is
  scored (`study.iterative.gauge`). No other method has that freedom.
- One rPIE setting cannot serve all doses: at 1e3 photons per pattern (n = 32, step 5 px, 60 passes)
  alpha 0.1 fits the noise, phase error 0.36 rad, where alpha 1 gives 0.11. So a damped one may
  are beside it; neither is chosen by the scores.
- Seconds are CPU seconds of one thread, from counts to stitched object, so that work beside it
  does not count; weights are loaded, and a network has seen one pattern, before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Complex64, Float
from torch import Tensor, nn

from study.evidence.evaluable import PRIOR
from study.evidence.scores import foreign_phase
from study.formats.dataset import Dataset, load_dataset
from study.investigations.regimes.settings import RegimeCell, Regimes
from study.iterative.rpie import RpieOptions, best_constant, rpie
from study.iterative.sources import make
from study.iterative.task import Task, measured, on_one_canvas
from study.metrics import score
from study.optics import covered
from study.optics.assembly import Region, are_distinct, crop, seen_by, stitch, whole
from study.optics.counts import counts_from_amplitude, to_object_units
from study.optics.measurement import Measurement
from study.runs import RunFolder
from study.settings import BackProjection, DataParams, Rpie, RpieConverged, UserError
from study.simulate.rescan import rescan
from study.training.reconstruct import load_generator, patches_of, synchronises

CHECKPOINT = "last"
LIT = 0.1  # of the brightest pixel of one pattern
NUMBERS = ("amplitude_mae", "phase_mae", "amplitude_ssim", "phase_ssim")


@dataclass(frozen=True)
class Part:
    """One scan to be reconstructed by all methods.

    `data`: folder of the data set that `params` describe; `networks`: run folders by seed of the
    control and the better network, those that are there.
    """

    regimes: Regimes
    cell: RegimeCell
    step_px: int
    data: Path
    params: DataParams
    networks: Mapping[str, Mapping[int, Path]]


@dataclass(frozen=True)
class Scanned:
    """One scan of the test object, and where and against what its reconstructions are judged."""

    dataset: Dataset
    fitted: Measurement
    region: Region
    lit: Bool[np.ndarray, "I y x"]
    truth: Complex64[np.ndarray, "I y x"]

    @property
    def probe(self) -> Complex64[Tensor, "n n"]:
        return torch.tensor(self.dataset.probe)


@dataclass(frozen=True)
class Answer:
    """A method's objects on their canvas (network units); `distinct` as for the gate."""

    canvas: Complex[Tensor, "I h w"]
    distinct: bool = True
    ramp_free: bool = False


Method = Callable[[Scanned], Answer]


# --- the scan ---------------------------------------------------------------------------------


def scanned(dataset: Dataset, params: DataParams, step_px: int) -> Scanned:
    """The test object at another step; no longer a raster, so that every method is averaged."""
    split = replace(rescan(dataset, params, step_px), stride_px=None)
    there = replace(dataset, splits={"test": split})
    fitted, probe = measured(there, "test"), torch.tensor(dataset.probe)
    lit = illuminated(seen_by(fitted.scan, probe), probe)
    y0, x0, y1, x1 = region = box(lit)
    assert split.obj is not None, "a simulated set has its truth"
    inside = lit[:, y0:y1, x0:x1].numpy()
    return Scanned(there, fitted, region, inside, split.obj[:, y0:y1, x0:x1])


def illuminated(
    seen: Float[Tensor, "I h w"], probe: Complex[Tensor, "n n"]
) -> Bool[Tensor, "I h w"]:
    """Pixels that count: see the module's docstring."""
    enough = seen >= LIT * probe.abs().square().max()
    return enough & torch.stack([covered(image, LIT) for image in seen])


def box(lit: Bool[Tensor, "I h w"]) -> Region:
    """Smallest box around the lit pixels of all images: (y0, x0, y1, x1)."""
    places = lit.any(dim=0).nonzero()
    (y0, x0), (y1, x1) = places.amin(dim=0).tolist(), (places.amax(dim=0) + 1).tolist()
    return y0, x0, y1, x1


def lit_diameter_px(probe: Complex[Tensor, "n n"]) -> float:
    """Diameter of the disk with as many pixels as one pattern lights, in px."""
    intensity = probe.abs().square()
    return 2 * math.sqrt(int((intensity >= LIT * intensity.max()).sum()) / math.pi)


# --- the methods ------------------------------------------------------------------------------


def network(generator: nn.Module) -> Method:
    """A trained network on every pattern, stitched."""

    def reconstruct(given: Scanned) -> Answer:
        patch = patches_of(generator, given.fitted.amplitude)
        agreeing = synchronises(generator, given.dataset)
        stitched = stitch(patch, given.probe, given.fitted.scan, synchronise=agreeing)
        return Answer(stitched.canvas, are_distinct(patch))

    return reconstruct


def reference(source: BackProjection | Rpie | RpieConverged) -> Method:
    """A row of the table that is not a network, by the table's own code."""

    def reconstruct(given: Scanned) -> Answer:
        made = make(source, Task(given.dataset, given.fitted))
        blind = not isinstance(source, BackProjection) and source.update_probe
        return Answer(made.stitched.canvas, made.distinct, ramp_free=blind)

    return reconstruct


def started_by(generator: nn.Module, settings: Rpie) -> Method:
    """rPIE from a network's stitched object, and from the best constant where that has no light."""

    def reconstruct(given: Scanned) -> Answer:
        scan, scale = given.fitted.scan, given.dataset.manifest.photon_scale
        amplitude, known = given.fitted.amplitude.flatten(0, 1), given.fitted.known
        first = whole(network(generator)(given).canvas, given.probe, scan)
        start = torch.where(first.known, first.canvas, best_constant(amplitude, given.probe, known))
        positions_px, shape = on_one_canvas(scan)
        result = rpie(
            counts_from_amplitude(amplitude, scale),
            given.probe * scale,
            positions_px,
            shape,
            RpieOptions(**settings.model_dump(exclude={"name"})),
            start=start.flatten(0, 1),
            known=known,
        )
        canvas = result.obj.unflatten(0, (scan.images, scan.object_shape[0]))
        return Answer(canvas, ramp_free=settings.update_probe)

    return reconstruct


def methods(
    part: Part, generators: Mapping[str, Mapping[int, nn.Module]]
) -> dict[str, dict[int, Method]]:
    """Name -> seed of the network -> method, for the networks that are there. A method without a
    network is under the map's seed."""
    regimes, better = part.regimes, generators.get("better", {})
    found = {
        role: {seed: network(generator) for seed, generator in seeds.items()}
        for role, seeds in generators.items()
    }
    found |= {name: {regimes.seed: method} for name, method in _untrained(part).items()}
    if better:
        settings = Rpie(name="rpie", seed=regimes.seed, **regimes.rpie.model_dump())
        short = settings.model_copy(update={"passes": regimes.network_rpie_passes})
        found["network_rpie"] = {seed: started_by(one, short) for seed, one in better.items()}
    return found


def _untrained(part: Part) -> dict[str, Method]:
    regimes = part.regimes
    settings = Rpie(name="rpie", seed=regimes.seed, **regimes.rpie.model_dump())
    found = {
        "back_projection": reference(BackProjection(name="back_projection", steps=1)),
        "rpie": reference(settings),
    }
    if regimes.rpie_damped is not None:
        damped = Rpie(name="rpie", seed=regimes.seed, **regimes.rpie_damped.model_dump())
        found["rpie_damped"] = reference(damped)
    if regimes.rpie_converged is not None:
        dumped = regimes.rpie_converged.model_dump()
        converged = RpieConverged(name="rpie_converged", seed=regimes.seed, **dumped)
        found["rpie_converged"] = reference(converged)
    if part.cell.probe == "perturbed":
        found["rpie_blind"] = reference(settings.model_copy(update={"update_probe": True}))
    return found


# --- the numbers ------------------------------------------------------------------------------


def judged(answer: Answer, given: Scanned) -> dict[str, Any]:
    """Scores of set standard on the illuminated pixels, mean over the images.

    MAE in object units and rad. An object that is degenerate in one channel has no
    scores: all its numbers are null, with the gate's reason.
    """
    obj = to_object_units(answer.canvas, given.dataset.manifest.object_norm["test"])
    images = crop(obj, given.region).to(torch.complex64).numpy()
    # The gate only learns that outputs were equal: see `study.evidence.scores`.
    outputs = None if answer.distinct else np.ones((2, 1, 1), dtype=np.complex64)
    try:
        parts = [
            score(image, true, "standard", mask, answer.ramp_free, outputs)
            for image, true, mask in zip(images, given.truth, given.lit, strict=True)
        ]
    except UserError as error:
        return {**dict.fromkeys(NUMBERS), "evaluable": False, "reason": str(error)}
    gates = [part["gate"][channel] for part in parts for channel in ("amplitude", "phase")]
    reasons = dict.fromkeys(gate["reason"] for gate in gates if gate["reason"])
    found = {number: _mean(parts, *number.split("_")) for number in NUMBERS}
    if reasons:
        return {**dict.fromkeys(found), "evaluable": False, "reason": "; ".join(reasons)}
    return {**found, "evaluable": True, "reason": None}


def _mean(parts: list[dict[str, Any]], channel: str, metric: str) -> float | None:
    values = [part[channel][metric] for part in parts]
    return None if None in values else float(np.mean(values))


def timed(method: Method, given: Scanned) -> tuple[Answer, float]:
    """What a method makes of a scan, and the seconds it took."""
    began = time.process_time()
    answer = method(given)
    return answer, time.process_time() - began


def over_seeds(parts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """One row from the rows of several runs: the mean of every number that all of them have.

    A run without a score takes the number from the row, and a degenerate one makes it not
    evaluable: the others alone would be a selection.
    """
    if len(parts) == 1:
        return dict(*parts.values())
    reasons = {f"s{seed}": part["reason"] for seed, part in parts.items() if part["reason"]}
    evaluable = all(part["evaluable"] for part in parts.values())
    values = {key: [part[key] for part in parts.values()] for key in ("seconds", *NUMBERS)}
    means = {k: None if None in v else float(np.mean(v)) for k, v in values.items()}
    same = set(reasons.values())
    words = "; ".join(f"{seed}: {why}" for seed, why in reasons.items())
    if len(same) == 1 and len(reasons) == len(parts):
        words = same.pop()
    return {
        **(means if evaluable else {**means, **dict.fromkeys(NUMBERS)}),
        "evaluable": evaluable,
        "reason": words or None,
        "seeds": [
            {"seed": seed, **{n: part[n] for n in NUMBERS}, "reason": part["reason"]}
            for seed, part in parts.items()
        ],
    }


def numbers(part: Part) -> dict[str, Any]:
    """Rows of all methods for one scan, and what the scan covers.

    A network whose phase follows a prior, by the test of its run, has amplitude numbers only.

    Raises UserError for files that cannot be read, and for a data set that is not `part.params`'.
    """
    given = scanned(load_dataset(part.data, ("test",)), part.params, part.step_px)
    generators = {
        role: {seed: load_generator(RunFolder(path), CHECKPOINT) for seed, path in runs.items()}
        for role, runs in part.networks.items()
    }
    for generator in (one for seeds in generators.values() for one in seeds.values()):
        patches_of(generator, given.fitted.amplitude[:1])
    tests = {
        (role, seed): foreign_phase(RunFolder(path), CHECKPOINT)
        for role, runs in part.networks.items()
        for seed, path in runs.items()
    }
    priors = {run for run, test in tests.items() if test is not None and not test["follows"]}
    trained_on = given.dataset.manifest.patterns.get("train")
    rows = []
    for name, seeds in methods(part, generators).items():
        parts: dict[int, dict[str, Any]] = {}
        for seed, method in seeds.items():
            answer, seconds = timed(method, given)
            found = judged(answer, given)
            if (name, seed) in priors and found["evaluable"]:
                lost = dict.fromkeys((n for n in NUMBERS if n.startswith("phase")), None)
                found |= {**lost, "reason": PRIOR}
            parts[seed] = {"seconds": seconds, **found}
        row = {"method": name, **over_seeds(parts)}
        if name in generators or name == "network_rpie":
            row["training_patterns"] = trained_on
        rows.append(row)
    return {
        "patterns": len(given.fitted.amplitude),
        "known_share": float(given.lit.mean()),
        "region": list(given.region),
        "lit_diameter_px": lit_diameter_px(given.probe),
        "rows": rows,
    }
