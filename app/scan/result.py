"""The reconstruction of an imported scan: form, progress, images, R-factors, exports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from app import access, actions, escape, export, load
from app.compare import plot_style, residuals
from app.compare.scenes import Scene, aligned
from app.dataset import figures
from app.dataset.views import pixel_of
from app.scan import views
from app.scan_tasks import steps
from app.scan_tasks.work import Scan, Task
from study.evidence.format import join_words
from study.formats.arrays import misfit, read_arrays
from study.formats.dataset import Manifest
from study.formats.reconstruction import checked
from study.reading import hash_of_file
from study.settings import Arm, UserError

ARRAYS = "app.compare.arrays"
PRINT = "app.scan.print"
RPIE = "rPIE (iterative, no training)"
STILL = {"displayModeBar": False, "scrollZoom": True}


# --- the form ---------------------------------------------------------------------------------


def sources(manifest: Manifest) -> dict[str, str]:
    """Label -> source for `study reconstruct`: rPIE, and one stored run per arm whose network
    accepts patterns of this size and group size."""
    found = {RPIE: "rpie"}
    study = load.study() if (load.ROOT / "params.yaml").is_file() else None
    for name, row in study.arms.items() if study else ():
        data = study.data.get(row.data.removeprefix("data/")) if study else None
        if not isinstance(row, Arm) or data is None:
            continue
        if (data.n, data.group_size) != (manifest.n, manifest.group_size):
            continue
        for seed in row.seeds:
            folder = load.run_folder(name, seed)
            if (folder / "last.pt").is_file():
                found[f"{name} s{seed}"] = str(folder)
                break
    return found


def form(scan: Scan, manifest: Manifest) -> None:
    """Draw the source and its options, the command, and the button that starts it."""
    found = sources(manifest)
    left, right = st.columns(2, gap="medium")
    with left:
        label = st.selectbox("Method", list(found), key="scan-source")
        if len(found) == 1:
            st.caption(
                f"No stored network accepts patterns of {manifest.n:d} px in groups of "
                f"{manifest.group_size:d}."
            )
    source = found[label or RPIE]
    options: list[str] = []
    with right:
        if source == "rpie":
            options = _rpie_options()
    views.command(steps.reconstruct_command(scan, source, options))
    if access.read_only():
        return
    if st.button("Reconstruct", key="scan-reconstruct", icon=":material/image:", type="primary"):
        views.attempt(actions.reconstruct_scan, scan.id, source, options)
        st.rerun()


def _rpie_options() -> list[str]:
    """Draw the options of rPIE. Values are kept while a reconstruction hides the fields."""
    kept = st.session_state.setdefault("scan-options", {"passes": 50, "modes": 1, "refine": False})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        passes = st.number_input("Passes", 1, 10_000, kept["passes"], key="scan-passes", width=140)
        modes = st.number_input("Probe modes", 1, 20, kept["modes"], key="scan-modes", width=140)
    refine = st.checkbox("Refine the positions", kept["refine"], key="scan-refine")
    st.session_state["scan-options"] = {"passes": passes, "modes": modes, "refine": refine}
    options = ["--passes", str(int(passes)), "--modes", str(int(modes))]
    return [*options, "--refine-positions"] if refine else options


# --- the result -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """A reconstruction as a scene.

    `probe`: (m, n, n) complex. `positions_px`, `shift_px`: (J, 2) as (y, x), or None if the
    positions were not refined.
    """

    scene: Scene
    probe: np.ndarray
    positions_px: np.ndarray | None
    shift_px: np.ndarray | None


def read_result(scan: Scan, task: Task) -> Found:
    """Read the reconstruction of a scan. Raises UserError if the result is missing or damaged."""
    file = scan.folder / steps.RESULT
    arrays = read_arrays(file)
    for name in ("object", "probe"):  # a single image or mode is stored in 2D
        if name in arrays and arrays[name].ndim == 2:
            arrays[name] = arrays[name][None]
    more = {name: ("f", 2) for name in ("shift_px", "positions_px") if name in arrays}
    problem = misfit(arrays, {"probe": ("c", 3), **more})
    if problem is None and not arrays["probe"].size:
        problem = "holds an empty probe"
    if problem:
        raise UserError(f"{file} {problem}; reconstruct the scan again")
    probe = arrays["probe"]
    stored = {
        **{name: arrays[name] for name in ("object", "region", "r_factor") if name in arrays},
        "predicted_amplitude": np.zeros((0, *probe.shape[1:]), np.float16),
        "shown": np.zeros(0, np.int64),
        "distinct": np.array(True),
        "checkpoint": np.array(task.facts.checkpoint),
        "epoch": np.array(task.facts.epoch or 0),
        "probe": probe[0],
    }
    result = checked(stored, file)
    dataset = load.dataset(load.ROOT / "imported" / str(scan.imported))
    images, _ = aligned(result, dataset)
    corner = int(result.region[0]), int(result.region[1])
    source = task.facts.source
    name = f"{scan.imported}_{Path(source).parent.name or 'rpie'}"
    scene = Scene(
        name, 0, result.checkpoint, images, None, {}, corner, result, dataset, str(file),
        hash_of_file(file),
    )  # fmt: skip
    shift = arrays.get("shift_px")
    return Found(scene, probe, arrays.get("positions_px"), shift)


def show(scan: Scan, task: Task) -> None:
    """Show R-factors, object, probe modes, residual map, refined positions and exports."""
    found = read_result(scan, task)
    _numbers(task)
    one = found.scene
    pixel = pixel_of(one.dataset.manifest)
    images = one.images
    shades = {
        "amplitude": figures.amplitude_shades(images["amplitude"], "amplitude, object units"),
        "phase": figures.phase_shades(images["phase"]),
    }
    for place, name in zip(st.columns(2, gap="small"), images, strict=True):
        with place:
            st.markdown(f"**{escape.markdown(name.capitalize())}**")
            made = figures.picture(images[name], shades[name], pixel)
            made.update_layout(height=440)
            st.plotly_chart(
                made, key=f"scan-{name}", config=STILL,
                alt=f"{name} of the object, {images[name].shape[0]} x {images[name].shape[1]} px",
            )  # fmt: skip
    _modes(found)
    left, right = st.columns(2, gap="small")
    with left:
        _residual_map(one)
    with right:
        _shifts(found)
    _exports(found, task)


def _numbers(task: Task) -> None:
    facts = task.facts
    labels = {
        "R fitted": facts.r_factor_fitted,
        "R held out": facts.r_factor_held_out,
        "R held out, refined": facts.r_factor_held_out_refined,
        "median shift (px)": facts.shift_px_median,
        "seconds": facts.seconds,
    }
    known = {key: value for key, value in labels.items() if value is not None}
    for place, (label, value) in zip(st.columns(max(len(known), 1)), known.items(), strict=True):
        place.metric(escape.markdown(label), f"{value:.4g}")
    st.caption(
        "R = sum of |√counts − |far field|| divided by the sum of √counts. Held-out patterns were "
        "not used in the reconstruction. A held-out R far above the fitted R indicates overfitting."
    )


def _modes(found: Found) -> None:
    power = [float(np.sum(np.abs(mode) ** 2, dtype=np.float64)) for mode in found.probe]
    share = [one / max(sum(power), 1e-300) for one in power]
    st.markdown(f"**Probe, {len(share)} modes**" if len(share) > 1 else "**Probe**")
    pixel = pixel_of(found.scene.dataset.manifest)
    top = float(np.abs(found.probe).max())
    for place, i in zip(st.columns(max(4, len(share))), range(len(share)), strict=False):
        shades = figures.Shades(
            "gray", 0.0, top or 1.0, f"amplitude, {100 * share[i]:.1f} % of the power"
        )
        with place:
            st.plotly_chart(
                figures.picture(np.abs(found.probe[i]), shades, pixel, bar=i == 0),
                key=f"scan-mode-{i}", config=STILL,
                alt=f"Amplitude of probe mode {i + 1}, {100 * share[i]:.1f} % of the power",
            )  # fmt: skip


def _residual_map(one: Scene) -> None:
    st.markdown("**Residuals of held-out patterns**")
    if not np.isfinite(one.result.r_factor).any():
        st.info("All held-out patterns extend beyond the reconstructed region.")
        return
    values = one.result.r_factor[np.isfinite(one.result.r_factor)]
    first = int(np.nanargmax(one.result.r_factor))
    made = residuals.maps([one], first)
    made.update_layout(height=360)
    st.plotly_chart(
        made, key="scan-residuals", config=plot_style.CONFIG,
        alt=f"R-factor of {len(values)} held-out patterns on the scan: median "
        f"{np.median(values):.3g}, largest {values.max():.3g} (pattern {first})",
    )  # fmt: skip
    st.caption("One marker per pattern; the largest R is framed.")


def _shifts(found: Found) -> None:
    if found.shift_px is None or found.positions_px is None:
        return
    st.markdown("**Refined positions**")
    length = np.hypot(*found.shift_px.T)
    made = figures.shifts(found.positions_px, found.shift_px)
    message = f"median {np.median(length):.3g} px, largest {length.max():.3g} px"
    st.plotly_chart(
        made, key="scan-shifts", config=STILL,
        alt=f"Given and refined positions of {len(length)} patterns; shift {message}",
    )  # fmt: skip
    st.caption(f"Lines connect the given and the refined positions; shift {message}.")


def _exports(found: Found, task: Task) -> None:
    one = found.scene
    again = views.importer.shown(list(task.command))
    note = join_words([f"{one.arm}", f"R held out {task.facts.r_factor_held_out}"])
    facts = export.Facts(one.arm, note, (), load.commit(), again)
    late = export.late
    export.popover(
        "scan-export", facts, draw=lambda: late(PRINT).reconstruction(one, found.probe),
        arrays=lambda: late(ARRAYS).buttons("scan-export", facts, [one]),
    )  # fmt: skip
