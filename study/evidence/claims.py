"""claims.yaml: what is claimed, fixed before the runs that decide it.

claims:
  AGC-001:
    text: ...
    kind: confirmatory          # what is asked for; git decides what it is
    family: stage_a_amplitude   # at most four claims, corrected together
    arms: {treatment: agc, control: control}
    metric: last.standard.amplitude.mae   # its first part is the checkpoint
    direction: higher           # treatment against control
    margin: {value: 0.02, unit: object units}   # the least effect that matters; no unit: `1`
    needed_seeds: 8
    changes: [clip.gradient_clip_algorithm]
    evidence: mean_difference   # or failure_rate, metric: outcome
    second_object: {treatment: ARM, control: ARM}   # may be left out: the contrast on other data
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from study.evidence.columns import KNOWN, OUTCOME, Column, find_column
from study.params import NAME, Count, Model, Positive, Study, UserError, nearest, read_yaml

FAMILY_LIMIT = 4
RATE = Column(
    OUTCOME, "failure rate", "", "lower", "share of runs that failed or collapsed, of all runs"
)


class Contrast(Model):
    """Two arms by name; `<study>/<arm>` for one under recorded/."""

    treatment: str
    control: str


class Margin(Model):
    """The least effect that matters. `unit` is the metric's, `1` for numbers without one."""

    value: Positive
    unit: str


class Claim(Model):
    """One metric, one contrast. `changes` empty means: exactly one factor, whichever it is."""

    id: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*(-[A-Z0-9]+)*$")]
    text: Annotated[str, Field(min_length=1)]
    kind: Literal["confirmatory", "exploratory", "bundle"]
    family: Annotated[str, Field(min_length=1)]
    arms: Contrast
    metric: str
    direction: Literal["lower", "higher", "equal"]
    margin: Margin
    needed_seeds: Annotated[Count, Field(ge=2)]
    changes: tuple[str, ...] = ()
    evidence: Literal["mean_difference", "failure_rate"]
    second_object: Contrast | None = None

    @model_validator(mode="before")
    @classmethod
    def _margin_in_the_metrics_unit(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "margin" not in given:
            return given
        return {**given, "margin": _margin(given["margin"], str(given.get("metric")))}

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        rate = self.evidence == "failure_rate"
        if rate != (self.metric == OUTCOME):
            raise ValueError(
                f"{self.id}: evidence {self.evidence} with metric {self.metric!r}; failure_rate "
                f"goes with metric {OUTCOME}, mean_difference with a number such as "
                "last.standard.amplitude.mae"
            )
        if rate and self.direction == "equal":
            raise ValueError(
                f"{self.id}: failure rates of a few seeds cannot show equality; direction is lower "
                "or higher"
            )
        if self.arms.treatment == self.arms.control:
            raise ValueError(f"{self.id}: treatment and control are both {self.arms.control!r}")
        second = self.second_object
        if second is not None and second.treatment == second.control:
            raise ValueError(f"{self.id}: both arms of second_object are {second.control!r}")
        if second == self.arms:
            raise ValueError(
                f"{self.id}: second_object names the arms of the claim itself; it takes the same "
                "contrast on another data set"
            )
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

    @property
    def column(self) -> Column:
        """The claim's metric. Raises UserError for an unknown one."""
        return RATE if self.metric == OUTCOME else find_column(self.metric)

    @property
    def sha256(self) -> str:
        """Hash of everything that the claim says."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def _margin(given: Any, metric: str) -> Any:
    """The margin as it was given. Raises ValueError unless it names the unit of `metric`."""
    column = RATE if metric == OUTCOME else KNOWN.get(metric)
    unit = column.margin_unit if column else None
    accepted = f"accepted: margin: {{value: NUMBER, unit: {unit or 'that of the metric'}}}"
    if not isinstance(given, Mapping):
        raise ValueError(f"margin is {given!r}, without a unit; {accepted}")
    if set(given) != {"value", "unit"}:
        raise ValueError(f"margin has the keys {sorted(map(str, given))}; {accepted}")
    if unit is not None and str(given["unit"]) != unit:
        raise ValueError(f"margin is in {given['unit']!r}, {metric} in {unit!r}; {accepted}")
    # An unquoted 1 is a number in YAML.
    return {**given, "unit": str(given["unit"])}


@dataclass(frozen=True)
class ClaimBook:
    """All claims of one file, in its order."""

    path: Path
    claims: tuple[Claim, ...]

    @cached_property
    def families(self) -> Mapping[str, tuple[Claim, ...]]:
        names = dict.fromkeys(claim.family for claim in self.claims)
        return {name: tuple(c for c in self.claims if c.family == name) for name in names}


def load_claims(path: Path = Path("claims.yaml")) -> ClaimBook:
    """Read claims.yaml. Raises UserError naming the claim and the key."""
    return parse_claims(read_yaml(path), path)


def parse_claims(given: Any, path: Path) -> ClaimBook:
    """Claims from plain data that stands in `path`. Raises UserError as `load_claims` does."""
    if not isinstance(given, Mapping) or set(given) != {"claims"}:
        raise UserError(f"{path} needs exactly one key at the top: claims")
    entries = {} if given["claims"] is None else given["claims"]
    if not isinstance(entries, Mapping):
        raise UserError(f"{path}: claims is {type(entries).__name__}; a mapping id -> claim needed")
    book = ClaimBook(path, tuple(_claim(str(i), entry, path) for i, entry in entries.items()))
    for name, family in book.families.items():
        if len(family) > FAMILY_LIMIT:
            raise UserError(
                f"{path}: family {name!r} has {len(family)} claims; at most {FAMILY_LIMIT}, or the "
                "corrected level asks for more seeds than eight: split the family by question"
            )
    return book


def _claim(claim_id: str, entry: Any, path: Path) -> Claim:
    if not isinstance(entry, Mapping):
        raise UserError(f"{path}: claims.{claim_id} is no mapping of fields")
    try:
        claim = Claim.model_validate({"id": claim_id, **entry})
    except ValidationError as error:
        sentences = "; ".join(_sentence(item) for item in error.errors())
        raise UserError(f"{path}: claims.{claim_id}: {sentences}") from None
    try:
        _ = claim.column
    except UserError as error:
        raise UserError(f"{path}: claims.{claim_id}.metric: {error}") from None
    return claim


def _sentence(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {key}{nearest(key, Claim.model_fields)}"
    if item["type"] == "missing":
        return f"{key} is missing"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return f"{key}: {item['msg']}; got {item['input']!r}"


def check_arms(book: ClaimBook, study: Study, others: Collection[str] = ()) -> None:
    """Raise UserError when a claim names an arm that is in no params.yaml and not recorded.

    `others`: the arms `<study>/<arm>` that are recorded or that the study's params.yaml declares.
    Arms of a study whose folder is here, with neither of these, have not been fetched yet: their
    claims lack evidence, which is no mistake.
    """
    known = {*study.arms, *others}
    for claim in book.claims:
        contrasts = {"arms": claim.arms, "second_object": claim.second_object}
        for key, contrast in contrasts.items():
            for name in () if contrast is None else (contrast.treatment, contrast.control):
                if name not in known and not _may_be_fetched(name, known, book.path.parent):
                    raise UserError(
                        f"{book.path}: claims.{claim.id}.{key}: no arm {name!r}"
                        f"{nearest(name, known)}"
                    )


def _may_be_fetched(name: str, known: Collection[str], root: Path) -> bool:
    pipeline, slash, _ = name.partition("/")
    if not slash or any(other.startswith(f"{pipeline}/") for other in known):
        return False
    return bool(NAME.fullmatch(pipeline)) and (root / pipeline).is_dir()
