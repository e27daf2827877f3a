"""study arms: list, show, diff, fields, check, new, archive, rename."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from study.archive import Archived
    from study.arms import Draft

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


Base = Annotated[str, typer.Option("--from", help="The arm to start from")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="section.field=value; may be repeated")
]
Seeds = Annotated[str | None, typer.Option(help="Such as 1-6,11 (else those of the base)")]


@app.command()
def fields(as_json: AsJson = False) -> None:
    """The options that every network takes; with --json their types, choices and bounds."""
    from study.stages.estimate import networks

    schemas = networks()
    if as_json:
        print(json.dumps(schemas, allow_nan=False))
        return
    for name, schema in schemas.items():
        print(f"{name}: {', '.join(schema['properties'])}")


@app.command()
def check(
    name: Name,
    as_json: AsJson = False,
    base: Annotated[
        str | None, typer.Option("--from", help="NAME is not written yet: start from this arm")
    ] = None,
    settings: Settings = None,
    seeds: Seeds = None,
) -> None:
    """Geometry, parameters, memory and estimated time of one arm, before anything is allocated."""
    from study.stages.estimate import check_arm, check_draft

    if base is None and (settings or seeds):
        raise typer.BadParameter("--set and --seeds describe an arm to come: name its --from too")
    if base is None:
        facts = check_arm(Path(), name)
    else:
        facts = check_draft(Path(), _draft(name, base, settings, seeds, None))
    if as_json:
        print(json.dumps(facts, allow_nan=False))
        return
    for key, value in facts.items():
        print(f"{key}: {value}")


def _draft(
    name: str, base: str, settings: list[str] | None, seeds: str | None, asks: str | None
) -> Draft:
    from study.arms import Draft, parse_seeds

    listed = None if seeds is None else parse_seeds(seeds)
    return Draft(name, base, tuple(settings or ()), asks, listed)


@app.command()
def new(
    name: Name,
    base: Base = "control",
    settings: Settings = None,
    asks: Annotated[str | None, typer.Option(help="The question, in a sentence")] = None,
    seeds: Seeds = None,
    claim: Annotated[
        str | None, typer.Option(help="Id of a claim on NAME against its base, fixed with it")
    ] = None,
    claim_text: Annotated[str, typer.Option(help="The claim, in a sentence")] = "",
    metric: Annotated[str, typer.Option(help="The claim's metric")] = "last.standard.amplitude.mae",
    direction: Annotated[str, typer.Option(help="lower, higher or equal")] = "lower",
    margin: Annotated[float, typer.Option(help="The least effect, in the metric's unit")] = 0.02,
    family: Annotated[
        str | None, typer.Option(help="Claims corrected together (else NAME)")
    ] = None,
    needed_seeds: Annotated[int, typer.Option(help="Paired seeds that the claim fixes")] = 8,
    commit: Annotated[
        bool,
        typer.Option("--commit", help="Commit it to git, or its runs count for no claim"),
    ] = False,
) -> None:
    """Add an arm to params.yaml: another arm with some fields changed; with --claim, its claim."""
    from study.claiming import ClaimDraft, add, committed
    from study.stages.estimate import check_draft, takes

    draft = _draft(name, base, settings, seeds, asks)
    check_draft(Path(), draft)
    claimed = claim and ClaimDraft(
        claim, claim_text, metric, direction, margin, family or name, needed_seeds
    )
    row = add(Path(), draft, claimed or None, takes())
    print(f"added {name} (versus {base}; changes: {', '.join(row.changes)})")
    if len(row.changes) > 1:
        print(f"{len(row.changes)} factors changed: no difference can be attributed to one of them")
    if claim:
        print(f"claimed {claim}")
    if commit:
        print(f"committed as {committed(Path(), draft, claimed or None)}")
    else:
        files = "params.yaml and claims.yaml" if claim else "params.yaml"
        print(f"commit {files} before the runs, or they count for no claim")
    print(f"next: study arms check {name}; dvc repro")


@app.command()
def archive(name: Name) -> None:
    """Take an arm out of the study; its results and claims are kept under archived/."""
    from study.archive import archive_arm
    from study.launch import check_idle

    check_idle(Path(), name)
    _say(f"archived {name}", archive_arm(Path(), name))


@app.command()
def rename(name: Name, to: Annotated[str, typer.Argument(help="The new name")]) -> None:
    """Give an arm another name; results and claims under the old one are kept in archived/."""
    from study.archive import rename_arm
    from study.launch import check_idle

    check_idle(Path(), name)
    _say(f"renamed {name} to {to}", rename_arm(Path(), name, to))


def _say(done: str, archived: Archived) -> None:
    print(f"{done}; what was under that name: {archived.folder}")
    if archived.claims:
        print(f"claims that named it, superseded from now on: {', '.join(archived.claims)}")
    print("next: dvc repro findings")
