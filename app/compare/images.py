"""Images: truth and arms, amplitude, phase and difference; one zoom, one range, one profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import choose, escape, export, load, states
from app.compare import panels, plot_style
from app.compare.chosen import MEDIAN, Block, Chosen, fenced
from app.compare.panels import Profile
from app.compare.scenes import CHANNELS, Scene, Window, common_window, find
from app.summary import pictures
from study.evidence.format import join_words

ARRAYS = "app.compare.arrays"
PRINT = "app.compare.print_figures"

DIFFERENCES = ("amplitude", "phase", "both", "none")
MAPS = ("auto", "diverging", "cyclic")
WHOLE, MIDDLE = "whole", "middle"


@dataclass(frozen=True)
class Wanted:
    """Values of the selection widgets; `place`: container for the slider of a block."""

    difference: str
    phase_map: str
    along: str
    place: DeltaGenerator


def show(chosen: Chosen, found: Sequence[Block]) -> None:
    bar = st.container(horizontal=True, vertical_alignment="bottom")
    with bar:
        difference = choose.one("Difference to the truth", DIFFERENCES, "difference", "amplitude")
        phase_map = choose.one("Colours of the phase", MAPS, "phase_map", "auto")
        along = choose.one("Profile along", ("row", "column"), "along", "row")
    for block in fenced(found):
        place = bar if block.number == 1 else st.container(horizontal=True)
        scenes, absent = find(chosen, block.arms)
        if scenes:
            draw(chosen, block, scenes, Wanted(str(difference), str(phase_map), str(along), place))
        tell_absent(absent)
        if absent:
            pictures.committed(list(absent))


def draw(chosen: Chosen, block: Block, scenes: Sequence[Scene], wanted: Wanted) -> None:
    window = common_window(scenes)
    if min(window.shape) < 1:
        st.warning("The scored regions of these arms share no pixel: show them one by one.")
        return
    columns = columns_of(scenes, wanted.difference)
    ranges = panels.looks_of(scenes, window, wanted.phase_map)
    view = choose_view(window, len(columns) * (len(scenes) + (scenes[0].truth is not None)), block)
    with wanted.place:
        profile = choose_profile(view.window, wanted.along, block)
    bar = panels.scale_bar(pixel_m(scenes[0]), view.window.shape[1])
    names = join_words(one.arm for one in scenes)
    alt = (
        f"Columns truth, {names}; rows {join_words(columns)}; common colour range from the truth, "
        f"scale bar {bar[1]}"
    )
    zoom = panels.zoom_of(st.query_params.get("zoom", ""), view.window)
    made = panels.figure(scenes, view, columns, ranges, profile, bar, zoom)
    with st.container(key=block.key("images-zoom")):  # browser.js looks for this key
        plot_style.show(made, block.key("images"), alt, doubleClick="autosize")
    tell_seeds(chosen, scenes)
    st.caption(escape.markdown(key_words(columns, ranges, scenes, window)))
    lines = panels.profiles(scenes, window, profile, block.place)
    description = f"Amplitude and phase along {profile.along} {profile.at} of truth, {names}"
    with plot_style.wide(block.key("profile")):
        plot_style.show(lines, block.key("profile"), description)
    exports(chosen, block, scenes, window, profile, alt)


def tell_absent(absent: dict[str, str]) -> None:
    """One sentence per missing arm: not pulled, failed, another object."""
    for sentence in absent.values():
        state = "not pulled" if "not pulled" in sentence else "missing"
        icon, _ = states.look(state)
        st.info(escape.sentence(sentence), icon=icon)


def tell_seeds(chosen: Chosen, scenes: Sequence[Scene]) -> None:
    description = join_words(f"{one.arm} s{one.seed}" for one in scenes)
    usual = (
        "the seed with the first arm's median amplitude error"
        if load.results()[chosen.arms[0]].objects_differ  # so that all show one object
        else "each arm's seed with the median amplitude error"
    )
    how = (
        usual
        if chosen.seed == MEDIAN
        else f"seed {chosen.seed} of every arm (a baseline with one run shows that one)"
    )
    facts = f"One run per arm (n = 1), {chosen.weights}; {how}: {description}."
    st.caption(escape.markdown(facts))
    blank: dict[str, list[str]] = {}
    for one in scenes:
        if one.blank:
            blank.setdefault("; ".join(one.blank.values()), []).append(f"{one.arm} s{one.seed}")
    for reasons, named in blank.items():  # the images have it written across them
        st.caption(f":material/block: {escape.markdown(f'{join_words(named)}: {reasons}')}")


def columns_of(scenes: Sequence[Scene], difference: str) -> list[str]:
    if all(one.truth is None for one in scenes):
        st.caption("A measurement has no truth: no difference and no common phase to compare with.")
        return list(CHANNELS)
    wanted = CHANNELS if difference == "both" else (difference,)
    return [*CHANNELS, *(f"{channel} difference" for channel in wanted if channel in CHANNELS)]


def choose_view(window: Window, count: int, block: Block) -> panels.View:
    """The view that is sent to the browser: all pixels of `window`; if `count` panels of it are too
    large, what the user chooses: means over the whole, or the pixels of the middle."""
    whole = panels.fitting(window, count, True)
    if whole.step == 1:
        return whole
    part = choose.one("Pixels", (WHOLE, MIDDLE), block.key("pixels"), WHOLE)
    st.caption(
        f"{window.shape[0]:d} x {window.shape[1]:d} px in {count:d} panels are too large to send: "
        f"the whole is shown as means over {whole.step:d} x {whole.step:d} px, the middle pixel by "
        "pixel. The profile and every export have all pixels."
    )
    return panels.fitting(window, count, part != MIDDLE)


def choose_profile(window: Window, along: str, block: Block) -> Profile:
    low, high = (window.y0, window.y1) if along == "row" else (window.x0, window.x1)
    at = st.slider(
        f"{escape.markdown(along.capitalize())} of the profile (px)",
        low,
        high - 1,
        (low + high) // 2,
        key=block.key(f"at_{along}"),
        bind="query-params",
        width=320,
    )
    return Profile(along, at)


def pixel_m(one: Scene) -> float | None:
    """Side of an object pixel if the geometry is real."""
    manifest = one.dataset.manifest
    return None if manifest.nominal else manifest.geometry.object_pixel_m(manifest.n)


def key_words(
    columns: Sequence[str], ranges: dict[str, panels.Look], scenes: Sequence[Scene], window: Window
) -> str:
    description = [
        f"{ranges[c].title}: {ranges[c].low:.3g} to {ranges[c].high:.3g} {ranges[c].unit}, "
        f"{ranges[c].key}"
        for c in columns
    ]
    phase = (
        "the global phase against the truth is removed, as the scores do" if scenes[0].truth else ""
    )
    where = f"rows {window.y0}–{window.y1 - 1}, columns {window.x0}–{window.x1 - 1} of the object"
    return (
        f"{'; '.join(description)}; {phase}. Shown: {where}. Drag to zoom, double-click to return."
    )


def exports(
    chosen: Chosen, block: Block, scenes: Sequence[Scene], window: Window, profile: Profile,
    alt: str,
) -> None:  # fmt: skip
    facts = export.Facts.of(f"images_{chosen.checkpoint}", block.arms, ids_of(scenes), alt)
    drawable = any(one.truth is not None for one in scenes)
    export.popover(
        block.key("export_images"),
        facts,
        table=lambda: profile_table(scenes, window, profile),
        draw=(lambda: export.late(PRINT).images(scenes)) if drawable else None,
        arrays=lambda: export.late(ARRAYS).buttons(block.key("export_images"), facts, scenes),
    )


def ids_of(scenes: Sequence[Scene]) -> tuple[str, ...]:
    return tuple(f"{one.arm}/s{one.seed}/{one.checkpoint}.standard.amplitude.mae" for one in scenes)


def profile_table(scenes: Sequence[Scene], window: Window, profile: Profile) -> pandas.DataFrame:
    """The profile of every image, with the file that it is from and that file's hash."""
    start = window.x0 if profile.along == "row" else window.y0
    parts = []
    for one in scenes:
        for channel in CHANNELS:
            y = panels.cut(one, window, one.images[channel], profile)
            table = pandas.DataFrame({"px": start + np.arange(len(y)), "prediction": y})
            if one.truth is not None:
                table["truth"] = panels.cut(one, window, one.truth[channel], profile)
            parts.append(
                table.assign(
                    arm=one.arm,
                    seed=one.seed,
                    channel=channel,
                    along=profile.along,
                    at_px=profile.at,
                    evaluable=one.blank.get(channel, "yes"),
                    file=one.file,
                    sha256=one.digest,
                )
            )
    return pandas.concat(parts)
