"""The form on the page: the base, the fields and the resulting proposal for an arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from app import choose, load
from app.escape import markdown as escaped
from app.new_arm import fields, form
from app.new_arm.form import Cell
from app.new_arm.networks import ask_again, networks
from study.editing.arms import Draft, Planned, Takes, parse_seeds, planned
from study.settings import Arm, Row, Study, UserError, seeds_text

WIDE = ("Network", "Method")
WIDTH = 150  # px per field: four fields per line in the network card, two in the other cards


@dataclass(frozen=True)
class Proposal:
    """The state of the form. `plan` is None for an untouched or invalid form (see `refused`).

    `whole`: whether the fields of the networks were known when the form was read; if they arrive
    later, the page is drawn again. `lacking`: why they are unavailable.
    """

    base: Row
    draft: Draft
    plan: Planned | None
    refused: Mapping[str, str]  # field -> error message; "" for messages without a field
    takes: Takes
    whole: bool
    lacking: str | None = None


def read(study: Study, base: str) -> tuple[Proposal, dict[str, list[Cell]]]:
    """Read the form before it is drawn: the texts of the widgets are in the session state."""
    row = study.arms[base]
    answer, lacking = _networks()
    takes = {name: tuple(schema["properties"]) for name, schema in (answer or {}).items()}
    parts = fields.sections(row, answer or {}, _data_sets(study, row))
    requested = _address(row, parts)
    cells = form.cells(base, row, parts, takes, lambda *field: _text(requested, *field))
    for sentence in form.no_choices(cells, requested):
        st.warning(escaped(sentence))
    draft, refused = _draft(study, base, row, form.settings_of(cells), requested)
    plan = None
    if not refused:
        try:
            plan = planned(study, draft, takes)
        except UserError as error:
            untouched = not draft.settings
            refused = {} if untouched else form.wrong(str(error), cells)
    return Proposal(row, draft, plan, refused, takes, answer is not None, lacking), cells


def _networks() -> tuple[Mapping[str, fields.Schema] | None, str | None]:
    """The fields of the networks, or why they are unavailable; (None, None) while loading."""
    requested = networks()
    if not requested.done:
        return None, None
    if requested.answer is None:
        ask_again()
        return None, requested.refusal
    return requested.answer, None


def _draft(
    study: Study, base: str, row: Row, settings: tuple[str, ...], asked: Mapping[str, str]
) -> tuple[Draft, dict[str, str]]:
    own = seeds_text(row.seeds)
    text = _text(asked, seeds_key(base), "seeds", own) if isinstance(row, Arm) else own
    seeds, refused = None, {}
    try:
        seeds = None if text.strip() == own else parse_seeds(text)
    except UserError as error:
        refused["seeds"] = str(error)
    name = _typed("name") or suggested(study, base, settings)
    question = _typed("asks")
    return Draft(name, base, settings, question or None, seeds), refused


def _typed(key: str) -> str:
    """The text of a widget that is bound to the address, even before it is first drawn."""
    return str(st.session_state.get(key) or st.query_params.get(key) or "").strip()


def seeds_key(base: str) -> str:
    return f"new:{base}:seeds"


def suggested(study: Study, base: str, settings: Sequence[str]) -> str:
    """An unused arm name that describes the first two changes."""
    words = [base]
    for setting in settings[:2]:
        path, _, text = setting.partition("=")
        words += [text] if path.endswith(("name", "algorithm")) else [path.split(".")[-1], text]
    kept = "".join(
        c if c in "abcdefghijklmnopqrstuvwxyz0123456789" else "_" for c in "_".join(words)
    )
    stem = "_".join(part for part in kept.split("_") if part)[:56]
    return next(
        n for i in range(1, 10_000) if (n := stem if i == 1 else f"{stem}_{i}") not in study.arms
    )


def _data_sets(study: Study, row: Row) -> list[str]:
    imported = sorted(
        f"imported/{p.parent.name}" for p in load.ROOT.glob("imported/*/manifest.json")
    )
    return list(dict.fromkeys([row.data, *(f"data/{name}" for name in study.data), *imported]))


def _address(row: Row, parts: Sequence[fields.Section]) -> dict[str, str]:
    """Settings in the address, with a warning for unknown fields.

    Fields of the networks are skipped while the networks are still loading.
    """
    known = {f"{part.path}.name" for part in parts}
    known |= {f.path for part in parts for found in part.variants.values() for f in found}
    given = st.query_params.get_all("set")
    late = any(part.path == "generator" and not part.variants for part in parts)
    given = [value for value in given if not (late and value.startswith("generator."))]
    seeds = st.query_params.get("seeds")
    requested = {} if seeds is None else {"seeds": seeds}
    try:
        return {**requested, **form.parsed_address(given, list(known))}
    except UserError as error:
        st.warning(escaped(str(error)))
        return requested


def _text(asked: Mapping[str, str], key: str, path: str, default: str) -> str:
    if key not in st.session_state:
        st.session_state[key] = asked.get(path, default)
    return str(st.session_state[key])


def remember(proposal: Proposal) -> None:
    """Store the form in the address, so that it survives a reload and can be shared as a link."""
    if not proposal.whole:
        return
    settings = list(proposal.draft.settings)
    if st.query_params.get_all("set") != settings:
        st.query_params["set"] = settings
    seeds = proposal.draft.seeds
    if seeds is not None:
        st.query_params["seeds"] = seeds_text(seeds)
    elif "seeds" in st.query_params and "seeds" not in proposal.refused:
        del st.query_params["seeds"]


# --- on the page ------------------------------------------------------------------------------


def choose_base(study: Study) -> str:
    base = choose.one("Start from", list(study.arms), "from", "control")
    assert base is not None, "a study without arms is refused when it is read"
    if st.session_state.setdefault("new-arm-base", base) != base:
        st.session_state["new-arm-base"] = base
        for key in ("set", "seeds"):
            st.query_params.pop(key, None)
    return base


def draw(base: str, proposal: Proposal, cells: Mapping[str, Sequence[Cell]]) -> None:
    """Draw the fields under their headings: the network full width, the rest in two columns."""
    for heading in (heading for heading in cells if heading in WIDE):
        _group(base, heading, cells[heading], proposal)
    columns = st.columns(2)
    heights = [0, 0]
    for heading, found in cells.items():
        if heading in WIDE:
            continue
        shorter = heights.index(min(heights))
        heights[shorter] += 1 + (len(found) + 1) // 2
        with columns[shorter]:
            _group(base, heading, found, proposal)


def _group(base: str, heading: str, found: Sequence[Cell], proposal: Proposal) -> None:
    with st.container(border=True):
        st.markdown(f"**{escaped(heading)}**")
        with st.container(horizontal=True, gap="small"):
            if heading == "Seeds":
                with st.container(width=WIDTH, gap="xxsmall"):
                    help = "Numbers and ranges, such as 1-6, 11"
                    st.text_input("seeds", key=seeds_key(base), help=help, max_chars=200)
                    _refusal(proposal, "seeds")
            for cell in found:
                with st.container(width=WIDTH, gap="xxsmall"):
                    _widget(cell)
                    _refusal(proposal, cell.field.path)
        if heading == "Network" and proposal.lacking is not None:
            message = f"The options of the networks are unavailable: {proposal.lacking}"
            st.error(escaped(message), icon=":material/error:")
        elif heading == "Network" and not proposal.whole:
            st.caption("Loading the options of the networks …")


def _widget(cell: Cell) -> None:
    name = escaped(cell.field.name)
    label = f":orange[:material/edit:] {name}" if cell.changed else name
    was = "not in the base" if cell.before is None else f"base: {escaped(cell.before)}"
    help = f"{escaped(cell.field.path)}, {was}"
    if cell.field.hint:
        help += f"; {escaped(cell.field.hint)}"
    if cell.field.choices:
        st.selectbox(label, cell.field.choices, key=cell.key, help=help)
    else:
        st.text_input(label, key=cell.key, help=help, max_chars=200)


def _refusal(proposal: Proposal, path: str) -> None:
    if path in proposal.refused:
        st.caption(f":red[:material/error: {escaped(proposal.refused[path])}]")
