"""study arms: list, show, diff, check, new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The arms of params.yaml.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of an arm")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object")]
PARAMS = Path("params.yaml")


@app.command("list")
def list_arms() -> None:
    """Every row: what it asks, against which arm, with how many seeds."""
    from rich.console import Console
    from rich.table import Table

    from study.params import load_study

    table = Table("arm", "asks", "versus", "changes", "seeds", box=None)
    for name, row in load_study(PARAMS).arms.items():
        changes = ", ".join(row.changes)
        table.add_row(name, row.asks, row.versus or "", changes, str(len(row.seeds)))
    Console().print(table)


@app.command()
def show(name: Name) -> None:
    """Every setting of one arm."""
    from study.params import find_row, leaves, load_study

    row = find_row(load_study(PARAMS), name)
    print(f"{name}: {row.asks}")
    for key, value in leaves(row).items():
        print(f"  {key} = {json.dumps(value)}")
    print(f"  seeds = {list(row.seeds)}")


@app.command("diff")
def diff_arms(first: Name, second: Name) -> None:
    """The factors in which two arms differ."""
    from study.params import diff, find_row, load_study

    study = load_study(PARAMS)
    changed = diff(find_row(study, first), find_row(study, second))
    for key, (left, right) in changed.items():
        print(f"{key}: {json.dumps(left)} -> {json.dumps(right)}")
    if not changed:
        print("no difference")


@app.command()
def check(name: Name, as_json: AsJson = False) -> None:
    """Geometry, parameters, memory and estimated time of one arm, before anything is allocated."""
    from study.stages.estimate import check_arm

    facts = check_arm(Path(), name)
    if as_json:
        print(json.dumps(facts, allow_nan=False))
        return
    for key, value in facts.items():
        print(f"{key}: {value}")


@app.command()
def new(
    name: Name,
    base: Annotated[str, typer.Option("--from", help="The arm to start from")] = "control",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value; may be repeated")
    ] = None,
    asks: Annotated[str | None, typer.Option(help="The question, in a sentence")] = None,
) -> None:
    """Add an arm to params.yaml: another arm with some fields changed."""
    from study.arms import new_arm

    row = new_arm(PARAMS, name, base, settings or [], asks)
    print(f"added {name} (versus {base}; changes: {', '.join(row.changes)})")
    print(f"next: study arms check {name}; dvc repro")
