"""`stability` of params.yaml: the learning rates, and the curves of deaths over them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from study.reading import quoted
from study.settings import (
    MOST_SEEDS,
    Arm,
    Count,
    Model,
    Section,
    Seed,
    Study,
    check_name,
    nearest,
)
from study.settings.base import Factor

MOST_CHANGES = 100  # an arm has about 30 settings
MOST_CURVES = 1000


class StabilityRate(Model):
    """One learning rate of the grid and the seeds of its runs."""

    lr: Factor
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS)]


class StabilityCurve(Model):
    """A base arm, the data set of its runs, and changes as `study arms new --set` takes them."""

    base: str
    data: str
    settings: Annotated[tuple[str, ...], Field(max_length=MOST_CHANGES)]


class Stability(Section):
    """Short runs of every curve on one grid of learning rates.

    `versus`: the curve that the others are compared with.
    """

    key: ClassVar[str] = "stability"
    arms: ClassVar[tuple[str, ...]] = ("base",)

    epochs: Count
    versus: str
    grid: Annotated[tuple[StabilityRate, ...], Field(min_length=2, max_length=100)]
    curves: Annotated[Mapping[str, StabilityCurve], Field(min_length=1, max_length=MOST_CURVES)]

    @model_validator(mode="after")
    def _ordered(self) -> Stability:
        rates = [item.lr for item in self.grid]
        if any(low >= high for low, high in itertools.pairwise(rates)):
            raise ValueError(
                f"grid has the learning rates {quoted(rates)}; list them in rising order"
            )
        seeds = [seed for item in self.grid for seed in item.seeds]
        if len(set(seeds)) < len(seeds):
            twice = next(seed for seed, times in Counter(seeds).items() if times > 1)
            raise ValueError(
                f"grid uses seed {twice} twice; the fit takes runs as independent: give every run "
                "of the grid its own seed"
            )
        for name in self.curves:
            check_name(name)
        if self.versus not in self.curves:
            raise ValueError(
                f"versus is {quoted(self.versus)}, which is not one of the curves"
                f"{nearest(self.versus, self.curves)}"
            )
        return self

    def check(self, study: Study) -> None:
        sets = [f"data/{name}" for name in study.data]
        for name, curve in self.curves.items():
            if curve.data not in sets:
                raise ValueError(
                    f"stability.curves.{name}.data is {quoted(curve.data)}, which is not a data "
                    f"set{nearest(curve.data, sets)}"
                )
            if not isinstance(study.arms.get(curve.base), Arm):
                trained = [arm for arm, row in study.arms.items() if isinstance(row, Arm)]
                raise ValueError(
                    f"stability.curves.{name}.base is {quoted(curve.base)}, which is not a trained "
                    f"arm{nearest(curve.base, trained)}"
                )


SECTION = Stability
