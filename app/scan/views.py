"""The steps of My scan from top to bottom: file, detected properties, mask, reading, import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from app import access, actions, escape, load, states
from app.dataset import figures
from app.dataset.figures import Pixel
from app.fragments import fragment
from app.scan_tasks import importer, mask, places, steps, work
from app.scan_tasks.steps import Upload
from app.scan_tasks.work import Scan, Task
from study.formats.arrays import misfit, read_arrays
from study.settings import UserError

POLL_S = 1.0
UNITS = ("as stated", "px", "m", "um", "nm")
ACCEPTED = ("HDF5 (CXI, NeXus, ptypy), npz, MATLAB, Zarr; layouts: `docs/formats.md`.",)
AGAIN = "remove the scan and choose the file again"
DOING = {"look": "Reading", "import": "Importing", "reconstruct": "Reconstructing"}


def attempt(action: Callable[..., Any], *args: Any) -> Any:
    """Return the result of an action; an error is kept and shown in the next run of the page."""
    try:
        return action(*args)
    except UserError as error:
        st.session_state["scan-refused"] = str(error)
        return None


def refusal() -> None:
    """Show the error message of the last refused action once."""
    message = st.session_state.pop("scan-refused", None)
    if message is not None:
        _error(message)


def _error(message: str) -> None:
    """Show an error; lines after the first, such as the table of readings, keep their layout."""
    lines = message.splitlines() or [""]
    st.error(escape.sentence(lines[0]), icon=":material/error:")
    if lines[1:]:
        st.code("\n".join(lines[1:]), language=None, wrap_lines=True)


def command(words: list[str]) -> None:
    """Show the equivalent terminal command."""
    st.caption("The same in a terminal:")
    st.code(importer.shown(words), language="sh", wrap_lines=True)


# --- 1: a file --------------------------------------------------------------------------------


def choose_file() -> None:
    """Draw the form to upload a scan or to choose one from the configured folders."""
    if access.read_only():
        st.info(escape.sentence(access.why_read_only()))
        return
    with st.form("scan-form", border=True):
        uploaded = st.file_uploader(
            f"Upload a scan (up to {places.LARGEST_MB} MB)",
            key="scan-upload",
            max_upload_size=places.LARGEST_MB,
            help=ACCEPTED[0],
        )
        found = places.listed()
        listed = None
        if found:
            listed = st.selectbox(
                "or choose a file on this machine", list(found), index=None, key="scan-listed"
            )
        with st.expander("The scan file lacks a probe or positions"):
            probe = st.file_uploader("Probe file", key="scan-probe", max_upload_size=200)
            places_file = st.file_uploader(
                "Positions (csv or npy: y, x)", key="scan-positions", max_upload_size=200
            )
            units = st.selectbox("Units of the positions", UNITS, key="scan-units")
        go_on = st.form_submit_button("Read the scan", icon=":material/search:", type="primary")
    st.caption(
        "A separate process reads the file. Uploads are private and are deleted once they are "
        "refused or imported. Files of any size can be read from the folders listed under "
        f"`[scans]` in `{access.SECRETS}`."
    )
    if not go_on:
        return
    scan = _upload(uploaded) or (found[listed] if listed else None)
    if scan is None:
        _error("no file is chosen: upload a scan or choose one from the list")
        return
    beside = {"probe": _upload(probe), "positions": _upload(places_file)}
    kept = {kind: upload for kind, upload in beside.items() if upload is not None}
    scan_id = attempt(actions.begin_scan, scan, kept, None if units == UNITS[0] else units)
    if scan_id is not None:
        st.query_params["scan"] = scan_id
    st.rerun()


def _upload(file: Any) -> Upload | None:
    return None if file is None else Upload(str(file.name), file.getvalue())


def earlier() -> None:
    """List the scans in progress."""
    found = [
        scan for scan in work.every(load.ROOT) if kept(scan) or scan.task("look").state == "running"
    ]
    if access.read_only() or not found:
        return
    st.subheader("Continue", anchor=False)
    for scan in found[:10]:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{escape.markdown(scan.name)}**", width="content")
            where = f"imported/{scan.imported}" if scan.imported else "not imported"
            st.caption(escape.markdown(where), width="content")
            st.button("Open", key=f"scan-open-{scan.id}", on_click=_open, args=(scan.id,),
                      help=escape.markdown(f"Open {scan.name}"))  # fmt: skip


def _open(scan_id: str) -> None:
    st.query_params["scan"] = scan_id


# --- tasks ------------------------------------------------------------------------------------


def waiting(scan: Scan, task: Task) -> bool:
    """Show the progress of a running task and a stop button. Returns whether the task runs."""
    if task.state != "running":
        return False
    fragment(_progress, POLL_S)(scan.id, task.name)
    return True


def _progress(scan_id: str, name: str) -> None:
    task = work.read(load.ROOT, scan_id).task(name)
    if task.state != "running":
        st.rerun()
    steps_told = f", pass {task.done:d} of {task.total:d}" if task.total else ""
    left = ""
    if task.done:
        seconds = task.seconds / task.done * (task.total - task.done)
        left = f", about {max(seconds, 1):.0f} s left"
    message = f"{DOING[name]}: {task.seconds:.0f} s{steps_told}{left}"
    st.progress(min(1.0, task.done / task.total) if task.total else 0.0, text=message)
    if not access.read_only():
        st.button("Stop", key=f"scan-stop-{name}", icon=":material/stop:",
                  on_click=attempt, args=(actions.stop_scan, scan_id, name))  # fmt: skip


def failed(task: Task) -> bool:
    """Show why a task did not finish. Returns whether it failed, was refused or was stopped."""
    if task.state in ("refused", "failed", "stopped"):
        _error(task.cause or f"{DOING[task.name]} ended without a message")
        return True
    return False


def kept(scan: Scan) -> bool:
    """Whether the scan was read once without errors; a mask refused later does not discard it."""
    return (scan.folder / importer.READ).is_file()


def tell(error: UserError) -> None:
    """Show the error for an address without a valid scan."""
    _error(str(error))


# --- 2: what was detected ---------------------------------------------------------------------


def detected(task: Task) -> None:
    """Show size, misfit and detected properties of a scan that was read."""
    facts = task.facts
    misfit, runner_up = importer.fit_of(facts.statements)
    labels = {
        "patterns": f"{facts.patterns:,}",
        "px per pattern": f"{facts.n} × {facts.n}",
        "masked px": f"{facts.masked:,}",
    }
    if misfit:
        labels["misfit"] = misfit
    if runner_up:
        labels["runner-up"] = runner_up
    for place, (label, value) in zip(st.columns(len(labels)), labels.items(), strict=True):
        place.metric(escape.markdown(label), escape.markdown(value))
    for line in facts.statements:
        st.text(f"· {line}")


# --- 3: the mask ------------------------------------------------------------------------------


def mean_figure(mean: np.ndarray, masked: np.ndarray) -> go.Figure:
    """The mean pattern as log(1 + photons); masked pixels are blank.

    `mean`: (n, n) photons; `masked`: (n, n) bool. Rectangles and lassos can be selected.
    """
    made = figures.pattern(np.where(masked, np.nan, np.maximum(mean, 0)), float(np.nanmax(mean)))
    n = len(mean)
    # Plotly selects only points, so a sparse grid of invisible points covers the image.
    at = np.linspace(0, n - 1, min(n, 24))
    x, y = (each.ravel() for each in np.meshgrid(at, at))
    made.add_trace(
        go.Scatter(x=x, y=y, mode="markers", marker={"opacity": 0, "size": 4}, hoverinfo="skip")
    )
    # Without these, plotly would leave room for the marks around the picture.
    made.update_xaxes(range=[-0.5, n - 0.5])
    made.update_yaxes(range=[n - 0.5, -0.5], autorange=False)
    made.update_layout(height=420, dragmode="select")
    return made


def draw_mask(scan: Scan) -> None:
    """Draw the mean pattern and the mask form (threshold, shapes, file).

    Raises UserError if the stored mean pattern is damaged.
    """
    file = scan.folder / importer.MEAN
    if not file.is_file():
        return
    arrays = read_arrays(file)
    problem = misfit(arrays, {"mean": ("f", 2), "masked": ("b", 2)})
    if problem or not arrays["mean"].size or arrays["mean"].shape != arrays["masked"].shape:
        raise UserError(f"{file} {problem or 'holds arrays of unequal shapes'}; {AGAIN}")
    mean, masked = arrays["mean"], arrays["masked"]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.plotly_chart(
            mean_figure(mean, masked),
            key="scan-mean",
            config={"displaylogo": False, "modeBarButtonsToRemove": ["toImage"]},
            alt=f"Mean of all patterns, {len(mean)} px, {int(masked.sum())} px masked (blank)",
            on_select=_drawn,
            selection_mode=("box", "lasso"),
        )
        st.caption(
            "Mean of all patterns in detector pixels of the file; masked pixels are blank. Drag a "
            "rectangle or a lasso to add it to the shapes."
        )
    if access.read_only():
        return
    with right:
        st.session_state.setdefault("scan-shapes", scan.request.shapes)
        shapes = st.text_area(
            "Shapes, one per line (px)", key="scan-shapes", height=120,
            help="`rectangle Y0 X0 Y1 X1` or `polygon Y X Y X Y X ...`",
        )  # fmt: skip
        threshold = st.number_input(
            "Mask pixels with a mean above (photons)", 0.0, None, scan.request.threshold,
            key="scan-threshold", help=f"The brightest mean pixel has {np.nanmax(mean):.6g}.",
        )  # fmt: skip
        upload = st.file_uploader(
            "Mask file: nonzero at bad pixels (npy, npz, HDF5, TIFF, PNG)", key="scan-mask-file",
            max_upload_size=200,
        )  # fmt: skip
        if st.button("Read again with this mask", key="scan-mask", icon=":material/texture:"):
            attempt(actions.mask_scan, scan.id, threshold, shapes, _upload(upload))
            st.rerun()


def _drawn() -> None:
    """Add the shapes drawn on the chart to the text area."""
    lines = mask.drawn(st.session_state["scan-mean"]["selection"])
    known = st.session_state.get("scan-shapes", "").splitlines()
    new = [line for line in lines if line not in known]
    st.session_state["scan-shapes"] = "\n".join([*filter(None, known), *new])


# --- 4: the reading of an unclear scan --------------------------------------------------------


def readings(scan: Scan, task: Task) -> bool:
    """Show the possible readings of an ambiguous scan, each with a short reconstruction.

    Returns whether the scan is unambiguous or a reading is accepted. Raises UserError if the stored
    reconstructions are damaged.
    """
    rows = task.facts.readings
    if not rows:
        return True
    st.warning(
        f"{escape.markdown(task.facts.why)} Compare the short reconstructions: the correct reading "
        "gives a sharp object and a low misfit. Accept it below, or check the probe, the positions "
        "and their units.",
        icon=":material/help:",
    )
    file = scan.folder / importer.READINGS
    arrays = read_arrays(file)
    if problem := misfit(arrays, {f"object_{i}": ("c", 2) for i in range(len(rows))}):
        raise UserError(f"{file} {problem}; {AGAIN}")
    for place, (i, row) in zip(st.columns(len(rows)), enumerate(rows), strict=True):
        with place:
            _reading(arrays[f"object_{i}"], i, row)
    if access.read_only():
        return scan.request.accept is not None
    known = [0, *range(1, len(rows) + 1)]
    row = st.selectbox(
        "Accept", known, known.index(scan.request.accept or 0), format_func=_row_words,
        key="scan-accept", width=240,
    )  # fmt: skip
    if row != (scan.request.accept or 0):
        attempt(actions.accept_scan, scan.id, row)
        st.rerun()
    return row > 0


def _row_words(row: int) -> str:
    return f"row {row:d}" if row else "none yet"


def _reading(obj: np.ndarray, i: int, row: work.Reading) -> None:
    misfit = "not finite" if row.misfit is None else f"{row.misfit:.3f}"
    st.markdown(f"**Row {i + 1:d}**: misfit {misfit}")
    if obj.size:
        phase = np.angle(obj * np.exp(-1j * np.angle(obj.sum())))
        for name, values, shades in (
            ("amplitude", np.abs(obj), figures.amplitude_shades(np.abs(obj), "amplitude")),
            ("phase", phase, figures.phase_shades(phase)),
        ):
            st.plotly_chart(
                figures.picture(values, shades, Pixel(None)), key=f"scan-reading-{i}-{name}",
                config={"displayModeBar": False}, alt=f"Row {i + 1}: {name} of a short fit",
            )  # fmt: skip
    st.code(row.options, language=None, wrap_lines=True)


# --- 5: import --------------------------------------------------------------------------------


def import_form(scan: Scan) -> None:
    """Draw the data set's name, the import command and the import button."""
    stem = Path(scan.name).name.split(".")[0]
    usual = "".join(c if c.isascii() and c.isalnum() else "_" for c in stem.lower()).strip("_")
    usual = usual if usual[:1].isalpha() else f"scan_{usual}".rstrip("_")
    name = st.text_input("Name of the data set", usual, key="scan-name", width=320)
    command(steps.import_command(load.ROOT, scan, name))
    if access.read_only():
        return
    if st.button("Import", key="scan-import", icon=":material/save:", type="primary"):
        attempt(actions.import_scan, scan.id, name)
        st.rerun()


def imported(scan: Scan) -> None:
    """Show the imported data set."""
    with st.container(horizontal=True, vertical_alignment="center"):
        states.chip("done", "imported")
        st.markdown(escape.markdown(f"imported/{scan.imported}"), width="content")
