"""findings.json as objects: what is known about every arm and every claim.

`study.evidence.findings.build` makes a `Findings` from the evidence, `content` is what is written,
and `parse` checks a file and reads it back; every page, table and report takes its numbers from
here. Nothing is converted on reading: a number that is written as text is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Tag,
    TypeAdapter,
    ValidationError,
)

from study.evidence import words
from study.evidence.format import join_words
from study.evidence.shapes import Decision, Published, Shape, sentences
from study.evidence.statistics import Interval
from study.reading import UserError
from study.runs import plain
from study.settings import Scalar

# 2: margins with units, second objects, needs, groups of recorded arms. History reads on from 1.
# 3: numbers with eight digits, written without what follows from others (study.evidence.packing).
FORMAT = 3


def _finite(value: Any) -> Any:
    """Statistics without a finite value have none; files with NaN are refused when parsed."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


def _as(shape: type[Shape]) -> AfterValidator:
    """Checks a part that stays a plain mapping because others compute and word it."""

    def check(value: Any) -> Any:
        try:
            shape.model_validate(value)
        except ValidationError as error:
            raise ValueError(sentences(error)) from None
        return value

    return AfterValidator(check)


class Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# --- numbers ----------------------------------------------------------------------------------


E = TypeVar("E", bound="Estimate")


class Estimate(Stored):
    """A mean, difference or rate with its two-sided interval at `level`, over `n` values."""

    estimate: float
    low: Number
    high: Number
    level: float
    n: int

    @classmethod
    def of(cls: type[E], interval: Interval, **more: Any) -> E:
        return cls(**asdict(interval), **more)

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class Difference(Estimate):
    """Treatment minus control, paired by seed."""

    id: str


class MeanOfArm(Difference):
    """Mean over the seeds; `values`: s<seed> -> the number of that seed."""

    median: float
    values: Mapping[str, float]


class Effect(Difference):
    unit: str


# --- arms -------------------------------------------------------------------------------------


class SeedsOfArm(Stored):
    """Declared seeds and what became of them."""

    declared: Sequence[int]
    ok: Sequence[int]
    failed: Sequence[int]
    collapsed: Sequence[int]
    missing: Sequence[int]

    @property
    def dead(self) -> tuple[int, ...]:
        """Seeds whose run failed or collapsed."""
        return (*self.failed, *self.collapsed)

    @property
    def ran(self) -> int:
        return len(self.ok) + len(self.dead)

    @property
    def known(self) -> int:
        """Seeds that ran and declared ones that did not."""
        return self.ran + len(self.missing)

    def counts(self) -> str:
        """`ok / failed / collapsed`."""
        return " / ".join(str(len(found)) for found in (self.ok, self.failed, self.collapsed))


class DataOfArm(Stored):
    path: str
    sha256: str
    kind: str | None = None


class ArmFinding(Stored):
    """One arm over its seeds.

    `label`: arm (a trained network), reference, floor or ceiling; None before any run.
    `degenerate`: checkpoint.channel -> s<seed> -> why it has no score. `numbers` and `difference`
    (to `versus`) by path of `study.evidence.metric_catalog`.
    """

    label: str | None
    asks: str | None
    versus: str | None
    seeds: SeedsOfArm
    causes: Mapping[str, str]
    degenerate: Mapping[str, Mapping[str, str]]
    data: Sequence[DataOfArm]
    commits: Sequence[str | None]
    numbers: Mapping[str, MeanOfArm]
    changed: Sequence[str] | None = None
    difference: Mapping[str, Difference] = {}
    reproduce: str

    @property
    def trained(self) -> bool:
        return self.label == "arm"


class ArmGroup(Stored):
    """Recorded arms of one question of a study."""

    study: str
    name: str | None
    asks: str | None
    arms: Sequence[str]


class Fence(Stored):
    """Arms of one data set; None where the seeds of an arm ran on several."""

    sha256: str | None
    paths: Sequence[str]
    arms: Sequence[str]


class Flag(Stored):
    """Two arms that share a result in some seeds; an error where `reason` is None."""

    arms: Sequence[str]
    same_scores: Sequence[int]
    same_histories: Sequence[int]
    reason: str | None
    is_error: bool

    @property
    def words(self) -> str:
        what = [
            f"same {name} for seeds {join_words(seeds)}"
            for name, seeds in (("scores", self.same_scores), ("histories", self.same_histories))
            if seeds
        ]
        verdict = self.reason or "ERROR: nothing explains it; does the setting reach the run?"
        return f"{' and '.join(self.arms)}: {'; '.join(what)}: {verdict}"


class ScaleFlag(Stored):
    """An arm whose amplitude scale is off 1 in some seeds."""

    arm: str
    checkpoint: str
    scales: Mapping[str, float]
    reason: str


# --- claims -----------------------------------------------------------------------------------


class Contrast(Stored):
    treatment: str
    control: str


class Family(Stored):
    """Claims that share a level by Holm's rule; `alpha` is the level of this claim."""

    name: str
    claims: Sequence[str]
    alpha: float


class RatesTest(Stored):
    name: str
    p: Number
    rates: Mapping[str, Estimate]


class MeansTest(Stored):
    name: str
    p: Number
    sign_flip_p: Number
    smallest_sign_flip_p: Number
    probability_of_claimed_order: Number


class RanksTest(Stored):
    """Where runs died: pairs in which the treatment is better, worse and as good, dead runs last.

    `dead`: of each arm the runs that failed or collapsed. `smallest_p`: of all pairs on one side.
    """

    name: str
    p: Number
    wins: int
    losses: int
    ties: int
    smallest_p: Number
    dead: Mapping[str, Estimate]


class LifeOfRun(Stored):
    epochs: int
    died: bool


class LookTaken(Stored):
    rounds: int
    p: float
    allowed: float
    least: float


class SurvivalOfArm(Stored):
    lives: Sequence[LifeOfRun]
    curve: Mapping[str, Sequence[float]]
    died: Estimate | None
    published: Mapping[str, Any] | None


class SurvivalTest(Stored):
    name: str
    p: Number
    looks: Sequence[LookTaken]
    planned_looks: Sequence[int]
    arms: Mapping[str, SurvivalOfArm]


class Needs(Stored):
    """What would decide the claim: `pairs` in all, `more` than there are.

    Minutes are None where an arm was never measured: `minutes` and `minutes_all_cores` for `more`,
    `minutes_new_claim` for all `pairs`, on one core. `cores`: those of the machine of the runs,
    None when it is not known.
    """

    pairs: int | None
    more: int | None
    minutes: Number
    minutes_all_cores: Number
    minutes_new_claim: Number
    cores: int | None
    rule: str
    sentence: str


class GateBeforeRuns(Stored):
    """What the claim could decide, independent of its outcome."""

    claim: str
    level: float
    problems: Sequence[str]
    power: Number
    basis: str
    seeds_for_half: int | None
    seeds_for_usual: int | None
    exempt: str | None


class SideOfSeed(Stored):
    value: Number
    outcome: str
    cause: str | None


class SeedOfClaim(Stored):
    seed: int
    treatment: SideOfSeed
    control: SideOfSeed

    @property
    def difference(self) -> float | None:
        if self.treatment.value is None or self.control.value is None:
            return None
        return self.treatment.value - self.control.value


class GateOfClaim(Stored):
    name: str
    passed: bool
    reason: str | None


class Evidence(Stored):
    """A file behind the numbers: a result in git, or an artifact of the run."""

    run: str
    file: str
    sha256: str
    in_git: bool


class Verdict(Stored):
    """One entry of a claim's history; those of earlier versions name no seeds."""

    model_config = ConfigDict(extra="allow")

    status: str
    kind: str
    claim_sha256: str
    n: int
    reason: str
    seeds: Sequence[int] = ()
    estimate: Number
    low: Number
    high: Number
    commit: str | None
    date: str | None


def _kind(test: Any) -> str:
    keys = test if isinstance(test, Mapping) else type(test).model_fields
    tags = {"rates": "rates", "looks": "survival", "wins": "ranks"}
    return next((tag for key, tag in tags.items() if key in keys), "means")


TestOfClaim = Annotated[
    Annotated[RatesTest, Tag("rates")]
    | Annotated[MeansTest, Tag("means")]
    | Annotated[RanksTest, Tag("ranks")]
    | Annotated[SurvivalTest, Tag("survival")],
    Discriminator(_kind),
]


class ClaimFinding(Stored):
    """A claim with its verdict and everything that it rests on.

    `published`: it states what a publication reports. `vacuous`: why its metric or its bound
    separates nothing from a constant object. `planned_looks`, `looks_taken`: of a claim about means
    with looks.
    """

    id: str
    text: str
    requested: str
    kind: str
    standing: str
    status: str
    reason: str
    contrast: Contrast
    metric: str
    title: str
    unit: str
    direction: str
    decided_by: str
    bound: float | None
    margin: float
    margin_unit: str
    needed_seeds: int
    family: Family
    changed: Mapping[str, Sequence[Scalar]] | None
    effect: Effect | None
    test: TestOfClaim | None
    pairing: str
    n: int
    needs: Needs | None
    gate: GateBeforeRuns
    replaces: Mapping[str, str]
    seeds: Sequence[SeedOfClaim]
    gates: Sequence[GateOfClaim]
    limits: Sequence[str]
    one_object: bool
    evidence: Sequence[Evidence]
    claim_sha256: str
    reproduce: str
    history: Sequence[Verdict]
    supersedes: Verdict | None
    published: bool = False
    vacuous: str | None = None
    planned_looks: Sequence[int] = ()
    looks_taken: Sequence[LookTaken] = ()

    @property
    def decided(self) -> bool:
        return self.status in ("supported", "refuted", "equivalent")

    @property
    def word(self) -> str:
        """What the numbers say, by the interval against zero and the margin; where arms differ,
        whether as claimed (`study.evidence.words`)."""
        if self.status in words.UNJUDGED:
            return words.UNJUDGED[self.status]
        return words.shown(self._word, self.direction, self.published, self.vacuous is not None)

    @property
    def _word(self) -> str:
        if self.decided_by in words.ONE_SIDED:
            met, missed = words.ONE_SIDED[self.decided_by]
            outcomes = {"supported": met, "refuted": missed}
            return outcomes.get(self.status, words.INCONCLUSIVE)
        word = self._compared
        if self.direction == "equal" or not word.startswith("differs"):
            return word
        return word if self._as_claimed else f"{word}{words.AGAINST}"

    @property
    def _compared(self) -> str:
        """The word without the claimed direction."""
        effect, differs = self.effect, self.status in ("supported", "refuted")
        if isinstance(self.test, RanksTest):
            return words.OPEN if differs else words.INCONCLUSIVE
        if effect is None:
            return words.INCONCLUSIVE
        if isinstance(self.test, RatesTest):
            left, right = (
                (round(rate.estimate * rate.n), rate.n)
                for rate in map(self.test.rates.__getitem__, self._arms)
            )
            return words.of_rates(left, right, self.margin, self.family.alpha, differs)
        if self.decided_by == "survival":
            low = effect.estimate if effect.low is None else effect.low
            high = effect.estimate if effect.high is None else effect.high
            word = words.of_interval(low, high, self.margin, differs)
            return words.INCONCLUSIVE if word == words.EQUIVALENT else word
        if effect.low is None or effect.high is None:
            return words.INCONCLUSIVE
        return words.of_interval(effect.low, effect.high, self.margin)

    @property
    def _arms(self) -> tuple[str, str]:
        return self.contrast.treatment, self.contrast.control

    @property
    def _as_claimed(self) -> bool:
        """Whether the difference has the claimed sign."""
        if self.effect is None:
            return self.status == "supported"
        return self.effect.estimate < 0 if self.direction == "lower" else self.effect.estimate > 0

    @property
    def below_margin(self) -> bool:
        """Whether a claimed difference was decided, and its estimate is below the margin."""
        return (
            self.status in ("supported", "refuted")
            and self.direction != "equal"
            and self.effect is not None
            and abs(self.effect.estimate) < self.margin
        )


class Gone(Stored):
    """What stays of a claim that left claims.yaml: its verdicts, with their numbers. The rest of
    its last entry, of whatever version wrote it, is in git."""

    model_config = ConfigDict(extra="ignore")

    text: str
    status: str = ""
    reason: str = ""
    history: Sequence[Verdict]


class Withdrawn(Stored):
    """A claim that was removed from claims.yaml, from git.

    `by`: the claim that has its content under another name, or that replaces it, or the folder
    under archived/ that keeps it. `commit`, `date`: of its last removal; None while that is not
    committed.
    """

    id: str
    text: str
    fate: Literal["removed", "renamed", "replaced", "archived"]
    by: str | None
    reason: str | None
    commit: str | None
    date: str | None


# --- the whole --------------------------------------------------------------------------------


class Tolerance(Stored):
    """How `study explain` relates to the stored numbers of arms; those of claims have all digits.

    A mean or a seed's value differs by at most this share of itself, a difference by this share of
    the numbers that it is of.
    """

    command: str
    relative_tolerance: float


class Findings(Stored):
    """`headline`: the claims that come first. `withdrawn` is None where git cannot tell.
    `published` and `decision` belong to the comparison with the published study, `stability` to the
    curves of deaths: these investigations compute and word them; None without them."""

    format: Literal[3]
    arms: Mapping[str, ArmFinding]
    claims: Mapping[str, ClaimFinding]
    headline: Sequence[str]
    counts: Mapping[str, int]
    groups: Sequence[ArmGroup]
    fences: Sequence[Fence]
    flags: Sequence[Flag]
    scale_flags: Sequence[ScaleFlag]
    published: Annotated[dict[str, Any], _as(Published)] | None = None
    decision: Annotated[dict[str, Any], _as(Decision)] | None = None
    stability: dict[str, Any] | None = None
    superseded: Mapping[str, Gone]
    withdrawn: Sequence[Withdrawn] | None
    reproduce: str
    numbers: Tolerance

    def content(self) -> dict[str, Any]:
        """The content of findings.json, spelled out."""
        return plain(self.model_dump(exclude_unset=True))


def earlier_claims(content: Mapping[str, Any]) -> dict[str, Gone]:
    """The claims of earlier findings, also of a former version: what their history continues from.

    Raises UserError for entries without a history that can be read.
    """
    entries = {**content.get("claims", {}), **content.get("superseded", {})}
    try:
        return TypeAdapter(dict[str, Gone]).validate_python(entries)
    except ValidationError as error:
        raise UserError(
            f"the earlier findings: {sentences(error)}; restore findings.json (`git checkout`)"
        ) from None


def parse(content: Mapping[str, Any], where: Path | str) -> Findings:
    """Findings from the content of the file `where`.

    Raises UserError with the file, the keys, what they hold and the remedy.
    """
    try:
        return Findings.model_validate(content)
    except ValidationError as error:
        remedy = "restore it with `git checkout -- findings.json`"
        raise UserError(f"{where}: {sentences(error)}; {remedy}") from None
