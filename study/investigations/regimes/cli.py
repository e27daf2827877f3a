"""study regimes: run, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(
    help="Map where networks beat the baselines: step, dose, probe.", no_args_is_help=True
)
ROOT = Path()


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="regimes")


@group.command()
def run(
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Scans at once (default: number of cores)")
    ] = None,
) -> None:
    """Compute results/regimes.json; skips finished scans."""
    from study.investigations.regimes.run import run_regimes

    try:
        lines = run_regimes(ROOT, jobs)
    except KeyboardInterrupt:
        typer.echo("stopped; finished scans are kept: run the same command to resume", err=True)
        raise typer.Exit(130) from None
    for line in lines:
        print(line)


@group.command()
def show() -> None:
    """Print one sentence per region."""
    from study.investigations.regimes.results import easy_sentence, load, sentences

    content = load(ROOT / "results" / "regimes.json")
    for line in (*sentences(content), easy_sentence(content), *content["missing"]):
        print(line)
