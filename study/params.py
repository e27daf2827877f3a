"""Every setting of the study, as frozen models: one object from YAML to the last function.

Design choices
- No field has a default: an arm in params.yaml is a full list, so nothing hides between layers.
  Only whole sections may be absent: `studies`, which groups arms and changes none, and `regimes`.
- Unknown keys are refused by name, with the nearest known one.
- A section with a name (`optimizer: {name: adam, lr: ...}`) has the fields of that name alone: no
  knob can be set that nothing reads.
- The options of a network live beside the network (`study.generators`), not here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

SPLITS = ("train", "validation", "test")
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class UserError(Exception):
    """A mistake that the user can mend: the sentence says what, what was got and what to do."""


class Model(BaseModel):
    """Frozen, strict about keys, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


# --- the data set -----------------------------------------------------------------------------


class SplitSeeds(Model):
    train: Seed
    validation: Seed
    test: Seed


class SplitStrides(Model):
    """Scan step in px, per split."""

    train: Count
    validation: Count
    test: Count


class IdealDisk(Model):
    """Thresholded Gaussian window, real (physics: probe b)."""

    kind: Literal["ideal_disk"]
    smooth_sigma_px: Annotated[float, Field(ge=0)]


class Focus(Model):
    """Simulated focusing optic: circular aperture in the pupil plane, defocused."""

    kind: Literal["focus"]
    aperture_px: Positive
    central_stop_px: Annotated[float, Field(ge=0)]
    defocus_rad: float
    smooth_sigma_px: Annotated[float, Field(ge=0)]


class ProbeFile(Model):
    """A measured or computed probe, key `probe` of an npz file."""

    kind: Literal["file"]
    path: str
    fit: Literal["pad", "resample"]
    smooth_sigma_px: Annotated[float, Field(ge=0)]


Probe = Annotated[IdealDisk | Focus | ProbeFile, Field(discriminator="kind")]


class Raster(Model):
    kind: Literal["raster"]
    stride_px: SplitStrides


class Jittered(Model):
    """A raster whose positions move by up to `jitter_px` in y and x, uniformly."""

    kind: Literal["jittered"]
    stride_px: SplitStrides
    jitter_px: Positive
    seed: Seed


Scan = Annotated[Raster | Jittered, Field(discriminator="kind")]


class DataParams(Model):
    """One simulated data set. Lengths in object pixels, dose in photons per pattern.

    `assumed_probe`: what every method is told instead of the true `probe`; null: the true one.
    """

    n: Annotated[int, Field(ge=4)]
    object_px: Count
    canvas_px: Count
    lines: Annotated[int, Field(ge=0)]
    phase: bool
    images_per_split: Count
    group_size: Literal[1, 4]
    photons_per_pattern: Positive
    object_seeds: SplitSeeds
    noise_seed: Seed
    probe: Probe
    assumed_probe: Probe | None
    scan: Scan

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
        seeds = self.object_seeds
        if len({seeds.train, seeds.validation, seeds.test}) < 3:
            raise ValueError(
                f"object_seeds are {seeds.train}, {seeds.validation}, {seeds.test}: train, "
                "validation and test must be three different scans; choose three different seeds"
            )
        return self


# --- the regimes: when is a network worth it ----------------------------------------------------


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


class RegimeCell(Model):
    """One dose (photons per pattern) and one knowledge of the probe: its data set and networks."""

    dose: Positive
    probe: Literal["known", "perturbed"]
    data: str
    control: str
    better: str


class Regimes(Model):
    """Scan steps at test time x cells; `seed`: the run of each arm, and rPIE's order.

    `rpie_damped`: a second setting of rPIE, for noisy patterns, or null.
    """

    seed: Seed
    steps_px: Annotated[tuple[Count, ...], Field(min_length=1)]
    rpie: RegimeRpie
    rpie_damped: RegimeRpie | None
    network_rpie_passes: Count
    good: Good
    cells: Annotated[tuple[RegimeCell, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _once_each(self) -> Regimes:
        if len(set(self.steps_px)) < len(self.steps_px):
            raise ValueError(f"steps_px {list(self.steps_px)} repeat; every step stands once")
        pairs = [(cell.dose, cell.probe) for cell in self.cells]
        twice = next((pair for i, pair in enumerate(pairs) if pair in pairs[:i]), None)
        if twice is not None:
            raise ValueError(
                f"two cells have dose {twice[0]:g} and probe {twice[1]}; keep one of them"
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
    warmup_epochs: Annotated[int, Field(ge=0)]
    final_ratio: Annotated[float, Field(ge=0, le=1)]


class Exponential(Model):
    """lr * gamma**epoch."""

    name: Literal["exponential"]
    gamma: Annotated[float, Field(gt=0, le=1)]


class Plateau(Model):
    """lr times `factor` after more than `patience` epochs without a better validation loss."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: Annotated[int, Field(ge=0)]


Schedule = Annotated[Constant | WarmupCosine | Exponential | Plateau, Field(discriminator="name")]


Precision = Literal["fp32", "tf32", "bf16"]
BatchOrder = Literal["shuffled", "neighbours"]


class Clip(Model):
    """Gradient clip rule by name (`study.training.clipping.CLIP_RULES`) and its limit."""

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


class _Row(Model):
    """What a trained arm and a reference row share."""

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
                f"data is {value!r}; accepted: data/NAME or imported/NAME, NAME of lower-case "
                "letters, digits and underscores"
            )
        return value


class Arm(_Row):
    """One fully spelled training setting. `order_seed: null` means the run's own seed.

    `batch_order`: patterns of a batch anywhere on the scan, or next to one another, so that their
    windows overlap.
    `precision` is that of the network's products; physics, loss and weights are float32 always.
    """

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
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

    @model_validator(mode="after")
    def _consistent(self) -> Arm:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat; every seed stands once")
        warmup = getattr(self.schedule, "warmup_epochs", 0)
        if warmup >= self.epochs and warmup > 0:
            raise ValueError(
                f"warmup_epochs {warmup} leaves nothing of {self.epochs} epochs; choose fewer"
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


class Rpie(Model):
    """Iterative reconstruction (Maiden, Johnson, Li 2017)."""

    name: Literal["rpie"]
    passes: Count
    alpha: Annotated[float, Field(gt=0, le=1)]
    update_probe: bool
    seed: Seed


Source = Annotated[Flat | Oracle | BackProjection | Rpie, Field(discriminator="name")]


class Reference(_Row):
    """A row of the table that is no network."""

    source: Source

    @property
    def seeds(self) -> tuple[int, ...]:
        """One run: nothing in it is drawn but the order of rPIE, whose seed is a field."""
        return (0,)


Row = Arm | Reference


class Question(Model):
    """A study within a pipeline: what it asks, and the arms that answer it."""

    asks: Annotated[str, Field(min_length=1)]
    arms: Annotated[tuple[str, ...], Field(min_length=1)]


class Study(Model):
    """The whole of params.yaml."""

    data: Mapping[str, DataParams]
    arms: Mapping[str, Row]
    studies: Mapping[str, Question] = {}
    regimes: Regimes | None = None

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
                    f"studies.{name}.arms names {unknown[0]!r}, which is no arm"
                    f"{nearest(unknown[0], self.arms)}"
                )
        for name, row in self.arms.items():
            if row.versus is not None and row.versus not in self.arms:
                raise ValueError(
                    f"arms.{name}.versus is {row.versus!r}, which is no arm"
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
    def _regimes_fit(self) -> Study:
        for i, cell in enumerate(self.regimes.cells if self.regimes else ()):
            _check_cell(self, f"regimes.cells.{i}", cell)
        return self


def _check_cell(study: Study, where: str, cell: RegimeCell) -> None:
    """Raise ValueError unless the cell's data set and its networks belong together."""
    room, _, stem = cell.data.partition("/")
    if room != "data" or stem not in study.data:
        known = (f"data/{name}" for name in study.data)
        raise ValueError(f"{where}.data is {cell.data!r}, no data set{nearest(cell.data, known)}")
    data = study.data[stem]
    if data.photons_per_pattern != cell.dose:
        raise ValueError(
            f"{where}.dose is {cell.dose:g} but {cell.data} has {data.photons_per_pattern:g} "
            "photons_per_pattern; they must be equal"
        )
    for role in ("control", "better"):
        name = getattr(cell, role)
        row = study.arms.get(name)
        if not isinstance(row, Arm):
            trained = [arm for arm, other in study.arms.items() if isinstance(other, Arm)]
            raise ValueError(
                f"{where}.{role} is {name!r}, which is no trained arm{nearest(name, trained)}"
            )
        if row.data != cell.data:
            raise ValueError(
                f"{where}.{role} is {name!r}, an arm on {row.data}, but the cell has {cell.data}; "
                "a network is judged on the light that it was trained for"
            )
    assert study.regimes is not None, "a cell belongs to the regimes"
    widest, free = max(study.regimes.steps_px), data.object_px - data.n
    if widest > free:
        raise ValueError(
            f"regimes.steps_px has {widest} but {cell.data} leaves {free} px for steps; choose "
            "smaller ones"
        )


def _row(name: str, given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    model = Reference if "source" in given else Arm
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, given, f"arms.{name}")) from None


# --- names and errors -------------------------------------------------------------------------


def check_name(name: str) -> str:
    """A name that is safe as a file name: lower-case letters, digits, underscores.

    Raises UserError for anything else, path parts above all.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a name; accepted: up to 64 lower-case letters, digits and "
            "underscores, starting with a letter"
        )
    return name


def nearest(name: str, known: Any) -> str:
    """`; did you mean 'x'?` or the list of what is known, for the end of a sentence."""
    options = [str(option) for option in known]
    match = difflib.get_close_matches(name, options, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(sorted(options))}"


def explain(error: ValidationError, given: Any, where: str = "") -> str:
    """pydantic's findings as one sentence each: key, what was got, what is accepted."""
    root = Study if not where else Reference if "source" in given else Arm
    sentences = [_sentence(item, root, given, where) for item in error.errors()]
    return "; ".join(dict.fromkeys(sentences))


def _sentence(item: Any, root: type[Model], given: Any, where: str) -> str:
    keys, model = _follow(root, given, item["loc"])
    path = ".".join([where, *keys] if where else keys) or "params"
    if item["type"] == "extra_forbidden":
        return f"unknown key {path}{nearest(keys[-1], model.model_fields)}"
    if item["type"] == "missing":
        return f"{path} is missing; every field is spelled out (see `study arms show control`)"
    if item["type"] == "value_error":
        return f"{path}: {item['ctx']['error']}" if keys or where else str(item["ctx"]["error"])
    if item["type"] == "union_tag_invalid":
        tag, known = item["ctx"]["tag"], item["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{path}: unknown {path.rsplit('.', 1)[-1]} {tag!r}{nearest(tag, known)}"
    return f"{path}: {item['msg']}; got {item.get('input')!r}"


def _follow(root: type[Model], given: Any, location: Any) -> tuple[list[str], type[Model]]:
    """The keys of the file along pydantic's `location`, and the model that holds the last one.

    pydantic adds the tag of a discriminated union and the member of a plain one to its path; they
    are no keys of the file.
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


def read_yaml(path: Path) -> Any:
    """A YAML file as plain data. Raises UserError when it is absent or no YAML."""
    from ruamel.yaml import YAML, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run inside a checkout of Armature") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None


def load_study(path: Path = Path("params.yaml")) -> Study:
    """The settings of one pipeline folder. Raises UserError with every problem named."""
    return parse_study(read_yaml(path), str(path))


def parse_study(given: Any, where: str) -> Study:
    try:
        return Study.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, given)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def find_row(study: Study, name: str) -> Row:
    """The arm or reference called `name`. Raises UserError with the nearest known name."""
    if name not in study.arms:
        raise UserError(f"no arm {name!r}{nearest(name, study.arms)}")
    return study.arms[name]


# --- what differs, and under which hash -------------------------------------------------------

PROSE = ("asks", "versus", "changes", "seeds")
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
        else:
            flat[prefix] = value

    walk("", {k: getattr(row, k) for k in type(row).model_fields if k not in PROSE})
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

    Editing prose or adding a seed leaves the hashes of the other runs as they are.
    """
    content = json.dumps([leaves(row), seed, data_hash, fingerprint], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
