"""Every setting of the study, as frozen models: one object from YAML to the last function.

Design choices
- No field has a default: with its merge key (`<<: *control`) resolved, an arm in params.yaml is a
  full list, so no setting is decided anywhere else.
  Only whole sections may be absent: `studies`, which groups arms and changes none, those of
  investigations (`Section`), and an arm's `survival`, which ordinary runs do not have.
- Unknown keys are refused by name, with the nearest known one.
- A section with a name (`optimizer: {name: adam, lr: ...}`) has the fields of that name only: no
  knob can be set that nothing reads.
- The options of a network live beside the network (`study.generators`), not here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from study import investigations
from study.reading import UserError as UserError
from study.reading import joined, quoted, seeds_text
from study.reading import read_yaml as read_yaml

SPLITS = ("train", "validation", "test")
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Model(BaseModel):
    """Frozen, strict about keys, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None
Positive = Annotated[float, Field(gt=0)]
# Upper bounds, far above any use: they refuse a slip of the keyboard before it takes all memory.
MOST = 1_000_000  # epochs, passes, patterns per batch, lines: counts that a loop or an array takes
LARGEST_PX = 32_768  # a complex64 canvas of this side has 8.6 GB
WIDEST = 16_384  # channels; one 3x3 convolution between two such layers has 9.7 GB of weights
MOST_SEEDS = 1000
BRIGHTEST = 1e12  # photons per pattern
Count = Annotated[int, Field(ge=1, le=MOST)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_PX)]
Channels = Annotated[int, Field(ge=1, le=WIDEST)]
Length = Annotated[float, Field(gt=0, le=LARGEST_PX)]  # in px
LengthOrZero = Annotated[float, Field(ge=0, le=LARGEST_PX)]
Photons = Annotated[float, Field(gt=0, le=BRIGHTEST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS)]


def _check_once(seeds: Sequence[int]) -> None:
    """Raise ValueError for seeds that repeat."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {quoted(list(seeds))} repeat; list every seed once")


# --- the data set -----------------------------------------------------------------------------


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
    defocus_rad: float
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
    raster of single patterns and `average` elsewhere. Both are absent from older manifests.
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

    @model_serializer(mode="wrap")
    def _without_absent(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Older sets keep their manifests and hashes: what they do not have is not written."""
        later = ("seeds", "stitching")
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
        _check_once(self.seeds or ())
        seeds = self.object_seeds
        if len({seeds.train, seeds.validation, seeds.test}) < 3:
            raise ValueError(
                f"object_seeds are {seeds.train}, {seeds.validation}, {seeds.test}: train, "
                "validation and test must be three different scans; choose three different seeds"
            )
        return self


# --- the arm ----------------------------------------------------------------------------------


class GeneratorParams(Model):
    """A network by name; its options are checked by `study.generators.parse`."""

    name: str
    options: Mapping[str, Scalar]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "options" not in given:
            rest = {key: value for key, value in given.items() if key != "name"}
            return {
                **({"name": given["name"]} if "name" in given else {}),
                "options": rest,
            }
        return given

    def flat(self) -> dict[str, Scalar]:
        return {"name": self.name, **self.options}


class MaeLoss(Model):
    """`overlap_weight`: of the same error for the object that the batch stitches."""

    name: Literal["mae"]
    overlap_weight: Annotated[float, Field(ge=0)]


class PoissonLoss(Model):
    name: Literal["poisson"]
    overlap_weight: Annotated[float, Field(ge=0)]


class SupervisedLoss(Model):
    """Mean absolute error to the true patches (simulated data only)."""

    name: Literal["supervised"]


LossParams = MaeLoss | PoissonLoss | SupervisedLoss
Loss = Annotated[LossParams, Field(discriminator="name")]


class Adam(Model):
    name: Literal["adam"]
    lr: Positive


class AdamW(Model):
    name: Literal["adamw"]
    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)]


class Sgd(Model):
    name: Literal["sgd"]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]


Optimizer = Annotated[Adam | AdamW | Sgd, Field(discriminator="name")]


class Constant(Model):
    name: Literal["constant"]


class WarmupCosine(Model):
    """Linear from 0.1 lr over `warmup_epochs`, then cosine to lr * `final_ratio`."""

    name: Literal["warmup_cosine"]
    warmup_epochs: CountOrZero
    final_ratio: Annotated[float, Field(ge=0, le=1)]


class Exponential(Model):
    """lr * gamma**epoch."""

    name: Literal["exponential"]
    gamma: Annotated[float, Field(gt=0, le=1)]


class Plateau(Model):
    """lr times `factor` after more than `patience` epochs without a better validation loss."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: CountOrZero


Schedule = Annotated[Constant | WarmupCosine | Exponential | Plateau, Field(discriminator="name")]


Precision = Literal["fp32", "tf32", "bf16"]
BatchOrder = Literal["shuffled", "neighbours"]


# Clip rules and the limit at which the published study used each: the default for a new arm. The
# functions are in `study.training.clipping`; the table is here because the app imports no torch.
CLIP_LIMITS: Mapping[str, float | None] = {
    "none": None,
    "norm": 1.0,
    "value": 1.0,
    "agc": 0.01,
    "agc_tensor": 0.01,
}


class Clip(Model):
    """A gradient clip rule by name (`CLIP_LIMITS`) and its limit."""

    gradient_clip_algorithm: str
    gradient_clip_val: Positive | None
    exclude_head: bool

    @model_validator(mode="after")
    def _limit_belongs(self) -> Clip:
        none = self.gradient_clip_algorithm == "none"
        if none and (self.gradient_clip_val is not None or self.exclude_head):
            raise ValueError(
                "gradient_clip_algorithm none takes gradient_clip_val: null and exclude_head: "
                f"false; got {self.gradient_clip_val} and {self.exclude_head}"
            )
        if not none and self.gradient_clip_val is None:
            raise ValueError(
                f"gradient_clip_algorithm {self.gradient_clip_algorithm} needs a "
                "gradient_clip_val; got null"
            )
        return self


class Legacy(Model):
    """Defects of the earlier study's code, as switches: what did each of them do?

    `batch_coupled_probe`: the probe was summed over the batch, so that A_pred grew with the number
    of patterns in it: in training, A_pred is multiplied by (patterns in the batch) / batch_size.
    Its other defects are ordinary settings: mode_set corner, clip agc_tensor, data without phase.
    """

    batch_coupled_probe: StrictBool


class Survival(Model):
    """When a run counts as dead, so that the time to this event is the outcome of the arm.

    Skill is that of the validation loss after each epoch. Dead is a run whose skill was above
    `learned_skill` once and then stays below `lost_skill` in `lost_validations` successive
    validations, one that is never above `lost_skill` in its first `deadline_epochs` epochs, and one
    whose loss is not finite. It stops there. A run that reaches `epochs` alive is censored.
    `traced_seed`: the run that keeps its last checkpoints for `study trace replay`; may be absent,
    changes nothing in the training and is not a part of the settings that act.
    """

    learned_skill: Annotated[float, Field(gt=0, lt=1)]
    lost_skill: Annotated[float, Field(gt=0, lt=1)]
    lost_validations: Count
    deadline_epochs: Count
    traced_seed: Seed | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Survival:
        if self.lost_skill >= self.learned_skill:
            raise ValueError(
                f"lost_skill {self.lost_skill:g} must be below learned_skill "
                f"{self.learned_skill:g}, otherwise a run could be dead and learned at once"
            )
        return self


class _Row(Model):
    """Fields of trained arms and reference rows."""

    asks: Annotated[str, Field(min_length=1)]
    versus: str | None
    changes: tuple[str, ...]
    data: str

    @field_validator("data")
    @classmethod
    def _data_in_checkout(cls, value: str) -> str:
        room, _, name = value.partition("/")
        if room not in ("data", "imported") or not NAME.fullmatch(name):
            raise ValueError(
                f"data is {quoted(value)}; accepted: data/NAME or imported/NAME, NAME of "
                "lower-case letters, digits and underscores"
            )
        return value


class Arm(_Row):
    """One fully spelled training setting. `order_seed: null` means the run's own seed.

    `batch_order`: patterns of a batch anywhere on the scan, or next to one another, so that their
    windows overlap.
    `precision` is that of the network's products; physics, loss and weights are float32 always.
    """

    seeds: Seeds
    order_seed: Seed | None
    generator: GeneratorParams
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    clip: Clip
    epochs: Count
    batch_size: Count
    batch_order: BatchOrder
    precision: Precision
    legacy: Legacy
    survival: Survival | None = None

    @model_validator(mode="after")
    def _horizon_shows_the_event(self) -> Arm:
        if self.survival is None:
            return self
        needed = max(self.survival.deadline_epochs, 1 + self.survival.lost_validations)
        if self.epochs < needed:
            raise ValueError(
                f"epochs is {self.epochs}, but the event rule of survival can be seen from epoch "
                f"{needed} on (deadline_epochs {self.survival.deadline_epochs}, lost_validations "
                f"{self.survival.lost_validations} after one epoch that learned); train longer"
            )
        traced = self.survival.traced_seed
        if traced is not None and traced not in self.seeds:
            raise ValueError(
                f"survival.traced_seed is {traced}, which is not one of the seeds "
                f"{list(self.seeds)}; choose one of them or null"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Arm:
        _check_once(self.seeds)
        warmup = getattr(self.schedule, "warmup_epochs", 0)
        if warmup >= self.epochs and warmup > 0:
            raise ValueError(
                f"warmup_epochs {warmup} is not below epochs {self.epochs}; choose fewer"
            )
        return self


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
    `study.iterative.sources.converged`.
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


class Reference(_Row):
    """A baseline: a row of the table that is not a network.

    `seeds` are not set by hand: one run per seed of a data set that draws objects per seed
    (`Study` fills them in), else one run, called 0. Nothing else in it is drawn but the order of
    rPIE, whose seed is a field of its source.
    """

    source: Source
    seeds: Annotated[Seeds, Field(exclude=True)] = (0,)


Row = Arm | Reference


class Question(Model):
    """A study within a pipeline: what it asks, and the arms that answer it."""

    asks: Annotated[str, Field(min_length=1)]
    arms: Annotated[tuple[str, ...], Field(min_length=1)]


class Section(Model):
    """A section of params.yaml that an investigation reads (its part `settings`).

    `key`: its name in the file; `arms`: its keys, at any depth, whose values are names of arms.
    """

    key: ClassVar[str]
    arms: ClassVar[tuple[str, ...]]

    def check(self, study: Study) -> None:
        """Raise ValueError unless the section fits the data sets and arms of `study`."""


SomeSection = TypeVar("SomeSection", bound=Section)


class Study(Model):
    """The whole of params.yaml."""

    data: Mapping[str, DataParams]
    arms: Mapping[str, Row]
    studies: Mapping[str, Question] = {}
    _sections: dict[str, Section] = PrivateAttr(default_factory=dict)

    @property
    def sections(self) -> Mapping[str, Section]:
        """Sections of investigations, by key."""
        return self._sections

    def section(self, kind: type[SomeSection]) -> SomeSection:
        """The section that `kind` reads. Raises UserError where the file has none."""
        found = self._sections.get(kind.key)
        if not isinstance(found, kind):
            raise UserError(f"params.yaml has no key `{kind.key}`")
        return found

    @model_validator(mode="wrap")
    @classmethod
    def _with_sections(cls, given: Any, read: ModelWrapValidatorHandler[Study]) -> Study:
        """Every section is read by its own model, and checked against the rest of the file."""
        if not isinstance(given, Mapping):
            return read(given)
        kinds = _section_kinds()
        study = read({key: value for key, value in given.items() if key not in kinds})
        for key, kind in kinds.items():
            if key in given:
                study._sections[key] = _section(kind, given[key])
                study._sections[key].check(study)
        return study

    @model_validator(mode="before")
    @classmethod
    def _rows_by_kind(cls, given: Any) -> Any:
        """Choose the model of each row here: a union would report the errors of both."""
        if not isinstance(given, Mapping) or not isinstance(given.get("arms"), Mapping):
            return given
        arms = {str(name): _row(str(name), row) for name, row in given["arms"].items()}
        return {**given, "arms": arms}

    @model_validator(mode="after")
    def _names_and_references(self) -> Study:
        for name in (*self.arms, *self.data, *self.studies):
            check_name(name)
        for name, question in self.studies.items():
            unknown = [arm for arm in question.arms if arm not in self.arms]
            if unknown:
                raise ValueError(
                    f"studies.{name}.arms names {quoted(unknown[0])}, which is not an arm"
                    f"{nearest(unknown[0], self.arms)}"
                )
        for name, row in self.arms.items():
            if row.versus is not None and row.versus not in self.arms:
                raise ValueError(
                    f"arms.{name}.versus is {quoted(row.versus)}, which is not an arm"
                    f"{nearest(row.versus, self.arms)}"
                )
            room, _, stem = row.data.partition("/")
            if room == "data" and stem not in self.data:
                raise ValueError(
                    f"arms.{name}.data is {row.data!r} but `data:` has no {stem!r}"
                    f"{nearest(stem, self.data)}"
                )
        return self

    @model_validator(mode="after")
    def _seeds_fit(self) -> Study:
        """Every run has objects of its own seed where the data set draws them per seed."""
        rows = {}
        for name, row in self.arms.items():
            data = self.data.get(row.data.removeprefix("data/"))
            held = data.seeds if data is not None else None
            if held is None:
                rows[name] = row
            elif isinstance(row, Reference):
                rows[name] = row.model_copy(update={"seeds": held})
            else:
                check_held(f"arms.{name}.seeds", row.seeds, row.data, held)
                rows[name] = row
        return self.model_copy(update={"arms": rows})


def _section_kinds() -> dict[str, type[Section]]:
    return {part.SECTION.key: part.SECTION for part in investigations.parts("settings")}


def check_held(where: str, seeds: Sequence[int], data: str, held: Sequence[int]) -> None:
    """Raise ValueError for seeds without objects in the data set."""
    absent = [seed for seed in seeds if seed not in held]
    if absent:
        raise ValueError(
            f"{where} has {seeds_text(absent)}, but {data} draws objects for seeds "
            f"{seeds_text(held)} only; add the others to the seeds of the data set, or remove them"
        )


def _section(kind: type[Section], given: Any) -> Section:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, given, kind.key, kind)) from None


def _row(name: str, given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    model = Reference if "source" in given else Arm
    if model is Reference and "seeds" in given:
        raise UserError(
            f"arms.{name}.seeds: a baseline accepts no seeds; it runs once per seed of its data set"
        )
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, given, f"arms.{name}", model)) from None


# --- names and errors -------------------------------------------------------------------------


def mentions(section: Any, keys: Collection[str], value: str) -> Iterator[tuple[Any, Any]]:
    """(mapping, key) of every `key` of `keys` in a section, at any depth, that has this value."""
    items = section.items() if isinstance(section, Mapping) else enumerate(section)
    for key, item in items:
        if key in keys and item == value:
            yield section, key
        elif isinstance(item, (Mapping, list, tuple)):
            yield from mentions(item, keys, value)


def check_name(name: str) -> str:
    """A name that is safe as a file name: lower-case letters, digits, underscores.

    Raises UserError for anything else, path parts above all.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"{quoted(name)} is not a name; accepted: up to 64 lower-case letters, digits and "
            "underscores, starting with a letter"
        )
    return name


def nearest(name: str, known: Any) -> str:
    """`; did you mean 'x'?` or the list of what is known, for the end of a sentence."""
    options = [str(option) for option in known]
    match = difflib.get_close_matches(name, options, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(sorted(options))}"


def explain(error: ValidationError, given: Any, where: str, root: type[Model]) -> str:
    """pydantic's findings as one sentence each: key, what was got, what is accepted.

    `given` was read as a `root`; `where`: its key in the file, "" for the whole.
    """
    return joined([_sentence(item, root, given, where) for item in error.errors()])


def _sentence(item: Any, root: type[Model], given: Any, where: str) -> str:
    keys, model = _follow(root, given, item["loc"])
    path = ".".join([where, *keys] if where else keys) or "params"
    if item["type"] == "extra_forbidden":
        known = [*model.model_fields, *(_section_kinds() if model is Study else ())]
        return f"unknown key {path}{nearest(keys[-1], known)}"
    if item["type"] == "missing":
        return f"{path} is missing; every field has to be given (see `study arms show control`)"
    if item["type"] == "value_error":
        return f"{path}: {item['ctx']['error']}" if keys or where else str(item["ctx"]["error"])
    if item["type"] == "union_tag_invalid":
        tag, known = item["ctx"]["tag"], item["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{path}: unknown {path.rsplit('.', 1)[-1]} {quoted(tag)}{nearest(tag, known)}"
    return f"{path}: {item['msg']}; got {quoted(item.get('input'))}"


def _follow(root: type[Model], given: Any, location: Any) -> tuple[list[str], type[Model]]:
    """The keys of the file along pydantic's `location`, and the model that holds the last one.

    pydantic adds the tag of a discriminated union and the member of a plain one to its path; they
    are not keys of the file.
    """
    keys: list[str] = []
    model, holder = root, root
    annotation: Any = None
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, Model):
            model = annotation
        chosen = [option for option in _models_in(annotation) if _tag(option) == part]
        if chosen:
            model = annotation = chosen[0]
            continue
        if not isinstance(given, Mapping) and not isinstance(part, int):
            break
        keys.append(str(part))
        holder = model
        annotation = _annotation(model, annotation, part)
        given = _entry(given, part)
    return keys, holder


def _entry(given: Any, part: Any) -> Any:
    if isinstance(given, Mapping):
        return given.get(part)
    return given[part] if isinstance(given, (list, tuple)) and isinstance(part, int) else None


def _annotation(model: type[Model], annotation: Any, part: Any) -> Any:
    origin_of_values = getattr(annotation, "__args__", ())
    if len(origin_of_values) == 2 and origin_of_values[0] is str:
        return origin_of_values[1]  # Mapping[str, X]: a name was followed
    if isinstance(part, int):
        return origin_of_values[0] if origin_of_values else Any  # tuple[X, ...]
    field = model.model_fields.get(str(part))
    options = _models_in(field.annotation) if field else []
    if field and len(options) == 1 and None.__class__ in get_args(field.annotation):
        return options[0]  # X | None: something was given
    return field.annotation if field else Any


def _models_in(annotation: Any) -> list[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _tag(model: type[Model]) -> str | None:
    for key in ("name", "kind"):
        field = model.model_fields.get(key)
        if field is not None and getattr(field.annotation, "__args__", None):
            return field.annotation.__args__[0]  # type: ignore[union-attr]
    return None


# --- reading ----------------------------------------------------------------------------------


def load_study(path: Path = Path("params.yaml")) -> Study:
    """The settings of one pipeline folder. Raises UserError with every problem named."""
    return parse_study(read_yaml(path), str(path))


def parse_study(given: Any, where: str) -> Study:
    try:
        return Study.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, given, '', Study)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def find_row(study: Study, name: str) -> Row:
    """The arm or reference called `name`. Raises UserError with the nearest known name."""
    if name not in study.arms:
        raise UserError(f"no arm {quoted(name)}{nearest(name, study.arms)}")
    return study.arms[name]


# --- what differs, and under which hash -------------------------------------------------------

PROSE = ("asks", "versus", "changes", "seeds")
# Sections that came later: absent from the settings, and so from the hashes, of arms without them.
OPTIONAL = ("survival",)
# Files of a run beside its results.
IDLE = ("survival.traced_seed",)
# When the rule itself changes, its limit has another unit: one factor, not two.
TIED = {"clip.gradient_clip_algorithm": ("clip.gradient_clip_val", "clip.exclude_head")}


def leaves(row: Row) -> dict[str, Scalar]:
    """Every setting that acts, as dotted name -> value; prose and the list of seeds left out."""
    flat: dict[str, Scalar] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, GeneratorParams):
            value = value.flat()
        if isinstance(value, Model):
            value = {key: getattr(value, key) for key in type(value).model_fields}
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        elif prefix not in IDLE:
            flat[prefix] = value

    acting = {k: getattr(row, k) for k in type(row).model_fields if k not in PROSE}
    walk("", {k: v for k, v in acting.items() if v is not None or k not in OPTIONAL})
    return flat


def diff(a: Row, b: Row) -> dict[str, tuple[Scalar, Scalar]]:
    """The factors in which two rows differ: dotted name -> (value in a, value in b).

    A field that only one of them has belongs to the change of name that brings it, and the limit of
    a clip rule belongs to the rule: each is one factor.
    """
    left, right = leaves(a), leaves(b)
    changed = {k: (left[k], right[k]) for k in left if k in right and left[k] != right[k]}
    for rule, tied in TIED.items():
        if rule in changed:
            changed = {key: pair for key, pair in changed.items() if key not in tied}
    return changed


def run_hash(row: Row, seed: int, data_hash: str, fingerprint: str) -> str:
    """Name of a run's live folder: what is trained, on which data, by which behaviour.

    Editing prose or adding a seed does not change the hashes of other runs.
    """
    content = json.dumps([leaves(row), seed, data_hash, fingerprint], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
