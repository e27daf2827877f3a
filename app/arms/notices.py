"""What Arms says around its table: empty, fenced, flagged, selected."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import escape, layout, load
from app.arms.build import flags as found_flags
from study.evidence.model import Flag, ScaleFlag


def empty() -> None:
    """No results here: how to get some, or that they are being computed."""
    with st.container(border=True):
        st.subheader("No runs in this checkout", anchor=False)
        st.write("Bring what others computed, or compute it here (minutes on a laptop):")
        st.code("make pull\nmake repro", language="sh")
        st.caption("An arm of your own starts on the page New arm.")
        layout.link("runs", "Runs are in progress" if load.busy() else "What is queued and running")


def bar(
    place: DeltaGenerator, shown: int, of: int, fences: int, selected: list[str], checkpoint: str
) -> None:
    """How many arms are shown, and what may be done with the selected ones."""
    with place:
        st.markdown(f"**{shown:d} of {of:d} arms**" if shown != of else f"**{of:d} arms**")
        if fences > 1:
            st.badge(
                f"{fences:d} data sets, listed separately and not compared",
                icon=":material/fence:",
                color="orange",
            )
        if len(selected) > 1:
            layout.link(
                "compare", f"Compare these {len(selected)}", arms=selected, checkpoint=checkpoint
            )
        elif selected:
            layout.link(
                "compare",
                f"Open {escape.markdown(selected[0])} in Compare",
                arms=selected,
                checkpoint=checkpoint,
            )
            if "/" not in selected[0]:
                name = selected[0]
                layout.link("new_arm", f"More seeds of {escape.markdown(name)}",
                            **{"from": name, "more": "1"})  # fmt: skip
        else:
            st.caption("Tick arms to compare them.")


def flags(names: Collection[str]) -> None:
    """Two arms with one result, and objects of the wrong brightness."""
    same, scales = found_flags()
    same = [flag for flag in same if set(flag.arms) & set(names)]
    scales = [flag for flag in scales if flag.arm in names]
    for flag in same:
        if flag.is_error:
            st.error(escape.markdown(flag.words), icon=":material/error:")
    rest = [flag for flag in same if not flag.is_error]
    if rest or scales:
        sentences = [*(flag.words for flag in rest), *(flag.reason for flag in scales)]
        with st.expander(_heading(rest, scales), icon=":material/flag:"):
            st.markdown("\n".join(f"- {escape.markdown(words)}" for words in sentences))


def _heading(same: Sequence[Flag], scales: Sequence[ScaleFlag]) -> escape.Markdown:
    parts = [f"{len(same)} equal results, each with its reason"] if same else []
    parts += [f"{len(scales)} amplitude scales off 1"] if scales else []
    return "Flags: " + "; ".join(parts)
