"""Investigations: the questions of this project, one folder each.

A folder holds the computation of its question, its words, figures and report section. It may import
everything. The rest of the library imports nothing from it (a contract in pyproject.toml) and asks
for its parts here, by kind; a part is imported when it is asked for:

    settings  SECTION: the section of params.yaml that it reads
    cli       register(app): adds its commands
    results   FILES, load(file): files of results/ that `study record` copies, and what reads one
    section   SECTIONS: its sections of the report, in the order of this registry
    findings  facts(arms, root): its keys of findings.json; markdown(findings): its sections of
              findings.md; views(findings): its entries of the app's Findings page, as `View`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

# One line per investigation: its folder and the parts that it has.
INVESTIGATIONS: Mapping[str, Sequence[str]] = {
    "stability": ("settings", "cli", "results", "section", "findings"),
    "collapse": ("section",),
    "traces": ("cli", "results", "section"),
    "improved": ("section",),
    "published": ("section", "findings"),
    "regimes": ("settings", "cli", "results", "section"),
}


def parts(kind: str) -> list[Any]:
    """The modules NAME/`kind` of the investigations that have one, in the order of the registry."""
    return [
        import_module(f"{__name__}.{name}.{kind}")
        for name, kinds in INVESTIGATIONS.items()
        if kind in kinds
    ]


@dataclass(frozen=True)
class View:
    """A table and sentences for a page; `absent` is shown instead where there is nothing.

    `filter_by`: the head of the column whose first word (up to a colon) the reader may filter by.
    `details`: a title and sentences that are folded up at first. `leads`: its first sentence is a
    result of the study, which the first page shows.
    """

    name: str
    absent: str = ""
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    filter_by: str = ""
    sentences: Sequence[str] = ()
    details: tuple[str, Sequence[str]] | None = None
    leads: bool = False
