"""study simulate, study import, study export, study limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from study.formats.orientation import Orientation


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate_sets)
    app.command("import")(import_scan)
    app.command("export")(export_scan)
    app.command("limit")(show_limit)


def simulate_sets(
    out: Annotated[Path, typer.Option(help="Folder for the data sets")] = Path("build/dataset"),
) -> None:
    """Simulate every data set of params.yaml."""
    from study.settings import load_study
    from study.stages.simulate import parts, simulate_all

    study = load_study(Path("params.yaml"))
    made = simulate_all(study, out)
    for name in parts(study):
        print(f"{out / name}: {'simulated' if name in made else 'up to date'}")


def import_scan(
    file: Annotated[Path, typer.Argument(help="Scan file or Zarr folder: docs/formats.md")],
    name: Annotated[str, typer.Option("--as", help="Name of the data set: imported/NAME")],
    probe: Annotated[
        Path | None, typer.Option(help="File whose probe replaces the stored one")
    ] = None,
    positions: Annotated[
        str | None, typer.Option(help="Positions (y, x): csv, npy or FILE.h5:/path")
    ] = None,
    position_units: Annotated[
        str | None, typer.Option(help="Units of positions that state none: px, m, um, nm, ...")
    ] = None,
    step_px: Annotated[
        tuple[float, float] | None, typer.Option(help="Raster step (y, x) of a 4D-STEM scan")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(min=4, help="Side of the square around the beam, px")
    ] = None,
    values: Annotated[
        Literal["detect", "counts", "amplitudes"], typer.Option(help="Quantity of the pixels")
    ] = "detect",
    zero_frequency: Annotated[
        Literal["detect", "corner", "centre"], typer.Option(help="Position of the direct beam")
    ] = "detect",
    frame_orientation: Annotated[
        Orientation | None,
        typer.Option(help="How frames are moved to agree with the positions"),
    ] = None,
    position_order: Annotated[
        Literal["detect", "yx", "xy"], typer.Option(help="Order of the position columns")
    ] = "detect",
    position_flip: Annotated[
        Literal["detect", "none", "y", "x", "both"], typer.Option(help="Reversed position axes")
    ] = "detect",
    beam_offset: Annotated[
        tuple[int, int] | None, typer.Option(help="Direct beam off centre by (y, x) px")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Bad pixels, not zero: npy, npz, HDF5, MATLAB, TIFF or PNG"),
    ] = None,
    left_out: Annotated[
        float | None, typer.Option(help="Largest share of unusable frames (default 0.1)")
    ] = None,
    accept: Annotated[
        int | None, typer.Option(min=1, max=3, help="Row of the table of an unclear search")
    ] = None,
    track: Annotated[bool, typer.Option(help="Track the set with `dvc add`")] = True,
) -> None:
    """Import a measured scan as imported/NAME.

    Conventions that are not given are found by fitting; where the data leave them open, a table of
    the best readings is printed and nothing is imported.

    Some patterns are held out; they give an R-factor that the reconstruction did not fit.
    """
    from study.formats.positions import Beside
    from study.stages.importing import import_file

    overrides = {
        "values": values,
        "zero_frequency": zero_frequency,
        "frame_orientation": frame_orientation,
        "position_order": position_order,
        "position_flip": position_flip,
        "beam_offset": beam_offset,
        "left_out": left_out,
        "accept": accept,
    }
    chosen = {key: value for key, value in overrides.items() if value not in ("detect", None)}
    beside = Beside(positions, position_units, step_px, crop, mask)
    manifest = import_file(Path(), file, name, probe, chosen, track, beside)
    for statement in manifest.statements:
        print(statement)
    print(f"imported/{name}: {sum(manifest.patterns.values())} patterns of {manifest.n} px")
    print(f"next: study reconstruct rpie imported/{name} --out {name}_rpie.npz --json")


def export_scan(
    dataset: Annotated[Path, typer.Argument(help="Data set folder, such as data/quick")],
    split: Annotated[
        Literal["train", "validation", "test", "all"],
        typer.Argument(help="Scan to export; all: every pattern of an imported set"),
    ],
    out: Annotated[
        Path,
        typer.Option(help="File to write: .cxi, .hdf5 (dp and para pair) or .npz (PtychoPINN)"),
    ],
) -> None:
    """Export one scan as CXI, dp and para pair, or npz."""
    from study.formats.dataset import load_dataset
    from study.formats.exporting import export_scan as write_scan

    for file in write_scan(load_dataset(dataset), split, out):
        print(file)


def show_limit(
    dataset: Annotated[Path, typer.Argument(help="Simulated data set, such as data/quick")],
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Scan to use")
    ] = "test",
    patterns: Annotated[
        list[int], typer.Option(min=1, help="Number of patterns, from the centre of the scan")
    ] = [1, 4, 9],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Print the Cramer-Rao bound of a data set.

    The smallest error that the dose allows without prior knowledge.
    """
    from study.formats.dataset import load_dataset
    from study.iterative.limit import limits

    found = limits(load_dataset(dataset, (split,)), split, patterns)
    if as_json:
        rows = [
            {
                "patterns": one.patterns,
                "pixels": one.pixels,
                "amplitude_std": one.amplitude,
                "phase_std_rad": one.phase_rad,
                "amplitude_mae": one.amplitude_mae,
                "phase_mae_rad": one.phase_mae,
                "undetermined": one.undetermined,
            }
            for one in found
        ]
        print(json.dumps({"data": str(dataset), "split": split, "limits": rows}))
        return
    for one in found:
        print(
            f"{one.patterns} patterns, {one.pixels} px: amplitude {one.amplitude_mae:.3g} object "
            f"units, phase {one.phase_mae:.3g} rad (mean absolute errors); "
            f"{one.undetermined} directions undetermined"
        )
