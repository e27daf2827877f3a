"""The claims on the page and those that are open, stored in the address."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from app import choose
from study.evidence.claim_finding import ClaimFinding, Gone
from study.evidence.model import Findings
from study.evidence.pipelines import pipelines_of

HERE = "this pipeline"
SUPERSEDED = "superseded"
LONGEST = 100


@dataclass(frozen=True)
class Listed:
    """A claim in the list, and changes since its verdict."""

    claim: ClaimFinding
    changed: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.claim.id

    @property
    def status(self) -> str:
        """The word of its chip; *stale* takes precedence."""
        return "stale" if self.changed else self.claim.status

    @property
    def state(self) -> str:
        """The style of its chip, which distinguishes differences below the margin."""
        goal = self.claim.decided_by in ("bound", "non_inferior")
        small = self.claim.below_margin and not self.changed and not goal
        return f"{self.status}, below the margin" if small else self.status

    @property
    def words(self) -> tuple[str, ...]:
        """The text that the filter searches."""
        contrast = self.claim.contrast
        return self.id, self.claim.text, contrast.treatment, contrast.control, self.claim.metric

    @property
    def pipelines(self) -> set[str]:
        arms = (self.claim.contrast.treatment, self.claim.contrast.control)
        return pipelines_of(arms) | ({HERE} if any("/" not in arm for arm in arms) else set())


def listed(found: Findings, changed: Mapping[str, list[str]]) -> list[Listed]:
    return [Listed(claim, tuple(changed.get(name, ()))) for name, claim in found.claims.items()]


@dataclass(frozen=True)
class Filters:
    """The selected filters; empty ones match every claim."""

    status: Collection[str]
    family: Collection[str]
    pipeline: Collection[str]
    text: str

    def passes(self, one: Listed) -> bool:
        """Whether a claim matches; a stale one also matches its stored status."""
        return (
            (not self.status or bool({one.status, one.claim.status} & set(self.status)))
            and (not self.family or one.claim.family.name in self.family)
            and (not self.pipeline or bool(one.pipelines & set(self.pipeline)))
            and self.says(*one.words)
        )

    def passes_gone(self, name: str, entry: Gone) -> bool:
        unasked = not self.family and not self.pipeline
        wanted = not self.status or SUPERSEDED in self.status
        return unasked and wanted and self.says(name, entry.text)

    def says(self, *words: str) -> bool:
        return any(self.text in word.lower() for word in words)


def filters(claims: Sequence[Listed], gone: Collection[str]) -> Filters:
    """The widgets above the claims."""
    statuses = dict.fromkeys(s for c in claims for s in (c.status, c.claim.status))
    statuses |= dict.fromkeys([SUPERSEDED] if gone else [])
    a, b, c, d = st.columns(4)
    with a:
        status = choose.several("Status", list(statuses), "status")
    with b:
        families = dict.fromkeys(one.claim.family.name for one in claims)
        family = choose.several("Family", list(families), "family")
    with c:
        pipelines = sorted({name for claim in claims for name in claim.pipelines})
        pipeline = choose.several("Pipeline", pipelines, "pipelines")
    with d:
        text = st.text_input(
            "Text",
            key="text",
            bind="query-params",
            max_chars=LONGEST,
            icon=":material/search:",
            placeholder="in id, claim, arms or metric",
        )
    return Filters(status, family, pipeline, text.lower())


# --- opened claims ----------------------------------------------------------------------------


def opened(known: Sequence[str]) -> set[str]:
    """The claims opened by the address; an unknown one is reported."""
    choose.tell_unknown("Claim", known, "claim")
    return {name for name in choose.asked("claim") if name in known}


def turn(name: str) -> None:
    """Open a closed claim or close an open one."""
    now = choose.asked("claim")
    st.query_params["claim"] = [c for c in now if c != name] if name in now else [*now, name]
