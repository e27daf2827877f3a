"""study train, study fingerprint, study reconstruct, study diagnose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from study.cli.scan_options import ScanOptions, with_options

ROOT = Path()
Part = Literal["prepare", "train", "collect"]


def register(app: typer.Typer) -> None:
    for command in (train, fingerprint, reconstruct, diagnose):
        app.command()(command)


def train(
    arm: Annotated[str | None, typer.Option(help="Arm of params.yaml")] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Train all missing runs in parallel (commit with dvc repro)"),
    ] = False,
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed (repeatable; default: all declared)")
    ] = None,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Write loader, activation and gradient statistics")
    ] = False,
    devices: Annotated[
        int,
        typer.Option(
            min=1, help="GPUs per run; each batch is split between them (without GPU: cores)"
        ),
    ] = 1,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once (default: as many as cores or GPU memory allow)"),
    ] = None,
    only: Annotated[
        Part | None,
        typer.Option(help="Run one part only (for clusters)"),
    ] = None,
) -> None:
    """Train an arm; skips finished seeds, resumes stopped ones."""
    from study.stages.train import train_all, train_arm

    if (arm is None) != every:
        raise typer.BadParameter("give either --arm NAME or --all")
    if every and (seed or diagnose or devices > 1 or only):
        raise typer.BadParameter("--all accepts only --jobs; the other options need --arm")
    try:
        if arm is None:
            count = train_all(ROOT, jobs)
            print(
                f"trained {count} runs; `dvc repro` records them"
                if count
                else "all runs are complete"
            )
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
    """Update the fingerprints of arms whose behaviour changed."""
    from study.settings import load_study
    from study.stages.fingerprint import write_fingerprints

    moved = write_fingerprints(load_study(ROOT / "params.yaml"), ROOT / "fingerprints")
    print(f"moved: {', '.join(moved)}" if moved else "no behaviour has changed")


@dataclass(frozen=True)
class RpieFlags:
    """Settings of rPIE, described in `study.iterative.apply.reconstruct_rpie`."""

    passes: Annotated[int, typer.Option(min=1, help="rPIE: passes over the scan")] = 50
    alpha: Annotated[float, typer.Option(min=1e-6, max=1.0, help="rPIE: regularisation")] = 0.1
    update_probe: Annotated[
        bool | None,
        typer.Option(help="rPIE: refine the probe (default: only for imported data)"),
    ] = None
    modes: Annotated[
        int | None,
        typer.Option(min=1, max=20, help="rPIE: probe modes (default: those of the data set)"),
    ] = None
    refine_positions: Annotated[
        bool, typer.Option(help="rPIE: find the shift of every position")
    ] = False


@with_options(rpie=RpieFlags, options=ScanOptions)
def reconstruct(
    source: Annotated[str, typer.Argument(help="Run folder, or rpie")],
    dataset: Annotated[Path, typer.Argument(help="Data set folder or scan file")],
    out: Annotated[Path, typer.Option(help="npz file to write")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
    *,
    rpie: RpieFlags,
    checkpoint: Annotated[
        str, typer.Option(help="Run: weights of the best or the last epoch")
    ] = "last",
    options: ScanOptions,
) -> None:
    """Reconstruct a data set with a saved run or rPIE.

    For a scan file, the options from --probe on are those of `study import`.
    """
    from study.stages.apply import apply_source

    facts = apply_source(source, dataset, out, checkpoint, vars(rpie), options.request())
    if as_json:
        print(json.dumps(facts, allow_nan=False))
        return
    for key, value in facts.items():
        print(f"{key}: {value}")


def diagnose(
    run: Annotated[Path, typer.Argument(help="Run folder, such as runs/control/s1")],
    checkpoint: Annotated[str, typer.Option(help="Weights of the best or the last epoch")] = "last",
) -> None:
    """Write layer statistics of a stored checkpoint."""
    from study.stages.apply import diagnose_stored

    for file in diagnose_stored(run, checkpoint):
        print(file)
