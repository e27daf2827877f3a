"""`study reconstruct` and `study diagnose`: stored networks, or rPIE, on any data set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from study.formats.dataset import Dataset, load_dataset, load_manifest
from study.formats.scan_request import ScanRequest
from study.formats.zarr_store import is_zarr
from study.reading import real_path
from study.runs import RunFolder, plain, write_npz
from study.runs.links import refuse_links
from study.runs.seed_folders import seed_folder
from study.settings import UserError


def apply_source(
    source: str,
    dataset: Path,
    out: Path,
    checkpoint: str,
    rpie: Mapping[str, Any],
    scan: ScanRequest | None = None,
) -> dict[str, Any]:
    """Reconstruct `dataset` (a data set folder or a scan file) and write `out` atomically.

    `source`: "rpie" or a run folder; `checkpoint`: which weights of a run; `rpie`: options of rPIE;
    `scan`: how a scan file is read.

    The npz contains `object` (h, w) complex (with a leading axis for several images), `probe`
    (n, n) or (modes, n, n) complex, `region`, `r_factor`, and, if positions were refined,
    `positions_px` and `shift_px` (J, 2). The returned facts include `r_factor_fitted` and
    `r_factor_held_out`.

    Raises UserError if `out` is not an .npz file, the source is unknown, the data set cannot be
    read, or the network does not accept its patterns.
    """
    from study.iterative.task import check_room

    _check_out(out, dataset)
    data = _opened(dataset, scan or ScanRequest())
    check_room(data)
    began = time.perf_counter()
    applied, extra, more = (
        _rpie(data, rpie, out) if source == "rpie" else _run(source, data, checkpoint)
    )
    result = applied.reconstruction
    # A single image is stored as a 2D object, which `study score` accepts.
    obj = result.object[0] if len(result.object) == 1 else result.object
    arrays = {"object": obj, "probe": result.probe, "region": result.region}
    write_npz(out, **{**arrays, "r_factor": result.r_factor, **more})
    facts = {
        "source": source,
        "data": str(dataset),
        "out": str(out),
        "object_shape": list(obj.shape),
        "region": result.region,
        "r_factor_fitted": applied.r_factor_fitted,
        "r_factor_held_out": applied.r_factor_held_out,
        "seconds": round(time.perf_counter() - began, 2),
        **extra,
    }
    return plain(facts)


def _check_out(out: Path, dataset: Path) -> None:
    """Raise UserError for a path that a reconstruction must not overwrite."""
    if out.suffix != ".npz":
        raise UserError(
            f"--out {out} has the suffix {out.suffix or '(none)'}; accepted: .npz, such as "
            "object.npz"
        )
    if (out.exists() and not out.is_file()) or real_path(out) == real_path(dataset):
        raise UserError(f"--out {out} is a folder or the scan itself; choose another name")
    refuse_links(out.parent)


def _opened(path: Path, scan: ScanRequest) -> Dataset:
    """Read a data set folder, or a scan file with import options. Raises UserError."""
    if not path.is_dir() or is_zarr(path):
        return scan.read(path, "scan")
    if given := scan.given():
        raise UserError(
            f"{path} is a data set, whose conventions are fixed; {', '.join(given)} apply only to "
            "scan files: omit them, or import the scan again with them"
        )
    return load_dataset(path)


def _rpie(
    data: Dataset, settings: Mapping[str, Any], out: Path
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The reconstruction, facts to print, and additional arrays for the npz."""
    from study.formats.probe import powers
    from study.iterative.apply import reconstruct_rpie
    from study.report.figures.shifts import draw_shifts
    from study.stages.progress import counting

    with counting("rPIE passes", settings["passes"]) as step:
        applied = reconstruct_rpie(data, **settings, progress=step)
    facts: dict[str, Any] = {"r_factor_per_pass": applied.passes}
    arrays: dict[str, Any] = {"probe": applied.probe}
    if applied.probe.ndim == 3:
        facts["mode_powers"] = list(powers(applied.probe))
    if applied.shift_px is not None:
        length = np.hypot(*applied.shift_px.T)
        arrays |= {"positions_px": applied.positions_px, "shift_px": applied.shift_px}
        facts |= {
            "r_factor_held_out_refined": applied.r_factor_held_out_refined,
            "shift_px_median": float(np.median(length)),
            "shift_px_largest": float(length.max()),
            "shift_figure": str(draw_shifts(applied.positions_px, applied.shift_px, out)),
        }
    return applied, facts, arrays


def _run(source: str, data: Dataset, checkpoint: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from study.training.reconstruct import apply

    if not (Path(source) / "status.json").is_file():
        raise UserError(
            f"{source!r} is neither `rpie` nor a run folder; use runs/ARM/sSEED, as created by "
            "`dvc repro` or `study pull`"
        )
    applied = apply(RunFolder(Path(source)), data, checkpoint)
    return applied, {"checkpoint": checkpoint, "epoch": applied.reconstruction.epoch}, {}


def diagnose_stored(folder: Path, checkpoint: str) -> list[Path]:
    """Write diagnostics of stored weights to work/diagnosed/ARM/sSEED; returns the files written.

    They are not written to runs/ARM, because this is a DVC output, which a new file would modify.
    Raises UserError if the run, its data set or its weights are not stored here.
    """
    from study.training.watch import diagnose_run

    run = RunFolder(folder)
    status = run.checked_status()
    settings = (status.get("manifest") or {}).get("settings") or {}
    data = settings.get("data")
    if not isinstance(data, str):
        raise UserError(f"{folder} is not a run folder: its status.json names no data set")
    place = seed_folder(Path(data), status.get("seed") or 0)
    load_manifest(place)
    real = real_path(folder)
    out = Path("work") / "diagnosed" / real.parent.name / real.name
    return diagnose_run(run, load_dataset(place), checkpoint, out)
