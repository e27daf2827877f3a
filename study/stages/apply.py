"""`study reconstruct` and `study diagnose`: stored networks, or rPIE, on any data set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.formats.dataset import Dataset, load_dataset, load_manifest
from study.formats.importing import import_scan
from study.params import UserError
from study.runs import RunFolder, plain, write_npz


def apply_source(
    source: str, dataset: Path, out: Path, checkpoint: str, rpie: Mapping[str, Any]
) -> dict[str, Any]:
    """Reconstruct `dataset` (a data set folder or a scan file) and write `out`, whole.

    The npz holds `object` (h, w) complex, `probe`, `region`; the returned facts hold the numbers
    `r_factor_fitted` and `r_factor_held_out`. Raises UserError for an unknown source, a data set
    that cannot be read, and patterns that the network does not take.
    """
    data = load_dataset(dataset) if dataset.is_dir() else import_scan(dataset, "scan")
    began = time.perf_counter()
    applied, extra = _rpie(data, rpie) if source == "rpie" else _run(source, data, checkpoint)
    result = applied.reconstruction
    # One image is a plain 2-D object, which `study score` takes.
    obj = result.object[0] if len(result.object) == 1 else result.object
    write_npz(out, object=obj, probe=result.probe, region=result.region, r_factor=result.r_factor)
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


def _rpie(data: Dataset, settings: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    from study.iterative.apply import reconstruct_rpie
    from study.stages.progress import counting

    with counting("rPIE passes", settings["passes"]) as step:
        applied = reconstruct_rpie(data, **settings, progress=step)
    return applied, {"r_factor_per_pass": applied.passes}


def _run(source: str, data: Dataset, checkpoint: str) -> tuple[Any, dict[str, Any]]:
    from study.training.reconstruct import apply

    if not (Path(source) / "status.json").is_file():
        raise UserError(
            f"{source!r} is neither `rpie` nor a run folder; try runs/ARM/sSEED, which `dvc repro` "
            "or `study pull` makes"
        )
    applied = apply(RunFolder(Path(source)), data, checkpoint)
    return applied, {"checkpoint": checkpoint, "epoch": applied.reconstruction.epoch}


def diagnose_stored(folder: Path, checkpoint: str) -> list[Path]:
    """Diagnostics of stored weights, into work/diagnosed/ARM/sSEED; returns the files written.

    Not into the run itself: runs/ARM is an output of DVC, which a new file would make changed.
    Raises UserError when the run, its data set or its weights are not here.
    """
    from study.training.watch import diagnose_run

    run = RunFolder(folder)
    data = run.status().get("manifest", {}).get("settings", {}).get("data")
    if data is None:
        raise UserError(f"{folder} is no run folder: its status.json names no data set")
    load_manifest(Path(data))
    out = Path("work") / "diagnosed" / folder.resolve().parent.name / folder.resolve().name
    return diagnose_run(run, load_dataset(Path(data)), checkpoint, out)
