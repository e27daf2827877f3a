"""The stored curves, read and compared: LD50, its ratio to that of one curve, deaths.

Design choices
- Divergence (a loss that is not finite) is a death, counted apart: a run that ends as a constant
  object is dead for another reason.
- Curves share seeds, rate by rate. Where a seed is hard for all of them, the ratio of two LD50 is
  known better than its interval shows, which takes the curves as independent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from study.evidence.format import counted, enumerated, fmt
from study.investigations.stability.dose import Deaths, Ld50, ratio
from study.investigations.stability.settings import Stability
from study.reading import read_mapping
from study.runs.recorded import recorded_files
from study.settings import Model, Scalar, UserError, explain, load_study

FORMAT = 1
PIPELINE, FOLDER = "studies", "stability"


class Run(Model):
    """How one run ended; `skill` None where the loss was not finite (`diverged`)."""

    lr: float
    seed: int
    hash: str
    skill: float | None
    died: bool
    diverged: bool


class Curve(Model):
    """One results/stability/CURVE.json. `settings`: those that all runs share."""

    format: Literal[1]
    curve: str
    data_sha256: str
    settings: Mapping[str, Scalar]
    runs: tuple[Run, ...]
    ld50: Ld50

    @property
    def deaths(self) -> Deaths:
        return count(self.runs)

    @property
    def label(self) -> str:
        return named(self.curve)

    @property
    def diverged(self) -> int:
        return sum(run.diverged for run in self.runs)


def named(curve: str) -> str:
    """A curve's name in words: `zero_gamma_clip` is the zero-gamma block with a clip."""
    return curve.replace("_clip", " + clip").replace("_", " ")


def count(runs: tuple[Run, ...]) -> Deaths:
    """Deaths per learning rate."""
    rates = sorted({run.lr for run in runs})
    groups = [[run.died for run in runs if run.lr == rate] for rate in rates]
    return Deaths(tuple(rates), tuple(map(len, groups)), tuple(map(sum, groups)))


def stored(pipeline: Path, name: str) -> Path:
    """Where the curve of a pipeline folder is."""
    return pipeline / "results" / FOLDER / f"{name}.json"


def load_curve(file: Path) -> Curve | None:
    """A stored curve; None where there is none. Raises UserError for a damaged or other file."""
    content = read_mapping(file)
    if content is None:
        return None
    try:
        return Curve.model_validate(content)
    except ValidationError as error:
        wrong = explain(error, content, "", Curve)
        raise UserError(
            f"{file} is not a curve of format {FORMAT} ({wrong}); compute it again with "
            "`study stability`"
        ) from None


@dataclass(frozen=True)
class Stable:
    """The curves that are stored, in the order of the settings, and how each compares.

    `ratios`: curve -> LD50 over that of `versus`, for every other curve when that one is stored.
    """

    curves: tuple[Curve, ...]
    versus: str
    ratios: Mapping[str, Ld50]
    missing: tuple[str, ...]

    @property
    def headline(self) -> str | None:
        """LD50 of the compared curve, and which ratios to it are shown to differ from one."""
        control = next((c for c in self.curves if c.curve == self.versus), None)
        if control is None:
            return None
        groups: dict[str, list[str]] = {"higher": [], "lower": [], "not shown to differ": []}
        for name, found in self.ratios.items():
            higher, lower = found.low is not None and found.low > 1, (found.high or math.inf) < 1
            side = "higher" if higher else "lower" if lower else "not shown to differ"
            groups[side].append(f"{named(name)} ({bounded(found)})")
        parts = [f"{side}: {enumerated(names)}" for side, names in groups.items() if names]
        message = f"; as a multiple of it, {'; '.join(parts)}" if parts else ""
        return (
            f"Half of the short runs of {control.label} die at a learning rate of "
            f"{bounded(control.ld50)}{message}."
        )

    @property
    def sentences(self) -> list[str]:
        """One sentence per curve, and one that names the missing ones."""
        curves = [self._sentence(curve) for curve in self.curves]
        lacking = f"No result of {enumerated(self.missing)} yet (`study stability`)."
        return [*curves, *([lacking] if self.missing else [])]

    def _sentence(self, curve: Curve) -> str:
        deaths = curve.deaths
        died = f"{sum(deaths.dead)} of {counted(sum(deaths.runs), 'run')} died"
        apart = (
            f", {curve.diverged} of them with a loss that is not finite" if curve.diverged else ""
        )
        other = ""
        if (found := self.ratios.get(curve.curve)) is not None:
            other = f"; {bounded(found)} times that of {named(self.versus)}"
        name = f"{curve.label[0].upper()}{curve.label[1:]}"
        return f"{name}: LD50 of the learning rate {bounded(curve.ld50)}{other}; {died}{apart}."


def bounded(value: Ld50, digits: int = 2) -> str:
    """`0.011 [0.0055, 0.023]`; where there is no estimate, or a side is open, what is known."""
    low, high = fmt(value.low, digits), fmt(value.high, digits)
    if value.low is None and value.high is None:
        return "unknown" if value.estimate is None else f"{fmt(value.estimate, digits)} (no bounds)"
    if value.high is None:
        bounds = f"above {low}"
    elif value.low is None:
        bounds = f"below {high}"
    else:
        bounds = f"[{low}, {high}]"
    return bounds if value.estimate is None else f"{fmt(value.estimate, digits)} {bounds}"


def recorded(root: Path) -> list[Path]:
    """The curves that the checkout `root` recorded (`study record studies`).

    Raises UserError for one that is not as it was recorded.
    """
    return list(recorded_files(root, f"{FOLDER}/*.json"))


def load(pipeline: Path, files: Collection[Path] | None = None) -> Stable:
    """The curves that a pipeline folder asks for: all that are stored, or those of `files`.

    Raises UserError without settings, and for a damaged curve; a curve that is not stored is named
    under `missing`.
    """
    settings = load_study(pipeline / "params.yaml").section(Stability)
    places = {name: pipeline / "results" / FOLDER / f"{name}.json" for name in settings.curves}
    found = {
        name: load_curve(file) for name, file in places.items() if files is None or file in files
    }
    curves = {name: curve for name, curve in found.items() if curve is not None}
    control = curves.get(settings.versus)
    ratios = {
        name: ratio(curve.ld50, control.ld50)
        for name, curve in curves.items()
        if control is not None and curve is not control
    }
    missing = tuple(name for name in settings.curves if name not in curves)
    return Stable(tuple(curves.values()), settings.versus, ratios, missing)
