"""study plan, doctor, verify, clean: looking after a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path()


def register(app: typer.Typer) -> None:
    for command in (plan, doctor, verify, clean):
        app.command()(command)


def plan() -> None:
    """What `dvc repro` would take here: minutes and disk."""
    from study.stages.estimate import plan_lines

    for line in plan_lines(ROOT):
        print(line)


def doctor() -> None:
    """Versions, device, disk, remote and cache; exit code 0 unless the installation is broken."""
    from study.stages.doctor import examine

    healthy = True
    for line, fine in examine(ROOT):
        print(line)
        healthy = healthy and fine
    raise typer.Exit(0 if healthy else 1)


def verify(
    retrain: Annotated[str | None, typer.Option(help="ARM:SEED to train again and compare")] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Hash the DVC cache instead")] = False,
) -> None:
    """Hash and score the stored artifacts again; optionally train one seed again."""
    from study.stages.cache import cache_lines
    from study.stages.verify import verify_all

    problems = 0
    for line, fine in cache_lines(ROOT) if cache else verify_all(ROOT, retrain):
        print(line)
        problems += not fine
    raise typer.Exit(1 if problems else 0)


def clean(
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would go")] = False,
) -> None:
    """Remove live folders that are collected, and build output; says what it frees."""
    from study.stages.clean import clean_checkout

    for line in clean_checkout(ROOT, dry):
        print(line)
