"""study arms: list, show, diff, fields, check, new, seeds, extend, archive, rename."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.options import grouped

if TYPE_CHECKING:
    from study.editing.archive import Archived
    from study.editing.arms import Draft
    from study.editing.claiming import ClaimDraft

app = typer.Typer(
    help="List, check, add, rename and archive arms of params.yaml.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Name of an arm")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object")]
PARAMS = Path("params.yaml")
Commit = Annotated[
    bool,
    typer.Option(
        "--commit", help="Commit the change to git (required for runs to count for a claim)"
    ),
]


@app.command("list")
def list_arms() -> None:
    """List all arms with question, changes and number of seeds."""
    from rich.table import Table

    from study.settings import load_study
    from study.terminal import console

    table = Table("arm", "asks", "versus", "changes", "seeds", box=None)
    for name, row in load_study(PARAMS).arms.items():
        changes = ", ".join(row.changes)
        table.add_row(name, row.asks, row.versus or "", changes, str(len(row.seeds)))
    console().print(table)


@app.command()
def show(name: Name) -> None:
    """Print every setting of one arm."""
    from study.settings import find_row, leaves, load_study

    row = find_row(load_study(PARAMS), name)
    print(f"{name}: {row.asks}")
    for key, value in leaves(row).items():
        print(f"  {key} = {json.dumps(value)}")
    print(f"  seeds = {list(row.seeds)}")


@app.command("diff")
def diff_arms(first: Name, second: Name) -> None:
    """Print the settings in which two arms differ."""
    from study.settings import diff, find_row, load_study

    study = load_study(PARAMS)
    changed = diff(find_row(study, first), find_row(study, second))
    for key, (left, right) in changed.items():
        print(f"{key}: {json.dumps(left)} -> {json.dumps(right)}")
    if not changed:
        print("no difference")


Base = Annotated[str, typer.Option("--from", help="The arm to start from")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Change SECTION.FIELD=VALUE (repeatable)")
]
Seeds = Annotated[
    str | None, typer.Option(help="Seeds, such as 1-6,11 (default: those of the base)")
]
REGISTERED = "registered"


@app.command()
def fields(as_json: AsJson = False) -> None:
    """List the options of every network.

    --json adds their types, choices and bounds.
    """
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
        str | None, typer.Option("--from", help="Check a new arm NAME that starts from this arm")
    ] = None,
    settings: Settings = None,
    seeds: Seeds = None,
) -> None:
    """Check geometry, memory and time of an arm before it runs."""
    from study.stages.estimate import check_arm, check_draft

    if base is None and (settings or seeds):
        raise typer.BadParameter(
            "--set and --seeds describe a new arm; give the arm it starts from with --from"
        )
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
    from study.editing.arms import Draft, parse_seeds

    listed = None if seeds is None else parse_seeds(seeds)
    return Draft(name, base, tuple(settings or ()), asks, listed)


@dataclass(frozen=True)
class ClaimOptions:
    """The options of `study arms new` that register a claim; none is registered without `claim`."""

    claim: Annotated[
        str | None, typer.Option(help="Id of a claim to register: NAME against its base")
    ] = None
    claim_text: Annotated[str, typer.Option(help="The claim, one sentence")] = ""
    metric: Annotated[str, typer.Option(help="Metric of the claim")] = "last.standard.amplitude.mae"
    direction: Annotated[
        str, typer.Option(help="Direction of the claim: lower, higher or equal")
    ] = "lower"
    margin: Annotated[
        float, typer.Option(help="Smallest effect of interest, in the metric's unit")
    ] = 0.02
    family: Annotated[
        str | None, typer.Option(help="Family of claims corrected together (default: NAME)")
    ] = None
    needed_seeds: Annotated[int, typer.Option(help="Number of paired seeds")] = 8

    def draft(self, arm: str) -> ClaimDraft | None:
        """The claim on `arm`; None if none was requested."""
        from study.editing.claiming import ClaimDraft

        if not self.claim:
            return None
        return ClaimDraft(
            id=self.claim,
            text=self.claim_text,
            metric=self.metric,
            direction=self.direction,
            margin=self.margin,
            family=self.family or arm,
            needed_seeds=self.needed_seeds,
        )


@app.command()
@grouped(ClaimOptions, "options")
def new(
    name: Name,
    base: Base = "control",
    settings: Settings = None,
    asks: Annotated[
        str | None, typer.Option(help="The question that the arm answers, one sentence")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help=f"Seeds, such as 1-6,11, or {REGISTERED}: derived from the claims"),
    ] = None,
    *,
    options: ClaimOptions,
    commit: Commit = False,
) -> None:
    """Add an arm that changes some settings of an existing arm.

    With --claim the arm and its claim are written together.
    """
    from study.editing.arms import planned
    from study.editing.claiming import add, committed, proposed_seeds, seeded
    from study.settings import UserError, load_study, seeds_text
    from study.stages.estimate import check_draft, takes

    claim = options.draft(name)
    if seeds == REGISTERED and claim is None:
        raise UserError(
            f"--seeds {REGISTERED} derives the seeds from the claim; give its id with --claim"
        )
    draft = _draft(name, base, settings, None if seeds == REGISTERED else seeds, asks)
    study = load_study(PARAMS)
    there = name in study.arms  # completes an interrupted command
    check_draft(Path(), draft)
    row = planned(study, draft, takes()).row
    proposed = proposed_seeds(Path(), study, draft, row, claim) if claim else ()
    if seeds == REGISTERED:
        draft = replace(draft, seeds=proposed)
    elif seeds is None and claim:
        draft = seeded(Path(), draft, proposed)
    row = add(Path(), draft, claim, takes(), commits=commit)
    print(
        f"{'found' if there else 'added'} {name} (versus {base}; changes: {', '.join(row.changes)})"
    )
    if len(row.changes) > 1:
        print(
            f"{len(row.changes)} factors changed: a difference cannot be attributed to one of them"
        )
    if claim:
        print(f"claimed {claim.id}")
    if proposed and set(proposed) != set(row.seeds):
        print(
            f"seeds {seeds_text(row.seeds)}; the claims on {row.data} give {seeds_text(proposed)} "
            f"(`--seeds {REGISTERED}`, once {base} declares them too)"
        )
    if commit:
        print(f"committed as {committed(Path(), draft, claim, takes())}")
    else:
        files = "params.yaml and claims.yaml" if claim else "params.yaml"
        print(f"commit {files} before the runs; otherwise claims exclude them")
    print(f"next: dvc repro, or study launch {name}")


@app.command("seeds")
def seed_list(
    data: Annotated[str, typer.Argument(help="Data set, such as data/quick")],
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="Number of seeds")] = 8,
) -> None:
    """Derive the seeds of a data set from its claims."""
    from study.evidence.registered import claims_on, registered_seeds
    from study.settings import load_study

    claims = claims_on(Path(), load_study(PARAMS).arms, data)
    print(", ".join(map(str, registered_seeds(claims, data, n))))
    print(f"from {len(claims)} claims: {', '.join(claim.id for claim in claims)}")


@app.command()
def extend(
    name: Name,
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="Number of fresh seeds")] = 4,
    seeds: Annotated[
        str | None, typer.Option(help="These seeds instead, such as 9-12 (default: the next free)")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print seeds, runs and minutes; write nothing")
    ] = False,
    as_json: AsJson = False,
    commit: Commit = False,
) -> None:
    """Add fresh seeds to an arm.

    Settings and stored runs are kept; `study launch NAME` runs the new seeds.
    """
    from study.editing.arms import parse_seeds
    from study.editing.seeds import fresh_seeds, more_seeds, uncommitted_seeds
    from study.settings import load_study, seeds_text
    from study.stages.estimate import minutes_of

    root = Path()
    study = load_study(PARAMS)
    # An interrupted command left the seeds that it had chosen: the same command commits these.
    left = uncommitted_seeds(root, name) if commit and not seeds else ()
    if seeds:
        chosen = parse_seeds(seeds)
    else:
        chosen = left if len(left) == n else fresh_seeds(root, study, name, n)
    minutes = minutes_of(root, name, len(chosen))
    if as_json:
        print(json.dumps({"arm": name, "seeds": chosen, "minutes": minutes}))
    else:
        price = (
            "no estimate: its run time was never measured"
            if minutes is None
            else f"about {minutes} min"
        )
        print(f"{name}: seeds {seeds_text(chosen)}, {len(chosen)} runs, {price}")
    if dry_run:
        return
    made = more_seeds(root, name, chosen, commit)
    if as_json:
        return
    print(f"committed as {made}" if made else "commit params.yaml before the runs")
    print(f"next: study launch {name}")


@app.command()
def archive(name: Name) -> None:
    """Remove an arm; archived/ keeps its results and claims."""
    from study.editing.archive import archive_arm
    from study.jobs import check_idle

    check_idle(Path(), name)
    _print_archived(f"archived {name}", archive_arm(Path(), name))


@app.command()
def rename(name: Name, to: Annotated[str, typer.Argument(help="The new name")]) -> None:
    """Rename an arm; archived/ keeps results of the old name."""
    from study.editing.archive import rename_arm
    from study.jobs import check_idle

    check_idle(Path(), name)
    _print_archived(f"renamed {name} to {to}", rename_arm(Path(), name, to))


def _print_archived(done: str, archived: Archived) -> None:
    print(f"{done}; its results are in {archived.folder}")
    if archived.claims:
        print(f"superseded claims: {', '.join(archived.claims)}")
    print("next: dvc repro findings")
