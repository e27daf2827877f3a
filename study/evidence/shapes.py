"""Schemas of stored JSON files, which are checked when they are read.

Only fields that are used are declared; others are not checked. Checks do not convert anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from study.reading import UserError
from study.settings import Scalar, explain

Number = float | None


class Shape(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


# --- results/<arm>/seeds/s<seed>.json ---------------------------------------------------------


class Gate(Shape):
    evaluable: bool
    reason: str | None
    spread_ratio: Number


class ForeignPhase(Shape):
    """Correlations of a network's phase in the foreign-phase test; None for a constant phase."""

    truth: Number
    from_amplitude: Number


class ForeignPhaseFile(Shape):
    """foreign_phase.json of a run; without entries if the network was not tested."""

    best: ForeignPhase | None = None
    last: ForeignPhase | None = None


class LimitFile(Shape):
    """limit.json of a run: the Cramer-Rao bound in object units and rad."""

    amplitude_mae: float
    phase_mae: float


class Scored(Shape):
    """One reconstruction of a run."""

    checkpoint: Literal["best", "last", "only"]
    epoch: int | None
    val_loss: Number
    skill: Number
    gate: dict[str, Gate] | None
    r_factor: dict[str, Number] | None
    standard: dict[str, dict[str, Number] | None] | None
    published: dict[str, dict[str, Number] | None] | None
    reasons: dict[str, str]
    foreign_phase: ForeignPhase | None = None


class DataOfSeed(Shape):
    """The data set of a run. `sha256`: of the data set that the arm names; `seed_sha256`: of the
    data for this seed, if objects are drawn per seed."""

    path: str
    sha256: str
    kind: str
    seed_sha256: str | None = None


class CodeOfSeed(Shape):
    """The code of a run. The commit is only in results of earlier versions; for later ones it is in
    provenance/."""

    commit: str | None = None
    commit_date: str | None = None
    dirty: bool | None = None
    fingerprint: str | None


class Lived(Shape):
    """Lifetime of a survival run."""

    epochs: int
    event: bool


class SeedFile(Shape):
    outcome: Literal["ok", "failed", "collapsed"]
    label: str
    cause: str | None
    data: DataOfSeed | None
    code: CodeOfSeed | None
    device: str | None = None
    cores: int | None = None
    settings: dict[str, Scalar] | None
    training: dict[str, float | str | None] | None
    best: Scored | None
    last: Scored | None
    survival: Lived | None = None
    evidence: dict[str, str]


# --- findings.json: the comparison with the published study -----------------------------------


class Estimate(Shape):
    """A mean or a difference with its interval."""

    estimate: Number
    low: Number
    high: Number
    level: Number
    n: int
    id: str = ""
    unit: str = ""


class Order(Shape):
    verdict: str
    versus: str
    published: Number
    ours: Estimate | None


class PublishedEntry(Shape):
    arm: str | None
    id: str | None
    order: Order | None
    ours: Estimate | None
    number: str
    row: str
    scale: str
    verdict: str
    weights: str
    what: str
    measured: str
    compared: str
    reason: str
    published: str
    published_values: list[Number]
    reproduce: str | None
    seeds: int | None
    blank: dict[str, str]
    died: list[str]
    differs: dict[str, list[Scalar]]


class Published(Shape):
    entries: list[PublishedEntry]
    counts: dict[str, dict[str, int]]
    always_different: list[str]


class Failures(Estimate):
    failed: int


class Scales(Shape):
    reason: str | None
    scales: bool | None


class Rule(Shape):
    branch: str | None
    candidate: str | None
    candidate_arm: str | None
    crash_rule: str | None
    failures: dict[str, Failures]
    fisher_p: dict[str, Number]
    left_out: dict[str, int]
    limits: list[str]
    scales: Scales | None


class Decision(Shape):
    """`under` is None, and derived entries are missing, while an arm or a seed is missing."""

    agree: bool | None = None
    rule: str | None
    reason: str | None
    arms: dict[str, str]
    difference: dict[str, Estimate | None] = {}
    median_loss: dict[str, Number] = {}
    under: dict[str, Rule] | None


# --- results/traces.json ----------------------------------------------------------------------


class Growth(Shape):
    part: str
    factor: float
    step: int


class Facts(Shape):
    ended: str
    dead_parts: list[str]
    first_bad_step: int | None
    why_bad: str | None
    error_before: Number
    error_there: Number
    grew_first: Growth | None
    grew_most: Growth | None
    tensors: int | None
    zero_tensors: int | None


class Trace(Shape):
    arm: str
    seed: int
    steps: int
    tensors: int
    parts: list[str]
    shown_steps: list[int]
    sentence: str
    facts: Facts
    columns: dict[str, list[Number]]
    by_part: dict[str, dict[str, list[Number]]]


class TracesFile(Shape):
    traces: list[Trace]
    arms: dict[str, str] = {}


# --- results/regimes.json ---------------------------------------------------------------------


class Cell(Shape):
    dose: float
    probe: str
    method: str
    step_px: int
    patterns: int
    evaluable: bool
    reason: str | None = None
    seconds: Number = None
    amplitude_mae: Number
    phase_mae: Number
    amplitude_ssim: Number = None
    phase_ssim: Number = None


class PartRow(Shape):
    """The numbers of one method on one scan."""

    method: str
    evaluable: bool
    seconds: float
    amplitude_mae: Number
    phase_mae: Number


class PartFile(Shape):
    """work/regimes/HASH.json: one scan with all methods."""

    patterns: int
    rows: list[PartRow]


class Fewest(Shape):
    dose: float
    probe: str
    method: str
    patterns: int | None
    step_px: int | None


class Bound(Shape):
    value: float
    unit: str


class RegimesFile(Shape):
    cells: Annotated[list[Cell], Field(min_length=1)]
    fewest_patterns: list[Fewest] = []
    good: dict[str, Bound] = {}
    steps_px: list[int] = []
    missing: list[Any] = []


def checked(content: Any, shape: type[BaseModel], where: Path | str, remedy: str) -> Any:
    """Check and return `content`. Raises UserError with the invalid key, value and remedy."""
    try:
        shape.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, content, '', shape)}; {remedy}") from None
    return content
