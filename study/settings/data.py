"""Settings of a simulated data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_serializer, model_validator

from study.reading import UserError, quoted
from study.settings.base import (
    LARGEST_FACTOR,
    LARGEST_PX,
    Count,
    CountOrZero,
    Length,
    LengthOrZero,
    Model,
    Photons,
    Pixels,
    Seed,
    Seeds,
    check_once,
    seeds_text,
)

SPLITS = ("train", "validation", "test")


def _of_every_split(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if absent := [name for name in SPLITS if name not in values]:
        raise ValueError(f"lacks {absent[0]}; accepted: a value for each of {', '.join(SPLITS)}")
    return values


Patterns = Annotated[int, Field(ge=0)]
PatternsPerSplit = Annotated[Mapping[str, Patterns], AfterValidator(_of_every_split)]
NumberPerSplit = Annotated[Mapping[str, float], AfterValidator(_of_every_split)]


class SplitSeeds(Model):
    train: Seed
    validation: Seed
    test: Seed


class SplitStrides(Model):
    """Scan step in px, per split."""

    train: Pixels
    validation: Pixels
    test: Pixels


class IdealDisk(Model):
    """Thresholded Gaussian window, real (physics: probe b)."""

    kind: Literal["ideal_disk"]
    smooth_sigma_px: LengthOrZero


class Focus(Model):
    """Simulated focusing optic: circular aperture in the pupil plane, defocused."""

    kind: Literal["focus"]
    aperture_px: Length
    central_stop_px: LengthOrZero
    defocus_rad: Annotated[float, Field(ge=-LARGEST_FACTOR, le=LARGEST_FACTOR)]
    smooth_sigma_px: LengthOrZero


class ProbeFile(Model):
    """A measured or computed probe, key `probe` of an npz file."""

    kind: Literal["file"]
    path: str
    fit: Literal["pad", "resample"]
    smooth_sigma_px: LengthOrZero


Probe = Annotated[IdealDisk | Focus | ProbeFile, Field(discriminator="kind")]


class Raster(Model):
    kind: Literal["raster"]
    stride_px: SplitStrides


class Jittered(Model):
    """A raster whose positions move by up to `jitter_px` in y and x, uniformly."""

    kind: Literal["jittered"]
    stride_px: SplitStrides
    jitter_px: Length
    seed: Seed


Scan = Annotated[Raster | Jittered, Field(discriminator="kind")]


PHASES: Mapping[str, bool | str] = {
    "independent": "independent",
    "from_amplitude": True,
    "none": False,
}


def _phase(given: Any) -> Any:
    """The stored spelling of a phase; every other value is refused with what is accepted."""
    if isinstance(given, str) and given in PHASES:
        return PHASES[given]
    if given in (True, False):
        return given
    raise ValueError(
        f"unknown phase {quoted(given)}; accepted: {', '.join(PHASES)} (true: from_amplitude, "
        "false: none)"
    )


Phase = Annotated[bool | Literal["independent"], BeforeValidator(_phase)]


Lines = tuple[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]], ...]


class DetectorMask(Model):
    """Detector pixels without a measurement: `rows` and `columns` as ranges [first, end)."""

    rows: Lines
    columns: Lines

    def check(self, n: int) -> None:
        """Raise ValueError for a range outside n px, or when half of the pixels are masked."""
        for first, end in (*self.rows, *self.columns):
            if not first < end <= n:
                raise ValueError(
                    f"mask has the range [{first}, {end}), but patterns have {n} px; accepted: "
                    f"first < end <= {n}"
                )
        rows, columns = (
            len({k for first, end in lines for k in range(first, end)})
            for lines in (self.rows, self.columns)
        )
        if 2 * (n - rows) * (n - columns) < n * n:
            raise ValueError(
                f"mask hides {rows} rows and {columns} columns of {n}; at most half of the pixels "
                "may be masked: make it smaller"
            )


class DataParams(Model):
    """One simulated data set. Lengths in object pixels, dose in photons per pattern.

    `phase` of the objects: `independent` (separate lines, which are independent of the amplitude
    about), `from_amplitude` (a fixed function of the amplitude, as published) or `none`. The last
    two are stored as `true` and `false`, their spelling in existing manifests.
    `assumed_probe`: the probe given to every method instead of `probe`; null: the true one.
    `seeds`: each draws its own objects and noise (`of_seed`), and a run uses those of its seed;
    the probe belongs to the set. Absent: one set of objects, drawn from `object_seeds`, for all.
    `stitching` of every row on the set: `average`, weighted by the illumination; `synchronised`,
    the same after the global phases of all windows agree. Absent: as published, central tiles on a
    raster of single patterns and `average` elsewhere. `mask`: pixels of the detector that measure
    nothing (gaps between modules); absent: none. All three are absent from older manifests.
    """

    n: Annotated[int, Field(ge=4, le=LARGEST_PX)]
    object_px: Pixels
    canvas_px: Pixels
    lines: CountOrZero
    phase: Phase
    images_per_split: Count
    group_size: Literal[1, 4]
    photons_per_pattern: Photons
    object_seeds: SplitSeeds
    noise_seed: Seed
    probe: Probe
    assumed_probe: Probe | None
    scan: Scan
    seeds: Seeds | None = None
    stitching: Literal["average", "synchronised"] | None = None
    mask: DetectorMask | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Older sets keep their manifests and hashes: what they do not have is not written."""
        later = ("seeds", "stitching", "mask")
        return {k: v for k, v in write(self).items() if v is not None or k not in later}

    def of_seed(self, seed: int) -> DataParams:
        """The data of run `seed`: these parameters with `seeds: [seed]`; without `seeds`, these.

        Raises UserError for a seed that is not in the set.
        """
        if self.seeds is None:
            return self
        if seed not in self.seeds:
            raise UserError(
                f"the data set draws the objects of seeds {seeds_text(self.seeds)}, not of "
                f"{seed}; add it to `seeds` of the data set, or choose one of them"
            )
        return self.model_copy(update={"seeds": (seed,)})

    @property
    def run_seed(self) -> int | None:
        """The seed whose objects these are; None where all runs share one set of objects.

        Raises ValueError for several seeds at once: choose one with `of_seed`.
        """
        if self.seeds is None:
            return None
        (seed,) = self.seeds
        return seed

    @model_validator(mode="after")
    def _fits(self) -> DataParams:
        span = self.n + (4 if self.group_size == 4 else 0)
        if span > self.object_px:
            raise ValueError(
                f"n = {self.n} with group_size {self.group_size} needs windows of {span} px but "
                f"object_px is {self.object_px}; enlarge object_px"
            )
        if self.object_px > self.canvas_px:
            raise ValueError(
                f"object_px {self.object_px} is larger than canvas_px {self.canvas_px}; the object "
                "is the centre of the canvas: enlarge canvas_px"
            )
        if self.phase == "independent" and 2 * self.object_px > self.canvas_px:
            # Lines are denser towards the centre of their canvas, of both sets alike: objects as
            # large as the canvas have a correlation of 0.7 between amplitude and phase.
            raise ValueError(
                f"phase independent needs canvas_px of at least twice object_px, so that density "
                f"does not tie the phase to the amplitude; canvas_px is {self.canvas_px} and "
                f"object_px {self.object_px}: enlarge canvas_px to {2 * self.object_px}"
            )
        if self.mask is not None:
            self.mask.check(self.n)
        check_once(self.seeds or ())
        seeds = self.object_seeds
        if len({seeds.train, seeds.validation, seeds.test}) < 3:
            raise ValueError(
                f"object_seeds are {seeds.train}, {seeds.validation}, {seeds.test}: train, "
                "validation and test must be three different scans; choose three different seeds"
            )
        return self
