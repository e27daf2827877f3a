"""Which claims the page shows, and which of them are open: all of it in the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import choose
from study.evidence.pipelines import pipelines_of

HERE = "this pipeline"
SUPERSEDED = "superseded"
LONGEST = 100


@dataclass(frozen=True)
class Listed:
    """A claim as the page lists it: its entry in the findings, and what changed since."""

    id: str
    entry: Mapping[str, Any]
    changed: tuple[str, ...] = ()
    superseded: bool = False

    @property
    def status(self) -> str:
        """The word of its chip: what it lost since goes before what it said."""
        return SUPERSEDED if self.superseded else "stale" if self.changed else self.entry["status"]

    @property
    def statuses(self) -> set[str]:
        """What a filter finds it under: a stale verdict under its own word too."""
        return {self.status} if self.superseded else {self.status, self.entry["status"]}

    @property
    def family(self) -> str:
        return str(self.entry.get("family", {}).get("name", "none"))

    @property
    def studies(self) -> set[str]:
        contrast = self.entry.get("contrast") or {}
        arms = [contrast[k] for k in ("treatment", "control") if k in contrast]
        return pipelines_of(arms) | ({HERE} if any("/" not in arm for arm in arms) else set())


def listed(found: Mapping[str, Any], changed: Mapping[str, list[str]]) -> list[Listed]:
    """Every claim, then those that left claims.yaml."""
    claims = [
        Listed(name, entry, tuple(changed.get(name, ()))) for name, entry in found["claims"].items()
    ]
    gone = found.get("superseded") or {}
    return [*claims, *(Listed(name, entry, superseded=True) for name, entry in gone.items())]


def choosers(claims: list[Listed]) -> list[Listed]:
    """The filters, and the claims that pass them."""
    statuses = list(dict.fromkeys(s for c in claims for s in sorted(c.statuses)))
    families = list(dict.fromkeys(claim.family for claim in claims))
    studies = sorted({study for claim in claims for study in claim.studies})
    a, b, c, d = st.columns(4)
    with a:
        status = choose.several("Status", statuses, "status")
    with b:
        family = choose.several("Family", families, "family")
    with c:
        study = choose.several("Pipeline", studies, "pipeline")
    with d:
        text = st.text_input(
            "Text",
            key="text",
            bind="query-params",
            max_chars=LONGEST,
            icon=":material/search:",
            placeholder="in id, claim, arms or metric",
        )
    return [
        claim
        for claim in claims
        if (not status or claim.statuses & set(status))
        and (not family or claim.family in family)
        and (not study or claim.studies & set(study))
        and _says(claim, text.lower())
    ]


def _says(claim: Listed, text: str) -> bool:
    contrast = (claim.entry.get("contrast") or {}).values()
    words = [claim.id, claim.entry["text"], *contrast, str(claim.entry.get("metric", ""))]
    return not text or any(text in word.lower() for word in words)


# --- opened claims ----------------------------------------------------------------------------


def opened(claims: list[Listed]) -> set[str]:
    """The claims that the address opens; one that is not here is told."""
    known = [claim.id for claim in claims]
    choose.tell_unknown("Claim", known, "claim")
    return {name for name in choose.asked("claim") if name in known}


def turn(name: str) -> None:
    """Open a closed claim or close an open one."""
    now = choose.asked("claim")
    st.query_params["claim"] = [c for c in now if c != name] if name in now else [*now, name]
