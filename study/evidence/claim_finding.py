"""Claims in findings.json: each with its verdict and everything on which the verdict is based."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Tag,
    computed_field,
    model_validator,
)

from study.evidence import words
from study.evidence.estimates import Effect, Estimate, Number, Stored
from study.settings import Scalar


class Contrast(Stored):
    treatment: str
    control: str


class Family(Stored):
    """Claims that share a level by Holm's procedure. `alpha`: the level of this claim."""

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
    """The test for claims with dead (failed or collapsed) runs, which rank last.

    `wins`, `losses`, `ties`: pairs in which the treatment is better, worse or equal. `dead`: share
    of dead runs of each arm. `smallest_p`: p if all pairs favoured the same arm.
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
    """What is needed to decide the claim: `pairs` in total, `more` than there are.

    Minutes are None if an arm was never timed: `minutes` (on one core) and `minutes_all_cores` for
    the `more` pairs, `minutes_new_claim` for all `pairs` on one core. `cores`: number of cores of
    the machine of the runs, None if unknown.
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
    """The check before the runs: what the claim can decide, regardless of its outcome."""

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
    reason: str | None = None  # of a gate that is not passed


class Evidence(Stored):
    """A file from which numbers were computed: a result in git or an artifact of a run."""

    run: str
    file: str
    sha256: str
    in_git: bool


class Verdict(Stored):
    """One entry of a claim's history; entries of earlier versions do not name seeds."""

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
    """A claim with its verdict and everything on which the verdict is based.

    `published`: whether it states what a publication reports. `vacuous`: why its metric or bound
    does not distinguish anything from a constant object. `planned_looks`, `looks_taken`: for claims
    about means with interim looks.
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

    @model_validator(mode="wrap")
    @classmethod
    def _word_follows(cls, given: Any, handler: Callable[[Any], ClaimFinding]) -> ClaimFinding:
        """Check that the word, which is stored for readers of findings.json, fits the numbers."""
        if not isinstance(given, Mapping) or "word" not in given:
            return handler(given)
        claim = handler({key: value for key, value in given.items() if key != "word"})
        try:
            word = claim.word
        except KeyError as error:
            raise ValueError(f"the test has no rate of {error.args[0]!r}") from None
        except ArithmeticError as error:
            raise ValueError(f"no word follows from its numbers ({error})") from None
        if word != given["word"]:
            raise ValueError(f"the word is {given['word']!r}, but the numbers give {word!r}")
        return claim

    @computed_field
    @property
    def word(self) -> str:
        """The verdict in words, from the interval relative to zero and the margin and, if the arms
        differ, from the claimed direction (`study.evidence.words`)."""
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
        """The word, regardless of the claimed direction."""
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
        """Whether a claimed difference was decided although its estimate is below the margin."""
        return (
            self.status in ("supported", "refuted")
            and self.direction != "equal"
            and self.effect is not None
            and abs(self.effect.estimate) < self.margin
        )


class Gone(Stored):
    """The verdicts of a claim that was removed from claims.yaml. The rest of its last entry is in
    git and may have the format of an earlier version."""

    model_config = ConfigDict(extra="ignore")

    text: str
    status: str = ""
    reason: str = ""
    history: Sequence[Verdict]


class Withdrawn(Stored):
    """A claim that was removed from claims.yaml, according to git.

    `by`: the claim with the same content under another name, the claim that replaces it, or the
    folder in archived/ that contains it. `commit`, `date`: of its last removal; None if that is not
    committed.
    """

    id: str
    text: str
    fate: Literal["removed", "renamed", "replaced", "archived"]
    by: str | None
    reason: str | None
    commit: str | None
    date: str | None
