"""Settings of the baselines, which are rows of the table that are not networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StrictBool, field_validator

from study.reading import quoted
from study.settings.arm import RowFields
from study.settings.base import NAME, Count, LengthOrZero, Model, Seed, Seeds


class Flat(Model):
    """The constant object that fits the measured amplitudes best: the floor of every table."""

    name: Literal["flat"]


class Oracle(Model):
    """The true patches through the same stitching: the ceiling of every table."""

    name: Literal["oracle"]


class BackProjection(Model):
    """`steps` known-probe rPIE steps of every single pattern from a flat object, untrained."""

    name: Literal["back_projection"]
    steps: Count


class FromAmplitude(Model):
    """Back-projection whose phase is replaced by the published function of its own amplitude.

    It retrieves no phase: a network that does not score better in phase may have copied it.
    """

    name: Literal["from_amplitude"]
    steps: Count


StepKind = Literal["simultaneous", "conjugate"]


class GroupSteps(Model):
    """`steps` known-probe steps of every group of patterns on its own, untrained.

    `kind`: all of length one, or with lengths that follow from the data (`study.optics.descent`).
    `alpha`: part of the largest illumination that regularises an update. `smoothing_px`: of the
    updates, 0 for none (`study.optics.groups`). `synchronise`: make the global phases of the groups
    agree before they are stitched.
    """

    name: Literal["group_steps"]
    steps: Count
    kind: StepKind
    alpha: Annotated[float, Field(gt=0, le=1)]
    smoothing_px: LengthOrZero
    synchronise: StrictBool


class CramerRao(Model):
    """The least error that the dose allows an unbiased method, from so many patterns.

    The patterns nearest to the middle of the test scan: 1, those of a group, or a window that holds
    all that see the spot of one pattern, which stands for the whole scan (`study.iterative.limit`).
    """

    name: Literal["cramer_rao"]
    patterns: Annotated[int, Field(ge=1, le=100)]


RpieUpdate = Literal["sequential", "batches", "synchronous"]


class Rpie(Model):
    """Iterative reconstruction (Maiden, Johnson, Li 2017)."""

    name: Literal["rpie"]
    passes: Count
    alpha: Annotated[float, Field(gt=0, le=1)]
    update_probe: bool
    seed: Seed


class RpieSetting(Model):
    """One setting of rPIE that `rpie_converged` tries.

    `update`: the object moves after every pattern, after batches of 16, or once a pass from the
    average over all patterns.
    """

    alpha: Annotated[float, Field(gt=0, le=1)]
    update: RpieUpdate


class RpieConverged(Model):
    """rPIE until it stops changing, with the best of some settings.

    A run stops when R has changed by less than `change` of itself over the last `over` passes, at
    the latest after `passes`. The setting is chosen by R on patterns that are left out: see
    `study.iterative.whole_sources.converged`.
    """

    name: Literal["rpie_converged"]
    passes: Count
    change: Annotated[float, Field(gt=0, lt=1)]
    over: Count
    settings: Annotated[Mapping[str, RpieSetting], Field(min_length=1, max_length=9)]
    update_probe: bool
    seed: Seed

    @field_validator("settings")
    @classmethod
    def _named(cls, given: Mapping[str, RpieSetting]) -> Mapping[str, RpieSetting]:
        wrong = [name for name in given if not NAME.fullmatch(name)]
        if wrong:
            raise ValueError(
                f"{quoted(wrong[0])} is not a name; accepted: up to 64 lower-case letters, digits "
                "and underscores, starting with a letter"
            )
        return given


Source = Annotated[
    Flat | Oracle | BackProjection | FromAmplitude | GroupSteps | CramerRao | Rpie | RpieConverged,
    Field(discriminator="name"),
]


class Reference(RowFields):
    """A baseline: a row of the table that is not a network.

    `seeds` are not set by hand: one run per seed of a data set that draws objects per seed
    (`Study` fills them in), else one run, called 0. Nothing else in it is drawn but the order of
    rPIE, whose seed is a field of its source.
    """

    source: Source
    seeds: Annotated[Seeds, Field(exclude=True)] = (0,)
