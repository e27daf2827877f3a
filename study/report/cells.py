"""HTML fragments of the page: numbers with source and interval, statuses, counts of seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from study.evidence import statistics
from study.evidence.arms import OUTCOMES
from study.evidence.cells import bounds
from study.evidence.claim_finding import ClaimFinding
from study.evidence.estimates import Difference, Estimate
from study.evidence.evaluable import ABSENT
from study.evidence.format import fmt, join_words, percent
from study.evidence.metric_catalog import OUTCOME
from study.report.gather import Inputs

DIGITS = 3
# Functions available in every template.
IN_TEMPLATES = (
    *("number", "estimate", "printed", "status", "score", "delta", "effect", "outcomes"),
    *("named", "pipeline"),
)


def number(text: str, source: str, below: str = "") -> Markup:
    """A value with its source as tooltip.

    `source`: the id for `study explain`, or file and entry of the value. `below`: its interval, on
    a second line of a table cell.
    """
    under = Markup(' <span class="i">{}</span>').format(printed(below)) if below else ""
    return Markup('<span class="n" title="{}">{}{}</span>').format(source, printed(text), under)


def printed(text: str) -> str:
    """A number with minus signs instead of hyphens."""
    return text.replace("-", "−")


def estimate(facts: Estimate | None, source: str | None = None) -> Markup | str:
    """A stored estimate with its interval; a dash for None. `source`: replaces the id of the
    estimate, for estimates without an id."""
    if facts is None:
        return ABSENT
    source = source or (facts.id if isinstance(facts, Difference) else "")
    return number(fmt(facts.estimate, DIGITS), source, bounds(facts, DIGITS).strip())


def status(text: str) -> Markup:
    """The status of a verdict, distinguished by word, font weight and colour."""
    return Markup('<span class="s s-{}">{}</span>').format(anchor(text), text)


def anchor(text: str) -> str:
    """Text converted to an id or class name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def score(inputs: Inputs, arm: str, path: str, digits: int = DIGITS) -> Markup | str:
    """Mean over seeds with its interval, or the reason why there is none. If the number is missing
    for some seeds that ran, it is followed by the count of seeds that have it.
    """
    cell = inputs.cell(arm, path)
    if cell.facts is None:
        return cell.value(digits)
    value = number(cell.value(digits), cell.id, bounds(cell.facts, digits).strip())
    return Markup("{}{}").format(value, "" if cell.facts.n == cell.ran else f" {cell.seeds}")


def delta(inputs: Inputs, arm: str, path: str) -> Markup | str:
    """The arm minus its `versus` arm, paired by seed."""
    return estimate(inputs.difference(arm, path))


def effect(claim: ClaimFinding) -> Markup:
    """The effect of a claim, or why there is none; the level is given only with an interval."""
    found, test = claim.effect, claim.test
    if found is None:
        return breakable(claim.reason)
    unit = f" {claim.unit}" if claim.unit else ""
    margin = f", margin {fmt(claim.margin)}"
    if found.low is not None:
        return Markup("{}{}, {}{}").format(estimate(found), unit, percent(found.level), margin)
    p = "" if test is None or test.p is None else f", exact p\u00a0=\u00a0{fmt(test.p, 2)}"
    kind = "difference of rates " if claim.metric == OUTCOME else ""
    return Markup("{}{}{}{}{}").format(kind, estimate(found), unit, p, margin)


def outcomes(inputs: Inputs, arm: str) -> Markup:
    """Counts of seeds that ran (ok / failed / collapsed), and how many are missing."""
    results = inputs.arms[arm]
    text = " / ".join(str(len(results.with_outcome(name))) for name in OUTCOMES)
    missing = inputs.missing(arm)
    more = f" ({missing} missing)" if missing else ""
    return Markup("{}{}").format(number(text, f"outcome in {inputs.place(arm)}/seeds"), more)


def deaths(inputs: Inputs, arm: str) -> Mapping[str, Any]:
    """Runs that failed or collapsed: count, n, exact 95 % interval, table cell and source."""
    results = inputs.arms[arm]
    died = sum(len(results.with_outcome(name)) for name in ("failed", "collapsed"))
    n = len(results.seeds)
    rate = statistics.clopper_pearson(died, n)
    assert rate.low is not None and rate.high is not None, "n is at least 1"
    source = f"outcome in {inputs.place(arm)}/seeds, Clopper-Pearson"
    cell = number(f"{died} of {n}", source, f"[{rounded(rate.low)}, {rounded(rate.high)}]")
    bounds = {"low": rate.low, "high": rate.high}
    return {"died": died, "n": n, **bounds, "cell": cell, "source": source}


def rounded(share: float) -> str:
    return percent(float(fmt(share, 3)))


def named(inputs: Inputs, arm: str) -> Markup:
    """The arm's name without its pipeline, followed by its label if it is not a trained arm."""
    label = inputs.arms[arm].label if arm in inputs.arms else None
    return breakable(short(arm) if label in ("arm", None) else f"{short(arm)} ({label})")


def breakable(text: str) -> Markup:
    """Text that may break after an underscore or a slash, for narrow columns."""
    return Markup("<wbr>").join(re.findall(r"[^_/]*[_/]|[^_/]+", text))


def pipeline(arms: Sequence[str]) -> str:
    """The pipelines of the arms in a table, as a sentence."""
    places = sorted({arm.rpartition("/")[0] for arm in arms})
    found = [f"recorded from {place}/" if place else "of the root study" for place in places]
    return f"Arms {join_words(found)}."


def short(arm: str) -> str:
    """An arm's name without its pipeline."""
    return arm.rpartition("/")[2]
