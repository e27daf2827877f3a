"""findings.json as objects: facts about all arms and claims.

`study.evidence.findings.build` creates `Findings` from the evidence, `Findings.content` returns
what is written, and `parse` checks and reads it. All pages, tables and reports take their numbers
from here. Types are strict: for example, a number stored as text is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ValidationError,
)

from study.evidence.claim_finding import ClaimFinding, Gone, Withdrawn
from study.evidence.estimates import Difference, MeanOfArm, Stored
from study.evidence.format import join_words
from study.evidence.shapes import Decision, Published, Shape
from study.reading import UserError
from study.runs import plain
from study.settings import explain

# 2: margins with units, second objects, needs, groups of recorded arms. The history of 1 is kept.
# 3: numbers with eight digits, without numbers that follow from others (study.evidence.packing).
FORMAT = 3


def _as(shape: type[Shape]) -> AfterValidator:
    """A validator for a part that remains a mapping, because an investigation computes it."""

    def check(value: Any) -> Any:
        try:
            shape.model_validate(value)
        except ValidationError as error:
            raise ValueError(explain(error, value, "", shape)) from None
        return value

    return AfterValidator(check)


# --- arms -------------------------------------------------------------------------------------


class SeedsOfArm(Stored):
    """Declared seeds and their outcomes."""

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
        """Number of seeds that ran or were declared."""
        return self.ran + len(self.missing)

    def counts(self) -> str:
        """Counts as `ok / failed / collapsed`."""
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
    """Arms with the same data set. `sha256`: None for arms whose seeds ran on several."""

    sha256: str | None
    paths: Sequence[str]
    arms: Sequence[str]


class Flag(Stored):
    """Two arms that share a result for some seeds; an error if `reason` is None."""

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
    """An arm whose amplitude scale differs from 1 for some seeds."""

    arm: str
    checkpoint: str
    scales: Mapping[str, float]
    reason: str


# --- the whole file ---------------------------------------------------------------------------


class Tolerance(Stored):
    """The accuracy of the stored numbers of arms compared with `study explain`; numbers of claims
    have all digits.

    The relative tolerance applies to means and values of seeds; for a difference it is relative to
    the two numbers.
    """

    command: str
    relative_tolerance: float


class Findings(Stored):
    """All findings.

    `headline`: claims that are shown first. `withdrawn`: None if git cannot tell. `published`,
    `decision` (comparison with the published study) and `stability` (failure curves) are computed
    by investigations; None without them.
    """

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
        """The content of findings.json before packing."""
        return plain(self.model_dump(exclude_unset=True))


def earlier_claims(content: Mapping[str, Any]) -> dict[str, Gone]:
    """The claims in earlier findings (of any known version), whose history is continued.

    Raises UserError for entries without a readable history.
    """
    entries = {**content.get("claims", {}), **content.get("superseded", {})}
    found: dict[str, Gone] = {}
    for name, entry in entries.items():
        try:
            found[name] = Gone.model_validate(entry)
        except ValidationError as error:
            raise UserError(
                f"the earlier findings: {explain(error, entry, f'claims.{name}', Gone)}; restore "
                "findings.json (`git checkout`)"
            ) from None
    return found


def parse(content: Mapping[str, Any], where: Path | str) -> Findings:
    """Findings from the content of the file `where`.

    Raises UserError with the file, the invalid keys, their values and the remedy.
    """
    try:
        return Findings.model_validate(content)
    except ValidationError as error:
        remedy = "restore it with `git checkout -- findings.json`"
        raise UserError(f"{where}: {explain(error, content, '', Findings)}; {remedy}") from None
