"""A claim as text: by topic, as a row of the verdict table, and as a line in the README's list.

    <!-- verdicts -->     a generated line per claim in `headline`, then a sentence about all claims
    <!-- /verdicts -->

The rest of the README is written manually. Therefore it is not an output of a DVC stage, which
would be deleted before the stage runs; `study findings --readme` writes these lines instead.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from study.evidence.cells import bounds
from study.evidence.claim_finding import (
    ClaimFinding,
    Evidence,
    Family,
    GateBeforeRuns,
    LookTaken,
    MeansTest,
    RanksTest,
    RatesTest,
    SideOfSeed,
    SurvivalTest,
    Verdict,
)
from study.evidence.format import counted, fmt, inline, join_words, percent, table
from study.evidence.model import Findings
from study.settings import UserError

START, END = "<!-- verdicts -->", "<!-- /verdicts -->"
HEADS = ("claim", "in words", "verdict", "effect", "n", "kind")
TEXT_WIDTH = 140
NO_EFFECT = "–"


# --- the verdict table ------------------------------------------------------------------------


def verdict_table(claims: Sequence[ClaimFinding]) -> str:
    """The verdict table as Markdown, with one row per claim."""
    return table(HEADS, [_line(claim) for claim in claims]) if claims else ""


def by_family(findings: Findings) -> list[ClaimFinding]:
    return sorted(findings.claims.values(), key=lambda c: (c.family.name, c.id))


def _line(claim: ClaimFinding) -> tuple[str, ...]:
    contrast = claim.contrast
    return (
        claim.id,
        textwrap.shorten(claim.text, TEXT_WIDTH, placeholder=" …"),
        f"**{claim.word}**{_but(claim)}",
        f"{effect_words(claim)} ({claim.title}: {contrast.treatment} against {contrast.control})",
        str(claim.n),
        kind(claim),
    )


def kind(claim: ClaimFinding) -> str:
    return f"{claim.kind}, bundle" if claim.requested == "bundle" else claim.kind


def _but(claim: ClaimFinding) -> str:
    """Qualifications of the status."""
    return " (one object)" if claim.decided and claim.one_object else ""


def effect_words(claim: ClaimFinding) -> str:
    """The effect in the unit of the metric; for failures the two rates, and for a goal the value
    itself."""
    effect, test = claim.effect, claim.test
    if isinstance(test, RanksTest):
        return effect_of_ranks(test)
    if effect is None:
        return NO_EFFECT
    if isinstance(test, RatesTest):
        return " against ".join(
            percent(test.rates[side].estimate)
            for side in (claim.contrast.treatment, claim.contrast.control)
        )
    unit = f" {claim.unit}" if claim.unit else ""
    if claim.bound is not None:
        ends = (effect.estimate, effect.low, effect.high)
        value, low, high = (None if end is None else claim.bound + end for end in ends)
        effect = effect.model_copy(update={"estimate": value, "low": low, "high": high})
    return f"{fmt(effect.estimate, 3)}{bounds(effect, 3)}{unit}"


def effect_of_ranks(test: RanksTest) -> str:
    of = test.wins + test.losses + test.ties
    return f"better in {test.wins}, worse in {test.losses} of {counted(of, 'pair')}, failures last"


# --- in the README ----------------------------------------------------------------------------


def verdict_block(findings: Findings) -> str:
    """The verdict list: one line per claim in `headline` of claims.yaml, and a count of all claims
    by word."""
    claims = [findings.claims[name] for name in findings.headline]
    return "\n".join([*map(_headline, claims), "", _sentence(findings)]).lstrip()


def _headline(claim: ClaimFinding) -> str:
    words = effect_words(claim)
    effect = f": {words}" if words != NO_EFFECT else ""
    return inline(
        f"- **{claim.word}**{_but(claim)}: {claim.text.rstrip('.')}{effect} "
        f"({counted(claim.n, 'seed')}, {claim.kind})"
    )


def with_verdicts(text: str, findings: Findings) -> str:
    """`text` with the block of `findings` between its markers.

    Raises UserError unless both markers occur once and in this order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UserError(
            f"the README needs the lines {START} and {END}, each once and in this order: the "
            "verdict list is written between them"
        )
    before, rest = text.split(START)
    return f"{before}{START}\n{verdict_block(findings)}\n{END}{rest.split(END)[1]}"


def _sentence(findings: Findings) -> str:
    claims = findings.claims.values()
    kinds = Counter(claim.kind for claim in claims)
    words = Counter(claim.word for claim in claims)
    counts = "; ".join(f'{n} "{word}"' for word, n in words.most_common())
    return (
        f"In all {counted(len(claims), 'claim')}, {kinds['confirmatory']} confirmatory and "
        f"{kinds['exploratory']} exploratory: "
        f"{counts}. "
        "Numbers are treatment minus control (for a goal, the value itself) with the interval at "
        "the claim's Holm level, 1 - alpha; for one-sided claims (goals, and \"not worse by more "
        'than the margin") it is 1 - 2 alpha. For failure rates, both rates. Every claim with '
        "its evidence: [findings.md](findings.md)."
    )


# --- by topic ---------------------------------------------------------------------------------


def claim_words(claim: ClaimFinding) -> dict[str, str | None]:
    """Sentences about a claim by topic; None for topics that do not apply."""
    unit = f" {claim.unit}" if claim.unit else ""
    status = "" if claim.status == claim.word else f", {claim.status}"
    return {
        "Status": f"**{claim.word}**{status} ({claim.standing}): {claim.reason}",
        "Claim": f"{claim.title} of {claim.contrast.treatment} {claim.direction} "
        f"{'to' if claim.direction == 'equal' else 'than'} {claim.contrast.control}; "
        f"`{claim.metric}`, margin {fmt(claim.margin)}{unit}",
        "To decide it": claim.needs and claim.needs.sentence,
        "Before runs": _gate(claim.gate),
        "Replaces": "; ".join(f"{i}: {why}" for i, why in claim.replaces.items()) or None,
        "Effect": _effect(claim),
        "Test": _test(claim.test, claim.family, claim.looks_taken),
        "Changed factors": _changed(claim),
        "Seeds": join_words(
            f"s{seed.seed} {_side(seed.treatment)} against {_side(seed.control)}"
            for seed in claim.seeds
        ),
        "Gates": join_words(f"{g.name} {'✓' if g.passed else '✗'}" for g in claim.gates),
        "Limits": "; ".join(claim.limits) or None,
        "Evidence": _evidence(claim.evidence),
        "Reproduce": f"`{claim.reproduce}`",
        "History": history_words(claim.history),
    }


def _gate(gate: GateBeforeRuns) -> str:
    if gate.problems:
        state = f"not refused: {gate.exempt}" if gate.exempt else "**refused**"
        return f"{'; '.join(gate.problems)} ({state})"
    if gate.power is None:
        return f"decidable; {gate.basis}"
    return f"decidable; power {fmt(gate.power, 2)} at its margin, {gate.basis}"


def _effect(claim: ClaimFinding) -> str | None:
    effect = claim.effect
    if effect is None:
        return None
    level = "" if effect.low is None else f", {percent(effect.level)} interval"
    return f"{fmt(effect.estimate)}{bounds(effect)}, n = {effect.n}{level}"


def _test(
    test: RatesTest | MeansTest | RanksTest | SurvivalTest | None,
    family: Family,
    taken: Sequence[LookTaken],
) -> str:
    size = counted(len(family.claims), "claim")
    place = f"level {fmt(family.alpha)} (Holm, {size} in {family.name})"
    if test is None:
        return f"none computed; {place}"
    words = [f"{test.name}, p = {fmt(test.p, 2)}, {place}"]
    if isinstance(test, RatesTest):
        rates = join_words(
            f"{name} {percent(r.estimate)} [{percent(r.low or 0.0)}, {percent(r.high or 0.0)}]"
            for name, r in test.rates.items()
        )
        words.append(f"rates {rates}")
    elif isinstance(test, SurvivalTest):
        words += [_look(look, "round") for look in test.looks]
    elif isinstance(test, RanksTest):
        dead = (
            f"{name} {percent(r.estimate)} [{percent(r.low or 0.0)}, {percent(r.high or 0.0)}]"
            for name, r in test.dead.items()
        )
        words.append(
            f"{effect_of_ranks(test)}; failed or collapsed {join_words(dead)}; p at least "
            f"{fmt(test.smallest_p, 2)} with this n"
        )
    else:
        words.append(
            f"exact sign-flip p = {fmt(test.sign_flip_p, 2)}, at least "
            f"{fmt(test.smallest_sign_flip_p, 2)} with this n"
        )
        if (probability := test.probability_of_claimed_order) is not None:
            words.append(f"probability of the claimed order {fmt(probability, 2)}")
    return "; ".join([*words, *(_look(look, "pair") for look in taken)])


def _look(look: LookTaken, noun: str) -> str:
    return (
        f"look after {counted(look.rounds, noun)}: p = {fmt(look.p, 2)}, "
        f"{fmt(look.allowed, 2)} allowed"
    )


def _changed(claim: ClaimFinding) -> str:
    if claim.changed is None:
        return "not known: the seeds of an arm differ in their settings, or there are none"
    return join_words(
        f"{name} ({control} → {treatment})" for name, (control, treatment) in claim.changed.items()
    )


def _side(side: SideOfSeed) -> str:
    return fmt(side.value) + ("" if side.outcome == "ok" else f" ({side.outcome})")


def _evidence(evidence: Sequence[Evidence]) -> str:
    """Number of result files by folder; findings.json lists each file with its hash."""
    folders = Counter(item.file.rpartition("/")[0] for item in evidence if item.in_git)
    artifacts = sum(not item.in_git for item in evidence)
    places = [f"{folder} ({counted(n, 'file')})" for folder, n in folders.items()]
    return join_words(
        [*places, *([f"{counted(artifacts, 'artifact')} of the runs"] if artifacts else [])]
    )


def history_words(history: Sequence[Verdict]) -> str:
    return "; ".join(
        f"{(item.date or 'no date')[:10]} {(item.commit or 'no commit')[:12]} "
        f"{item.status} ({item.kind}, n = {item.n})"
        for item in history
    )
