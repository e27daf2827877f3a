"""study stability."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path()


def register(app: typer.Typer) -> None:
    app.command()(stability)


def stability(
    curve: Annotated[
        list[str] | None, typer.Argument(help="Curves of params.yaml (default: all)")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at once (default: number of cores)")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print stored results without training")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Write the figure of all stored curves: .svg or .png")
    ] = None,
) -> None:
    """Measure the failure rate against the learning rate (LD50)."""
    from study.investigations.stability.facts import load

    names = tuple(curve or ())
    try:
        if not show:
            from study.investigations.stability.run import run_curves  # it brings torch

            run_curves(ROOT, names, jobs)
    except KeyboardInterrupt:
        typer.echo("stopped; finished runs are kept: run the same command to resume", err=True)
        raise typer.Exit(130) from None
    found = load(ROOT)
    for line in found.sentences:
        print(line)
    if figure is not None:
        from study.investigations.stability.figure import write_figure

        write_figure(found, figure)
