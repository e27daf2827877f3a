"""`regimes` of params.yaml: scan steps, doses and probes, and the networks that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from study.reading import quoted
from study.settings import (
    MOST_SEEDS,
    Arm,
    Count,
    Model,
    Photons,
    Pixels,
    Positive,
    RpieSetting,
    Section,
    Seed,
    Study,
    check_held,
    nearest,
)

NETWORKS = ("control", "better")


class AmplitudeBound(Model):
    """Largest mean absolute amplitude error of a reconstruction that is good enough."""

    value: Positive
    unit: Literal["object units"]


class PhaseBound(Model):
    """Largest mean absolute phase error of a reconstruction that is good enough."""

    value: Positive
    unit: Literal["rad"]


class Good(Model):
    """Good enough: both errors within their bounds."""

    amplitude_mae: AmplitudeBound
    phase_mae: PhaseBound


class RegimeRpie(Model):
    """rPIE of the regime map; the order of its patterns is drawn from the map's own seed."""

    passes: Count
    alpha: Annotated[float, Field(gt=0, le=1)]
    update_probe: bool


class RegimeConverged(Model):
    """rPIE until it stops changing, with the best of some settings: as the reference
    `rpie_converged`, but for the seed, which is that of the map."""

    passes: Count
    change: Annotated[float, Field(gt=0, lt=1)]
    over: Count
    settings: Annotated[Mapping[str, RpieSetting], Field(min_length=1, max_length=9)]
    update_probe: bool


class RegimeCell(Model):
    """One dose (photons per pattern) and one knowledge of the probe: its data set and networks."""

    dose: Photons
    probe: Literal["known", "perturbed"]
    data: str
    control: str
    better: str


class Regimes(Section):
    """Scan steps at test time x cells; `seed`: the run of each arm, and rPIE's order.

    `seeds`: the runs of each arm where several are compared, on one data set; may be left out.
    `rpie_damped`: a second setting of rPIE, for noisy patterns, or null. `rpie_converged`: rPIE to
    convergence; may be left out.
    """

    key: ClassVar[str] = "regimes"
    arms: ClassVar[tuple[str, ...]] = NETWORKS

    seed: Seed
    steps_px: Annotated[tuple[Pixels, ...], Field(min_length=1, max_length=1000)]
    rpie: RegimeRpie
    rpie_damped: RegimeRpie | None
    rpie_converged: RegimeConverged | None = None
    seeds: Annotated[tuple[Seed, ...], Field(max_length=MOST_SEEDS)] = ()
    network_rpie_passes: Count
    good: Good
    cells: Annotated[tuple[RegimeCell, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _once_each(self) -> Regimes:
        if len(set(self.steps_px)) < len(self.steps_px):
            raise ValueError(
                f"steps_px {quoted(list(self.steps_px))} repeat; every step stands once"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {quoted(list(self.seeds))} repeat; name every seed once")
        pairs = [(cell.dose, cell.probe) for cell in self.cells]
        twice = next((pair for i, pair in enumerate(pairs) if pair in pairs[:i]), None)
        if twice is not None:
            raise ValueError(
                f"two cells have dose {twice[0]:g} and probe {twice[1]}; keep one of them"
            )
        return self

    @property
    def runs(self) -> tuple[int, ...]:
        """Seeds of the runs of each arm."""
        return self.seeds or (self.seed,)

    def check(self, study: Study) -> None:
        for i, cell in enumerate(self.cells):
            self._check_cell(study, f"regimes.cells.{i}", cell)

    def _check_cell(self, study: Study, where: str, cell: RegimeCell) -> None:
        """Raise ValueError unless the data set and the networks of the cell belong together."""
        room, _, stem = cell.data.partition("/")
        if room != "data" or stem not in study.data:
            known = (f"data/{name}" for name in study.data)
            raise ValueError(
                f"{where}.data is {quoted(cell.data)}, no data set{nearest(cell.data, known)}"
            )
        data = study.data[stem]
        if data.photons_per_pattern != cell.dose:
            raise ValueError(
                f"{where}.dose is {cell.dose:g} but {cell.data} has {data.photons_per_pattern:g} "
                "photons_per_pattern; they must be equal"
            )
        for role in NETWORKS:
            name = getattr(cell, role)
            row = study.arms.get(name)
            if not isinstance(row, Arm):
                trained = [arm for arm, other in study.arms.items() if isinstance(other, Arm)]
                raise ValueError(
                    f"{where}.{role} is {quoted(name)}, which is not a trained arm"
                    f"{nearest(name, trained)}"
                )
            if row.data != cell.data:
                raise ValueError(
                    f"{where}.{role} is {name!r}, an arm on {row.data}, but the cell has "
                    f"{cell.data}; a network is judged on the light that it was trained for"
                )
        if data.seeds is not None and self.seeds:
            raise ValueError(
                f"regimes.seeds has {quoted(list(self.seeds))}, but the objects of {cell.data} are "
                "drawn per seed; all methods of a cell see one object: leave seeds out"
            )
        if data.seeds is not None:
            check_held("regimes.seed", (self.seed,), cell.data, data.seeds)
        widest, free = max(self.steps_px), data.object_px - data.n
        if widest > free:
            raise ValueError(
                f"regimes.steps_px has {widest} but {cell.data} leaves {free} px for steps; choose "
                "smaller ones"
            )


SECTION = Regimes
