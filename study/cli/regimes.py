"""study regimes: run, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="When is a network worth it: scan step x dose x probe.", no_args_is_help=True
)
ROOT = Path()


@app.command()
def run(
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Scans at once (else as many as cores)")
    ] = None,
) -> None:
    """Compute results/regimes.json (finished scans are found, a stopped run resumes)."""
    from study.stages.regimes import run_regimes

    try:
        lines = run_regimes(ROOT, jobs)
    except KeyboardInterrupt:
        typer.echo("stopped; finished scans are kept: run the same command to resume", err=True)
        raise typer.Exit(130) from None
    for line in lines:
        print(line)


@app.command()
def show() -> None:
    """One sentence a region, from results/regimes.json."""
    from study.evidence.regimes import easy_sentence, load_regimes, sentences

    content = load_regimes(ROOT / "results" / "regimes.json")
    for line in (*sentences(content), easy_sentence(content), *content["missing"]):
        print(line)
