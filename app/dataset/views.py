"""Sections of the page from top to bottom: facts, object, probe, scan, patterns, checks, users."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from app import choose, escape, layout, states
from app.dataset import consumers, figures, probes, reading, scan, sets
from app.dataset.figures import Pixel
from app.escape import Markdown
from study.formats.dataset import Manifest
from study.settings import SPLITS, UserError

STILL = {"displayModeBar": False, "scrollZoom": True}


def chart(figure: Any, alt: str, key: str, **options: Any) -> Any:
    return st.plotly_chart(figure, key=key, config=STILL, alt=alt, **options)


def pixel_of(manifest: Manifest) -> Pixel:
    """Side of the object pixel, unknown for nominal lengths."""
    known = not manifest.nominal
    return Pixel(manifest.geometry.object_pixel_m(manifest.n) * 1e9 if known else None)


def absent(entry: sets.Entry) -> None:
    """Show a missing data set: how to get it, its parameters, and the arms that need it."""
    states.chip("not pulled", "not here")
    st.info(
        f"The data set {escape.markdown(entry.id)} is not in this checkout. To get it: "
        f"{escape.sentence(entry.how_to_get)}."
    )
    if entry.asked is not None:
        st.markdown("**Requested**")
        request = dict(flat(entry.asked.model_dump(mode="json")))
        st.dataframe(_lines(request), hide_index=True, height="content", alt="Requested settings")
    st.subheader("Used by", anchor=False)
    used_by(entry, None)


# --- facts ------------------------------------------------------------------------------------


def facts(manifest: Manifest) -> None:
    with st.container(horizontal=True, gap="small"):
        states.chip("ok", escape.markdown(manifest.kind))
        if manifest.nominal:
            st.badge(
                "lengths in px",
                icon=":material/straighten:",
                color="gray",
                help="Energy and distance are nominal values: only lengths in pixels are known.",
            )
        else:
            side = manifest.geometry.object_pixel_m(manifest.n) * 1e9
            st.badge(f"{side:.4g} nm per px", icon=":material/straighten:", color="blue")
        digest = escape.markdown(manifest.content_sha256)
        st.badge(
            f"content {digest[:12]}", icon=":material/fingerprint:", color="gray",
            help=f"sha256 of all arrays: {digest}. `study verify` checks it.",
        )  # fmt: skip
    labels = {
        "patterns": " / ".join(f"{manifest.patterns[name]:,}" for name in SPLITS),
        "px per pattern": f"{manifest.n} × {manifest.n}",
        "photons per pattern": f"{manifest.photons_per_pattern:.4g}",
        "patterns per sample": str(manifest.group_size),
    }
    for place, (label, value) in zip(st.columns(len(labels)), labels.items(), strict=True):
        about = " / ".join(SPLITS) if label == "patterns" else None
        place.metric(escape.markdown(label), escape.markdown(value), help=about)


def manifest_table(manifest: Manifest) -> None:
    """Show the content of the manifest: statements, request, units and geometry."""
    if manifest.statements:
        st.markdown("**Statements**")
        for line in manifest.statements:
            st.text(f"· {line}")
    scales = {
        "photon_scale S, amplitude to sqrt(photons)": f"{manifest.photon_scale:.6g}",
        "probe_norm": f"{manifest.probe_norm:.6g}",
        **{f"object_norm, {name}": f"{manifest.object_norm[name]:.6g}" for name in SPLITS},
        "photon energy": f"{manifest.geometry.energy_j / 1.602176634e-16:.6g} keV",
        "distance": f"{manifest.geometry.distance_m:.6g} m",
        "detector pixel": f"{manifest.geometry.pixel_m * 1e6:.6g} µm",
        "code version": manifest.code_version,
        "content sha256": manifest.content_sha256,
    }
    nominal = " (nominal)" if manifest.nominal else ""
    left, right = st.columns(2)
    left.markdown("**Requested**")
    requested = _lines(dict(flat(manifest.request)))
    left.dataframe(requested, hide_index=True, height="content", alt="Requested settings")
    right.markdown(f"**Units and geometry{nominal}**")
    right.dataframe(_lines(scales), hide_index=True, height="content", alt="Units and geometry")


def _lines(table: dict[str, str]) -> list[dict[str, str]]:
    return [{"what": key, "value": str(value)} for key, value in table.items()]


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, item in value.items()
            for pair in flat(item, f"{prefix}.{key}" if prefix else str(key))
        ]
    return [(prefix, "null" if value is None else f"{value}")]


# --- object and probe -------------------------------------------------------------------------


def object_and_probe(part: reading.Part, manifest: Manifest, image: int, others: Any) -> None:
    pixel = pixel_of(manifest)
    places = st.columns(4, gap="small")
    with places[0].container():
        st.markdown("**Object, amplitude**")
        _object(part, image, pixel, phase=False)
    with places[1].container():
        st.markdown("**Object, phase**")
        _object(part, image, pixel, phase=True)
    message = "Probe assumed by every method" if probes.assumed(manifest) else "Probe"
    with places[2].container():
        st.markdown(f"**{message}, amplitude**")
        _field(part.probe, pixel, phase=False, name="probe", key="probe_amplitude")
    with places[3].container():
        st.markdown(f"**{message}, phase**")
        _field(part.probe, pixel, phase=True, name="probe", key="probe_phase")
    if probes.assumed(manifest):
        _true_probe(part, manifest, others, pixel)


def _object(part: reading.Part, image: int, pixel: Pixel, phase: bool) -> None:
    truth = part.split.obj
    if truth is None:
        height, width = part.split.object_shape
        st.info(
            f"The true object of a measurement is unknown. Its frame is {height:d} × {width:d} px; "
            "use an iterative reconstruction (`study reconstruct rpie`) as the reference."
        )
        return
    _field(truth[image], pixel, phase, "true object", f"object_{'phase' if phase else 'amplitude'}")
    step = figures.thinned(np.abs(truth[image]))[1]
    if step > 1:
        st.caption(f"Every {step:d}th pixel is shown.")


def _field(field: np.ndarray, pixel: Pixel, phase: bool, name: str, key: str) -> None:
    if phase:
        values = probes.phase_where_lit(field)
        shades = figures.phase_shades(values)
    else:
        values = np.abs(field)
        shades = figures.amplitude_shades(values, "amplitude")
    kind = "phase in radians" if phase else "amplitude"
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    alt = f"{name}, {kind}, {values.shape[0]} by {values.shape[1]} px, {low:.3g} to {high:.3g}"
    chart(figures.picture(values, shades, pixel), alt, key)


def _true_probe(part: reading.Part, manifest: Manifest, others: Any, pixel: Pixel) -> None:
    st.warning(
        "This data set was simulated with a different probe than the one it stores: "
        + _differences(*map(manifest.request.get, ("probe", "assumed_probe")))
    )
    sister = probes.sister_with_truth(manifest, others)
    if sister is None:
        st.caption("The true probe is not stored in any data set of this checkout.")
        return
    truth = probes.true_probe(sister)
    st.caption(
        f"The true probe, as stored in {escape.markdown(sister.id)}, and its difference from the "
        "assumed one:"
    )
    places = st.columns(4, gap="small")
    product = part.probe * np.conj(truth)
    lit = np.abs(truth) > 0.05 * np.abs(truth).max()
    with places[0].container():
        st.markdown("**True probe, amplitude**")
        _field(truth, pixel, False, "true probe", "true_probe_amplitude")
    with places[1].container():
        st.markdown("**True probe, phase**")
        _field(truth, pixel, True, "true probe", "true_probe_phase")
    with places[2].container():
        st.markdown("**Difference of amplitude**")
        change = np.abs(part.probe) - np.abs(truth)
        top = float(np.abs(change).max()) or 1.0
        shades = figures.Shades("RdBu_r", -top, top, "assumed minus true")
        chart(figures.picture(change, shades, pixel), f"difference up to {top:.3g}", "probe_diff")
    with places[3].container():
        st.markdown("**Difference of phase**")
        turn = np.where(lit, np.angle(product), np.nan)
        chart(
            figures.picture(turn, figures.phase_shades(turn), pixel),
            f"phase of assumed times conjugate of true, up to {np.nanmax(np.abs(turn)):.3g} rad",
            "probe_turn",
        )


def _differences(true: Any, assumed: Any) -> Markdown:
    left, right = dict(flat(true)), dict(flat(assumed))
    keys = [key for key in {**left, **right} if left.get(key) != right.get(key)]
    parts = (f"{key} {left.get(key, '–')} (true), {right.get(key, '–')} (assumed)" for key in keys)
    return escape.markdown("; ".join(parts) + ".")


# --- scan and patterns ------------------------------------------------------------------------


def scan_and_patterns(
    entry: sets.Entry, part: reading.Part, manifest: Manifest, split: str, image: int
) -> None:
    total = len(part.frames)
    chosen = _pattern_slider(total)
    on_image = np.flatnonzero(part.image_index == image)
    corners = part.corners_px[on_image]
    found = scan.steps(corners, part.probe, part.split.object_shape)
    truth = part.split.obj
    ground = found.dose if truth is None else np.abs(truth[image])
    photons = reading.photons(entry.folder, split)
    counts = part.frames[np.array([chosen])][0]
    pixel = pixel_of(manifest)
    places = st.columns(3, gap="small")
    with places[0].container():
        st.markdown("**Scan map** · click a position")
        figure = figures.scan_map(
            ground, corners + manifest.n / 2, on_image, chosen, manifest.n, pixel
        )
        chart(
            figure,
            f"{len(on_image)} window centres of split {split} over the "
            f"{'dose' if truth is None else 'true amplitude'}; pattern {chosen} is outlined",
            "scan_map",
            on_select=_take_position,
            selection_mode="points",
        )
    with places[1].container():
        st.markdown("**Illumination**")
        shades = figures.Shades("cividis", 0.0, 1.0, "relative to the brightest pixel")
        alt = f"sum of |P|² over the positions; {100 * found.lit_share:.0f} % of the frame is lit"
        chart(figures.picture(found.dose, shades, pixel), alt, "coverage")
    with places[2].container():
        y, x = part.corners_px[chosen]
        st.markdown(f"**Pattern {chosen:d}** · corner y {y:.4g}, x {x:.4g} px")
        chart(
            figures.pattern(counts, photons.brightest),
            f"counts of pattern {chosen}, {counts.sum():.6g} photons, brightest {counts.max():.6g}",
            "pattern_view",
        )
    st.caption(escape.markdown(_scan_sentence(found, part, len(on_image), pixel)))
    _histograms(photons, float(counts.sum(dtype=np.float64)))


def _pattern_slider(total: int) -> int:
    """The pattern selected by `?pattern=`, 0 to total - 1; other values are reported and replaced
    by 0."""
    choose.tell_outside("Pattern", range(total), "pattern")
    if st.session_state.get("pattern", 0) > total - 1:
        st.session_state["pattern"] = 0
    if total < 2:
        return 0
    return st.slider("Pattern", 0, total - 1, key="pattern", bind="query-params")


def _take_position() -> None:
    points = st.session_state["scan_map"]["selection"]["points"]
    numbers = [point.get("customdata") for point in points]
    if numbers and numbers[0] is not None:
        first = numbers[0]
        st.session_state["pattern"] = int(first[0] if isinstance(first, list) else first)


def _scan_sentence(found: scan.Steps, part: reading.Part, count: int, pixel: Pixel) -> str:
    stride = part.split.stride_px
    kind = f"raster with a step of {stride} px" if stride else "positions not on a raster"
    step = f"{found.step_px:.3g} px"
    wide = f"{found.diameter_px:.3g} px"
    if pixel.side_nm:
        step += f" ({figures.length_text(float(f'{found.step_px * pixel.side_nm:.3g}'))})"
        wide += f" ({figures.length_text(float(f'{found.diameter_px * pixel.side_nm:.3g}'))})"
    return (
        f"{count:,} positions, {kind}; median distance to the nearest position {step}, "
        f"illumination diameter {wide} (disk with the probe's effective area), linear overlap "
        f"{100 * found.overlap:.0f} %; {100 * found.lit_share:.0f} % of the frame receives more "
        "than 1 % of the largest dose per pixel."
    )


def _histograms(photons: reading.Photons, chosen: float) -> None:
    left, right = st.columns(2, gap="small")
    sample = (
        f"all {photons.total:,} patterns"
        if photons.sampled == photons.total
        else f"{photons.sampled:d} of {photons.total:,} patterns, evenly spaced"
    )
    low, mid, high = np.percentile(photons.sums, [0, 50, 100])
    with left.container():
        st.markdown("**Photons per pattern**")
        alt = f"histogram of photons per pattern, {low:.4g} to {high:.4g}, median {mid:.4g}"
        chart(figures.sum_histogram(photons, chosen), alt, "sum_histogram")
        st.caption(f"{sample}; {low:.4g} to {high:.4g}, median {mid:.4g}. Line: this pattern.")
    with right.container():
        st.markdown("**Photons per pixel**")
        alt = f"histogram of photons per nonzero pixel up to {photons.brightest:.4g}"
        chart(figures.pixel_histogram(photons), alt, "pixel_histogram")
        st.caption(
            f"{sample}; {100 * photons.dark_share:.1f} % of the pixels have no photons, the "
            f"brightest has {photons.brightest:.4g}."
        )


# --- checks and users -------------------------------------------------------------------------


def split_checks(entry: sets.Entry) -> None:
    try:
        found = reading.checks(entry.folder)
    except UserError as error:
        st.error(escape.sentence(str(error)))
        return
    for check in found:
        label = escape.markdown(f"{check.question}: {check.label}")
        sentence = escape.markdown(check.sentence)
        st.markdown(f"{states.text(check.state, label)} {sentence}")


def used_by(entry: sets.Entry, sha256: str | None) -> None:
    users = consumers.consumers(entry, sha256)
    if not users:
        st.caption("No arm uses this data set.")
        return
    ran = {user.arm: user for user in users}
    moved = [user.arm for user in users if user.state == "differs"]
    if moved:
        st.warning(
            f"{len(moved)} of {len(users)} arms have results for different content of this data "
            "set. They are shown, but not compared until they run again."
        )
    for name, (asks, arms) in consumers.questions(entry, ran).items():
        _question(entry, name, asks, [arm for arm in arms if ran[arm].state != "missing"], arms)
    for key, count in consumers.sections(entry).items():
        st.caption(f"Named in `{escape.markdown(key)}` of params.yaml: {count:d} times.")
    rows = [{"arm": u.arm, "question": u.asks, "seeds": u.seeds, "results": u.ran} for u in users]
    st.dataframe(
        rows, hide_index=True, height="content" if len(rows) < 14 else 460,
        alt=f"{len(rows)} arms that use this data set, with their seeds and results",
    )  # fmt: skip
    stored = [user.arm for user in users if user.state == "ok"]
    if stored and not entry.pipeline:
        layout.link("compare", f"Compare the {len(stored)} arms with results", arms=stored)


def _question(entry: sets.Entry, name: str, asks: str, stored: list[str], arms: list[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{escape.markdown(name)}**")
        st.text(f"{asks} {len(arms)} arms, {len(stored)} with results.")
        if stored:
            layout.link("compare", "Compare", arms=stored)
