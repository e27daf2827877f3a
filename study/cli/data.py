"""study simulate, study import, study export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate_sets)
    app.command("import")(import_scan)
    app.command("export")(export_scan)


def simulate_sets(
    out: Annotated[Path, typer.Option(help="Folder for the data sets")] = Path("build/dataset"),
) -> None:
    """Simulate every data set of params.yaml."""
    from study.params import load_study
    from study.stages.simulate import simulate_all

    study = load_study(Path("params.yaml"))
    made = simulate_all(study, out)
    for name in study.data:
        print(f"{out / name}: {'simulated' if name in made else 'was there, same parameters'}")


def import_scan(
    file: Annotated[Path, typer.Argument(help="CXI, npz or npz.bz2 file")],
    name: Annotated[str, typer.Option("--as", help="Name of the data set: imported/NAME")],
    probe: Annotated[Path | None, typer.Option(help="npz with a better `probe`")] = None,
    values: Annotated[
        Literal["detect", "counts", "amplitudes"], typer.Option(help="What the pixels hold")
    ] = "detect",
    zero_frequency: Annotated[
        Literal["detect", "corner", "centre"], typer.Option(help="Where the direct beam lies")
    ] = "detect",
    position_order: Annotated[
        Literal["detect", "yx", "xy"], typer.Option(help="Order of the position columns")
    ] = "detect",
    track: Annotated[bool, typer.Option(help="Track the set with `dvc add`")] = True,
) -> None:
    """Read a measured scan, check it, and keep it with held-out patterns under imported/NAME."""
    from study.stages.importing import import_file

    overrides = {
        "values": values,
        "zero_frequency": zero_frequency,
        "position_order": position_order,
    }
    chosen = {key: value for key, value in overrides.items() if value != "detect"}
    manifest = import_file(Path(), file, name, probe, chosen, track)
    for statement in manifest.statements:
        print(statement)
    print(f"imported/{name}: {sum(manifest.patterns.values())} patterns of {manifest.n} px")
    print(f"next: study reconstruct rpie imported/{name} --out {name}_rpie.npz --json")


def export_scan(
    dataset: Annotated[Path, typer.Argument(help="A data set folder, such as data/quick")],
    split: Annotated[Literal["train", "validation", "test"], typer.Argument(help="Which scan")],
    out: Annotated[Path, typer.Option(help="npz file to write (PtychoPINN keys)")],
) -> None:
    """Write one scan of a data set as an npz that other tools of the field read."""
    from study.formats.dataset import load_dataset
    from study.formats.npz import export_npz

    export_npz(load_dataset(dataset), split, out)
    print(out)
