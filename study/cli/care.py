"""study plan, doctor, verify, clean: the state of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path()


def register(app: typer.Typer) -> None:
    for command in (plan, doctor, verify, clean):
        app.command()(command)


def plan(
    arms: Annotated[list[str] | None, typer.Argument(help="Arms (default: all)")] = None,
) -> None:
    """Estimate time and disk space of the arms.

    Times a few steps of arms that have not run.
    """
    from study.stages.estimate import plan_lines

    for line in plan_lines(ROOT, arms or ()):
        print(line)


def doctor() -> None:
    """Check versions, device, disk, remote and cache.

    Exits with code 1 if the installation is broken.
    """
    from study.stages.doctor import examine

    healthy = True
    for line, fine in examine(ROOT):
        print(line)
        healthy = healthy and fine
    raise typer.Exit(0 if healthy else 1)


def verify(
    retrain: Annotated[
        str | None, typer.Option(help="ARM:SEED: train it again and compare")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Check the hashes of the DVC cache instead")
    ] = False,
) -> None:
    """Compare stored artifacts with their hashes and scores.

    --retrain also trains one seed again.
    """
    from study.artifacts.cache import cache_lines
    from study.stages.verify import verify_all

    problems = 0
    for line, fine in cache_lines(ROOT) if cache else verify_all(ROOT, retrain):
        print(line)
        problems += not fine
    raise typer.Exit(1 if problems else 0)


def clean(
    dry: Annotated[bool, typer.Option("--dry", help="Show what would be deleted")] = False,
) -> None:
    """Delete collected run folders and build output."""
    from study.stages.clean import clean_checkout

    for line in clean_checkout(ROOT, dry):
        print(line)
