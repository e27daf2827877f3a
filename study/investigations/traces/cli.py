"""study trace: run, replay, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.settings.base import MOST

group = typer.Typer(help="Record runs step by step to find where they fail.", no_args_is_help=True)
ROOT = Path()


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="trace")


@group.command()
def run() -> None:
    """Trace the runs of traces.yaml and write results/traces.json."""
    from study.investigations.traces.run import run_traces

    try:
        lines = run_traces(ROOT)
    except KeyboardInterrupt:
        typer.echo("stopped; nothing was written", err=True)
        raise typer.Exit(130) from None
    for line in lines:
        print(line)


@group.command()
def replay(
    run_folder: Annotated[Path, typer.Argument(metavar="run", help="Run folder, work/HASH")],
    after: Annotated[
        int, typer.Option(min=0, max=MOST, help="Epoch of the checkpoint to start from")
    ],
    steps: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Number of steps (default: one epoch)")
    ] = None,
) -> None:
    """Repeat the steps after a checkpoint and record every layer."""
    from study.investigations.traces.results import load
    from study.investigations.traces.run import replay_run

    out = replay_run(ROOT, run_folder, after, steps)
    print(out)
    (trace,) = load(out)["traces"]
    print(trace["answer"])
    print(trace["sentence"])


@group.command()
def show() -> None:
    """Print one sentence per run and per arm."""
    from study.investigations.traces.results import load

    content = load(ROOT / "results" / "traces.json")
    for line in (*(trace["sentence"] for trace in content["traces"]), *content["arms"].values()):
        print(line)
