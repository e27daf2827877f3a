"""The claim that a new arm is meant to test, registered with the arm before any of its runs."""

from __future__ import annotations

import re

import streamlit as st

from app import load
from app.escape import Markdown
from app.escape import markdown as escaped
from app.new_arm.address import LONGEST, Address
from app.new_arm.form_view import Proposal
from study.editing.claiming import CLAIMS, ClaimDraft, check_decidable, proposed_seeds, with_claim
from study.evidence.claims import FAMILY_LIMIT, RATE, load_claims
from study.evidence.metric_catalog import KNOWN, OUTCOME, Column
from study.settings import Arm, UserError, seeds_text

USUAL = "last.standard.amplitude.mae"
DIRECTIONS = ("lower", "higher", "equal")


def ask(proposal: Proposal) -> tuple[ClaimDraft | None, str | None]:
    """Draw the claim form. Returns the claim (None without one) and why it is invalid (or None)."""
    if not isinstance(proposal.base, Arm) or proposal.plan is None:
        return None, None
    address = Address(proposal.whole)
    if not st.toggle("Register a claim before the run", key="with_claim", bind="query-params"):
        address.forget()
        return None, None
    draft = proposal.draft
    address.begin("metric", "claim-metric", USUAL, _metrics())
    metric = st.selectbox(
        "metric", _metrics(), format_func=_titled, key="claim-metric", help="One number per run"
    )
    address.keep("metric", metric, USUAL)
    column = RATE if metric == OUTCOME else KNOWN[metric]
    address.begin("direction", f"claim-direction-{metric}", _expected(column), DIRECTIONS)
    direction = st.segmented_control(
        "direction", DIRECTIONS, key=f"claim-direction-{metric}", required=True,
        help=f"{escaped(draft.name)} compared with {escaped(draft.base)}",
    ) or _expected(column)  # fmt: skip
    address.keep("direction", direction, _expected(column))
    with st.container(horizontal=True, gap="small"):
        margin = _text(
            address, "margin", f"in {escaped(column.margin_unit)}", metric, _margin(column)
        )
        seeds = _text(address, "needed seeds", "seed pairs needed to decide it", "", "8")
        name = _text(address, "id", "capital letters, digits, dashes", draft.name, _id(draft.name))
        family = _text(address, "family", "claims corrected together", draft.name, draft.name)
    words = f"{draft.name} ends at {_words(direction, column)} {draft.base}."
    usual, key = words[0].upper() + words[1:], f"claim-text-{draft.name}-{metric}-{direction}"
    address.begin("text", key, usual)
    text = st.text_area("claim", key=key, height=70, max_chars=LONGEST)
    address.keep("text", text, usual)
    try:
        claim = _claim(name, text, metric, direction, margin, family, seeds)
        longer = with_claim(load.ROOT / CLAIMS, claim, draft, proposal.plan.changes)
        study = load.study()
        study = study.model_copy(update={"arms": {**study.arms, draft.name: proposal.plan.row}})
        check_decidable(load.ROOT, longer, claim.id, study, load.results())
        registered = proposed_seeds(load.ROOT, study, draft, proposal.plan.row, claim)
    except UserError as error:
        st.caption(f":red[:material/error: {escaped(str(error).split('claims.yaml: ')[-1])}]")
        return None, str(error)
    _standing(proposal, claim, registered)
    return claim, None


def _claim(
    name: str, text: str, metric: str, direction: str, margin: str, family: str, seeds: str
) -> ClaimDraft:
    numbers = []
    for what, given, kind in (("margin", margin, float), ("needed seeds", seeds, int)):
        try:
            numbers.append(kind(given))
        except ValueError:
            raise UserError(f"{what} is {given!r}; it must be a number") from None
    line = " ".join(text.split())
    if not (line + name + family).isprintable():
        raise UserError("the claim contains unprintable characters; remove them")
    return ClaimDraft(name, line, metric, direction, float(numbers[0]), family, int(numbers[1]))


def _text(address: Address, label: Markdown, help: Markdown, about: str, usual: str) -> str:
    """A one-line field of the claim; `about`: what its default text depends on."""
    field = label.replace(" ", "-")
    key = f"claim-{field}-{about}"
    address.begin(field, key, usual)
    text = st.text_input(label, key=key, help=help, max_chars=64, width=150).strip()
    address.keep(field, text, usual)
    return text


def _metrics() -> list[str]:
    paths = [path for path, column in KNOWN.items() if column.better is not None]
    return [USUAL, OUTCOME, *(path for path in paths if path != USUAL)]


def _titled(path: str) -> str:
    return "failure rate (outcome)" if path == OUTCOME else f"{KNOWN[path].title} ({path})"


def _expected(column: Column) -> str:
    return column.better or "lower"


def _margin(column: Column) -> str:
    return "0.8" if column.path == OUTCOME else "0.02"


def _words(direction: str | None, column: Column) -> str:
    if direction == "equal":
        return f"the same {column.title} as"
    return f"a {direction} {column.title} than"


def _id(arm: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "-", arm.upper()).strip("-") + "-001"


def _standing(proposal: Proposal, claim: ClaimDraft, registered: tuple[int, ...]) -> None:
    """Show, before the commit, whether the claim can become confirmatory."""
    notes = []
    ran = (
        sorted(set(load.results()[proposal.draft.base].seeds) & set(_seeds(proposal)))
        if (proposal.draft.base in load.results())
        else []
    )
    if ran:
        seeds = ", ".join(map(str, ran[:6])) + (" …" if ran[6:] else "")
        notes.append(
            f"With these seeds the claim is exploratory: seeds {seeds} of {proposal.draft.base} "
            "already have results. "
            "To make it confirmatory, use fresh seeds for both arms."
        )
    else:
        notes.append("Confirmatory if params.yaml and claims.yaml are committed before its runs.")
    if len(_seeds(proposal)) != claim.needed_seeds:
        notes.append(
            f"The arm has {len(_seeds(proposal))} seeds, but the claim needs {claim.needed_seeds}."
        )
    book = load_claims(load.ROOT / CLAIMS) if (load.ROOT / CLAIMS).is_file() else None
    others = [c.id for c in book.families.get(claim.family, ())] if book else []
    if others:
        notes.append(
            f"Family {claim.family} already contains {', '.join(others)} (at most {FAMILY_LIMIT} "
            "claims): with another claim they are no longer confirmatory."
        )
    if registered and set(registered) != set(_seeds(proposal)):
        notes.append(f"Seeds derived from the registered claims: {seeds_text(registered)}.")
    st.caption(" ".join(escaped(note) for note in notes))


def _seeds(proposal: Proposal) -> tuple[int, ...]:
    return proposal.plan.row.seeds if proposal.plan else ()
