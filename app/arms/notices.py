"""Notices around the table of Arms: no results, data sets, flags, selection."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import escape, layout, load
from app.arms.build import flags as found_flags
from study.evidence.model import Flag, ScaleFlag


def empty() -> None:
    """Shown without results: how to get some, or that they are being computed."""
    with st.container(border=True):
        st.subheader("No runs in this checkout", anchor=False)
        st.write("Download existing results, or compute them here:")
        st.code("make pull\nmake repro", language="sh")
        st.caption("To add your own arm, open the page New arm.")
        layout.link(
            "runs", "Runs are in progress" if load.busy() else "Show queued and running jobs"
        )


def bar(
    place: DeltaGenerator, shown: int, of: int, fences: int, selected: list[str], checkpoint: str
) -> None:
    """The number of listed arms, and buttons for the selected ones."""
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
            st.caption("Select arms to compare them.")


def flags(names: Collection[str]) -> None:
    """Arms with equal results, and objects with a wrong amplitude scale."""
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
