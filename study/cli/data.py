"""study simulate, study import, study export, study limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from study.cli.scan_options import ScanOptions, with_options


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


@with_options(options=ScanOptions)
def import_scan(
    file: Annotated[Path, typer.Argument(help="Scan file or Zarr folder: docs/formats.md")],
    name: Annotated[str, typer.Option("--as", help="Name of the data set: imported/NAME")],
    options: ScanOptions,
    track: Annotated[bool, typer.Option(help="Track the set with `dvc add`")] = True,
) -> None:
    """Import a measured scan as imported/NAME.

    Conventions that are not given are found by fitting. If the data do not decide them, a table of
    the best candidates is printed and nothing is imported.

    Some patterns are held out, for an R-factor of data that no reconstruction has fitted.
    """
    from study.stages.importing import import_file

    scan = options.request()
    manifest = import_file(Path(), file, name, scan.probe, scan.overrides, track, scan.beside)
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
        list[int],
        typer.Option(min=1, max=1_000_000, help="Number of patterns, from the centre of the scan"),
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
