"""study train, study fingerprint, study reconstruct, study diagnose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

ROOT = Path()
Part = Literal["prepare", "train", "collect"]


def register(app: typer.Typer) -> None:
    for command in (train, fingerprint, reconstruct, diagnose):
        app.command()(command)


def train(
    arm: Annotated[str | None, typer.Option(help="Name of an arm in params.yaml")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="What all arms lack, side by side; dvc repro collects it")
    ] = False,
    seed: Annotated[list[int] | None, typer.Option(help="Only these of its seeds")] = None,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Write loader, activation and gradient statistics")
    ] = False,
    devices: Annotated[
        int,
        typer.Option(min=1, help="GPUs (without GPU: cores) for each run; they split every batch"),
    ] = 1,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once (else as many as cores or GPU memory hold)"),
    ] = None,
    only: Annotated[
        Part | None,
        typer.Option(help="One part alone: on a cluster the jobs train, the head does the rest"),
    ] = None,
) -> None:
    """Train all seeds of an arm (finished ones are found, stopped ones resume)."""
    from study.stages.train import train_all, train_arm

    if (arm is None) != every:
        raise typer.BadParameter("name one arm with --arm, or say --all")
    if every and (seed or diagnose or devices > 1 or only):
        raise typer.BadParameter("--all goes with --jobs alone; name one --arm for the rest")
    try:
        if arm is None:
            count = train_all(ROOT, jobs)
            print(f"trained {count} runs; `dvc repro` collects them" if count else "all are there")
            return
        runs = train_arm(ROOT, arm, seed, diagnose, devices, jobs, only)
    except KeyboardInterrupt:
        typer.echo("stopped; checkpoints are kept: run the same command to resume", err=True)
        raise typer.Exit(130) from None
    for run in runs:
        status = run.status()
        cause = f": {status['cause']}" if status.get("cause") else ""
        print(f"{arm} seed {status.get('seed')}: {status.get('state')}{cause} ({run.path})")


def fingerprint() -> None:
    """Rewrite fingerprints/<arm>.json of the arms whose behaviour moved."""
    from study.params import load_study
    from study.stages.fingerprint import write_fingerprints

    moved = write_fingerprints(load_study(ROOT / "params.yaml"), ROOT / "fingerprints")
    print(f"moved: {', '.join(moved)}" if moved else "no arm behaves differently")


def reconstruct(
    source: Annotated[str, typer.Argument(help="A run folder, or: rpie")],
    dataset: Annotated[Path, typer.Argument(help="A data set folder, or a scan file")],
    out: Annotated[Path, typer.Option(help="npz file to write")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
    passes: Annotated[int, typer.Option(min=1, help="rPIE: passes over the scan")] = 50,
    alpha: Annotated[float, typer.Option(min=1e-6, max=1.0, help="rPIE: regularisation")] = 0.1,
    update_probe: Annotated[
        bool | None,
        typer.Option(help="rPIE: refine the probe (default: for imported sets only)"),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Run: weights of best or last epoch")] = "last",
) -> None:
    """Apply a saved run, or rPIE, to any data set: object, probe and R-factors."""
    from study.stages.apply import apply_source

    rpie = {"passes": passes, "alpha": alpha, "update_probe": update_probe}
    facts = apply_source(source, dataset, out, checkpoint, rpie)
    if as_json:
        print(json.dumps(facts, allow_nan=False))
        return
    for key, value in facts.items():
        print(f"{key}: {value}")


def diagnose(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/control/s1")],
    checkpoint: Annotated[str, typer.Option(help="Weights of best or last epoch")] = "last",
) -> None:
    """Write the statistics of --diagnose for a stored checkpoint."""
    from study.stages.apply import diagnose_stored

    for file in diagnose_stored(run, checkpoint):
        print(file)
