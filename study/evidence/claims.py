"""claims.yaml: the claims, registered before the runs that decide them.

headline: [AGC-001]             # optional: the claims shown first

claims:
  AGC-001:
    text: ...
    kind: confirmatory          # requested kind; the git history decides whether it applies
    family: stage_a_amplitude   # at most four claims, corrected together
    arms: {treatment: agc, control: control}
    metric: last.standard.amplitude.mae   # its first part is the checkpoint
    direction: higher           # treatment against control
    margin: {value: 0.02, unit: object units}   # the smallest effect that matters; no unit: `1`
    needed_seeds: 8
    changes: [clip.gradient_clip_algorithm]
    evidence: mean_difference   # failure_rate with metric: outcome, survival with metric: survival,
                                # bound against a number, non_inferior for a one-sided rule: not
                                # worse than the control by more than the margin
    test: boschloo              # optional, for evidence failure_rate (default: fisher). Boschloo's
                                # exact test is at least as powerful for arms of equal size
    bound: 0.015                # only for evidence bound; the contrast's control is then `bound`
    survival: {...}             # only for evidence survival: SurvivalPlan
    looks: [8, 12, 16]          # optional, for means: pairs after which the claim is judged, with
                                # O'Brien-Fleming spending; the last one is needed_seeds
    published: true             # optional: the claim states what a publication reports; numbers
                                # that exclude it are called "not reproduced"
    replaces: {AGC-000: the margin was not justified}   # optional: earlier claims and the reasons

superseded:                     # optional: withdrawn claims without a single replacement, with the
  AGC-RATE-000: no outcome of three runs per arm decides it   # reason why they were withdrawn
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from study.evidence.format import join_words
from study.evidence.metric_catalog import KNOWN, OUTCOME, SURVIVAL, Column, find_column
from study.evidence.statistics import least_pairs
from study.reading import quoted, read_yaml
from study.runs import environment
from study.settings import (
    MOST_SEEDS,
    NAME,
    Count,
    Model,
    Positive,
    Seed,
    Study,
    UserError,
    explain,
    nearest,
)

FAMILY_LIMIT = 4
TOP = {"claims", "headline", "superseded"}
BOUND = "bound"  # placeholder for the control of a goal
OF_MEANS = ("mean_difference", "non_inferior", BOUND)
RATE = Column(
    OUTCOME, "failure rate", "", "lower", "share of runs that failed or collapsed, of all runs"
)

LIFETIME = Column(
    SURVIVAL,
    "epochs lived",
    "epochs",
    "higher",
    "epochs until a run dies by the arm's event rule, or its last epoch where it is alive",
)
# Metrics that are not among the scores of a seed, with the evidence that belongs to each.
SPECIAL = {OUTCOME: ("failure_rate", RATE), SURVIVAL: ("survival", LIFETIME)}


class Contrast(Model):
    """Names of two arms; `<study>/<arm>` for an arm of another pipeline."""

    treatment: str
    control: str


class Margin(Model):
    """The smallest effect that matters. `unit`: that of the metric, `1` for dimensionless ones."""

    value: Positive
    unit: str


class PublishedCount(Model):
    """Runs that the publication reports for one arm, and how many of them died."""

    died: Annotated[int, Field(ge=0)]
    runs: Count


class SurvivalPlan(Model):
    """How a claim about the time to an event is decided: in rounds with planned looks.

    Each round is one seed of both arms, in the order of `seeds`. After the rounds in `looks`, p of
    the exact log-rank test is compared with the level that O'Brien-Fleming spending allows at that
    look. `sides`: 1 tests only the claimed direction. `published`: counts per arm of the contrast,
    or null.
    """

    seeds: Annotated[tuple[Seed, ...], Field(min_length=2, max_length=10)]
    looks: Annotated[tuple[Count, ...], Field(min_length=1)]
    sides: Literal[1, 2]
    published: Mapping[Literal["treatment", "control"], PublishedCount | None]

    @model_validator(mode="after")
    def _looks_at_rounds(self) -> SurvivalPlan:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"survival.seeds {list(self.seeds)} repeat; list each seed once")
        if list(self.looks) != sorted(set(self.looks)) or self.looks[-1] != len(self.seeds):
            raise ValueError(
                f"survival.looks is {list(self.looks)}; accepted: rounds in ascending order, the "
                f"last of them {len(self.seeds)}, the number of seeds"
            )
        return self


class Claim(Model):
    """A claim about one metric and one contrast. Empty `changes`: exactly one factor, whichever."""

    id: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*(-[A-Z0-9]+)*$")]
    text: Annotated[str, Field(min_length=1)]
    kind: Literal["confirmatory", "exploratory", "bundle"]
    family: Annotated[str, Field(min_length=1)]
    arms: Contrast
    metric: str
    direction: Literal["lower", "higher", "equal"]
    margin: Margin
    needed_seeds: Annotated[int, Field(ge=2, le=MOST_SEEDS)]  # of each arm
    changes: tuple[str, ...] = ()
    evidence: Literal["mean_difference", "failure_rate", "survival", "non_inferior", "bound"]
    test: Literal["fisher", "boschloo"] = "fisher"
    bound: float | None = None
    survival: SurvivalPlan | None = None
    published: bool = False
    looks: tuple[Count, ...] = ()
    replaces: Mapping[str, Annotated[str, Field(min_length=1)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _margin_in_the_metrics_unit(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "margin" not in given:
            return given
        return {**given, "margin": _margin(given["margin"], str(given.get("metric")))}

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        wanted, _ = SPECIAL.get(self.metric, ("mean_difference", None))
        if self.evidence not in (OF_MEANS if wanted == "mean_difference" else (wanted,)):
            raise ValueError(
                f"{self.id}: evidence {self.evidence} with metric {self.metric!r}; failure_rate "
                f"goes with metric {OUTCOME}, survival with metric {SURVIVAL}, "
                f"{join_words(OF_MEANS)} with a number such as last.standard.amplitude.mae"
            )
        if self.evidence != "mean_difference" and self.direction == "equal":
            raise ValueError(
                f"{self.id}: direction equal goes with evidence mean_difference; got "
                f"{self.evidence}: take lower or higher"
            )
        if self.test != "fisher" and self.evidence != "failure_rate":
            raise ValueError(
                f"{self.id}: test {self.test} goes with evidence failure_rate; got {self.evidence}"
            )
        if (self.evidence == "survival") != (self.survival is not None):
            raise ValueError(
                f"{self.id}: evidence survival needs the section survival (seeds, looks, sides, "
                "published), and other evidence must not have it"
            )
        if self.survival is not None and len(self.survival.seeds) != self.needed_seeds:
            raise ValueError(
                f"{self.id}: needed_seeds is {self.needed_seeds} but survival.seeds has "
                f"{len(self.survival.seeds)}; they must agree"
            )
        if self.arms.treatment == self.arms.control:
            raise ValueError(f"{self.id}: treatment and control are both {self.arms.control!r}")
        bundle = self.kind == "bundle"
        if bundle and len(self.changes) < 2:
            raise ValueError(
                f"{self.id}: a bundle lists all its changed factors under changes, at least two; "
                f"got {list(self.changes)}"
            )
        if not bundle and len(self.changes) > 1:
            raise ValueError(
                f"{self.id}: {len(self.changes)} factors under changes make it kind bundle; got "
                f"kind {self.kind}"
            )
        return self

    @model_validator(mode="after")
    def _bound_is_whole(self) -> Claim:
        bounds = {self.evidence == BOUND, self.bound is not None, self.arms.control == BOUND}
        if len(bounds) > 1:
            raise ValueError(
                f"{self.id}: evidence bound, a number under bound and the control `{BOUND}` go "
                f"together; got evidence {self.evidence}, bound {self.bound}, control "
                f"{self.arms.control}"
            )
        return self

    @model_validator(mode="after")
    def _looks_at_pairs(self) -> Claim:
        if not self.looks:
            return self
        if self.evidence not in OF_MEANS:
            raise ValueError(
                f"{self.id}: looks goes with evidence {join_words(OF_MEANS)}; got "
                f"{self.evidence} (a survival claim has survival.looks)"
            )
        ascending = list(self.looks) == sorted(set(self.looks))
        least = least_pairs()
        if not (ascending and len(self.looks) > 1 and self.looks[0] >= least):
            raise ValueError(
                f"{self.id}: looks is {list(self.looks)}; accepted: at least two numbers of pairs "
                f"in ascending order, the first at least {least}"
            )
        if self.looks[-1] != self.needed_seeds:
            raise ValueError(
                f"{self.id}: the last of looks is {self.looks[-1]} but needed_seeds is "
                f"{self.needed_seeds}; they must agree"
            )
        return self

    @model_validator(mode="after")
    def _replaces_others(self) -> Claim:
        if self.id in self.replaces:
            raise ValueError(f"{self.id}: replaces names the claim itself; it takes earlier claims")
        return self

    @property
    def column(self) -> Column:
        """The claim's metric. Raises UserError for an unknown one."""
        special = SPECIAL.get(self.metric)
        return find_column(self.metric) if special is None else special[1]

    @property
    def sha256(self) -> str:
        """Hash of the content of the claim."""
        # Fields added later: claims without them keep their hash.
        later = {
            "survival": None,
            "replaces": {},
            "bound": None,
            "test": "fisher",
            "published": False,
            "looks": (),
        }
        unused = {name for name, value in later.items() if getattr(self, name) == value}
        # The first registered claims had this field, which was null.
        content = {**self.model_dump(mode="json", exclude=unused), "second_object": None}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def arm_names(self) -> tuple[str, ...]:
        """All arms that the claim names."""
        return tuple(name for name in (self.arms.treatment, self.arms.control) if name != BOUND)


def _margin(given: Any, metric: str) -> Any:
    """The given margin. Raises ValueError unless it names the unit of `metric`."""
    column = SPECIAL[metric][1] if metric in SPECIAL else KNOWN.get(metric)
    unit = column.margin_unit if column else None
    accepted = f"accepted: margin: {{value: NUMBER, unit: {unit or 'that of the metric'}}}"
    if not isinstance(given, Mapping):
        raise ValueError(f"margin is {quoted(given)}, without a unit; {accepted}")
    if set(given) != {"value", "unit"}:
        raise ValueError(f"margin has the keys {quoted(sorted(map(str, given)))}; {accepted}")
    if unit is not None and str(given["unit"]) != unit:
        raise ValueError(f"margin is in {quoted(given['unit'])}, {metric} in {unit!r}; {accepted}")
    # An unquoted 1 is a number in YAML.
    return {**given, "unit": str(given["unit"])}


@dataclass(frozen=True)
class ClaimBook:
    """All claims of a file in its order. `headline`: claims that are shown first; `superseded`:
    withdrawn claims with the reason."""

    path: Path
    claims: tuple[Claim, ...]
    headline: tuple[str, ...] = ()
    superseded: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def families(self) -> Mapping[str, tuple[Claim, ...]]:
        names = dict.fromkeys(claim.family for claim in self.claims)
        return {name: tuple(c for c in self.claims if c.family == name) for name in names}


def load_claims(path: Path = Path("claims.yaml")) -> ClaimBook:
    """Read claims.yaml. Raises UserError naming the claim and the key."""
    return parse_claims(read_yaml(path), path)


def claim_files(root: Path) -> list[tuple[Path, str]]:
    """Existing claims.yaml of the pipeline folder `root` and of its checkout, each with the prefix
    that it uses for arms of `root`."""
    top, here = environment.checkout(root).resolve(), root.resolve()
    files = [(root / "claims.yaml", "")]
    if here != top and here.is_relative_to(top):
        files.append((top / "claims.yaml", f"{here.relative_to(top).as_posix()}/"))
    return [(file, prefix) for file, prefix in files if file.is_file()]


def parse_claims(given: Any, path: Path) -> ClaimBook:
    """Parse the content of the claims file `path`. Raises UserError as `load_claims` does."""
    if not isinstance(given, Mapping) or not {"claims"} <= set(given) <= TOP:
        raise UserError(
            f"{path} needs the key claims at the top; headline and superseded are optional"
        )
    entries = {} if given["claims"] is None else given["claims"]
    if not isinstance(entries, Mapping):
        raise UserError(f"{path}: claims is {type(entries).__name__}; it must map ids to claims")
    claims = tuple(_claim(str(i), entry, path) for i, entry in entries.items())
    book = ClaimBook(
        path,
        claims,
        _headline(given.get("headline", []), entries, path),
        _superseded(given.get("superseded", {}), entries, path),
    )
    for name, family in book.families.items():
        if len(family) > FAMILY_LIMIT:
            raise UserError(
                f"{path}: family {name!r} has {len(family)} claims; at most {FAMILY_LIMIT}: each "
                "further claim lowers the corrected level and with it the power of all. Split the "
                "family by question"
            )
    return book


def _headline(given: Any, known: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise UserError(f"{path}: headline takes a list of claims, such as [CLIP-LOSS-001]")
    if wrong := [name for name in given if name not in known]:
        raise UserError(f"{path}: headline: no claim {quoted(wrong[0])}{nearest(wrong[0], known)}")
    return tuple(dict.fromkeys(given))


def _superseded(given: Any, known: Mapping[str, Any], path: Path) -> Mapping[str, str]:
    if not isinstance(given, Mapping) or not all(
        isinstance(text, str) and text.strip() for pair in given.items() for text in pair
    ):
        raise UserError(f"{path}: superseded takes a mapping of withdrawn claims to reasons")
    if both := [name for name in given if name in known]:
        raise UserError(
            f"{path}: {both[0]} is under claims and under superseded; a withdrawn claim is only "
            "under superseded"
        )
    return given


def _claim(claim_id: str, entry: Any, path: Path) -> Claim:
    if not isinstance(entry, Mapping):
        raise UserError(f"{path}: claims.{claim_id} is not a mapping of fields")
    try:
        claim = Claim.model_validate({"id": claim_id, **entry})
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, entry, f'claims.{claim_id}', Claim)}") from None
    try:
        _ = claim.column
    except UserError as error:
        raise UserError(f"{path}: claims.{claim_id}.metric: {error}") from None
    return claim


def check_arms(book: ClaimBook, study: Study, others: Collection[str] = ()) -> None:
    """Raise UserError if a claim names an arm that is neither declared nor recorded.

    `others`: arms `<study>/<arm>` that are recorded or declared in the params.yaml of their study.
    Arms of a study whose folder contains neither are accepted, because they may not have been
    fetched yet.
    """
    known = {*study.arms, *others, BOUND}
    for claim in book.claims:
        for name in claim.arm_names:
            if name not in known and not _may_be_fetched(name, known, book.path.parent):
                raise UserError(
                    f"{book.path}: claims.{claim.id}.arms: no arm {name!r}{nearest(name, known)}"
                )


def _may_be_fetched(name: str, known: Collection[str], root: Path) -> bool:
    pipeline, slash, _ = name.partition("/")
    if not slash or any(other.startswith(f"{pipeline}/") for other in known):
        return False
    return bool(NAME.fullmatch(pipeline)) and (root / pipeline).is_dir()
