"""study trace: run, show."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="Runs followed step by step: where did one go bad?", no_args_is_help=True)
ROOT = Path()


@app.command()
def run() -> None:
    """Trace the runs of traces.yaml and write results/traces.json."""
    from study.stages.trace import run_traces

    try:
        lines = run_traces(ROOT)
    except KeyboardInterrupt:
        typer.echo("stopped; nothing was written", err=True)
        raise typer.Exit(130) from None
    for line in lines:
        print(line)


@app.command()
def show() -> None:
    """One sentence a run and one an arm, from results/traces.json."""
    from study.evidence.traces import load_traces

    content = load_traces(ROOT / "results" / "traces.json")
    for line in (*(trace["sentence"] for trace in content["traces"]), *content["arms"].values()):
        print(line)
