"""study score, evaluate, findings, results, explain, record: numbers from stored artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path()


def register(app: typer.Typer) -> None:
    for command in (score, evaluate, findings, results, explain, record):
        app.command()(command)


def score(
    prediction: Annotated[Path, typer.Argument(help="npz with a complex array `object`")],
    truth: Annotated[Path, typer.Argument(help="npz with a complex array `object`")],
    metrics: Annotated[str, typer.Option(help="Metric set: published or standard")] = "standard",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Score a reconstruction against the truth; the degeneracy gate comes first."""
    from study.metrics.files import score_files

    scores = score_files(prediction, truth, metrics)
    print(json.dumps(scores, allow_nan=False, indent=None if as_json else 1))


def evaluate(arm: Annotated[str, typer.Option(help="Name of an arm in params.yaml")]) -> None:
    """Score the stored runs of an arm into results/<arm>."""
    from study.evidence.scores import score_arm
    from study.params import find_row, load_study

    row = find_row(load_study(ROOT / "params.yaml"), arm)
    score_arm(arm, row, ROOT / "runs", ROOT, ROOT / "results")
    print(f"results/{arm}: {len(row.seeds)} seeds")


def findings(
    check: Annotated[bool, typer.Option("--check", help="Name findings that are stale")] = False,
    readme: Annotated[
        bool, typer.Option("--readme", help="Write the README's verdict table from findings.json")
    ] = False,
) -> None:
    """Write findings.json and findings.md from the stored results and claims.yaml."""
    from study.stages.findings import check_findings, write_findings
    from study.stages.readme import write_readme

    if check:
        print(check_findings(ROOT))
    if readme:
        print(write_readme(ROOT))
    if check or readme:
        return
    print(write_findings(ROOT))


def results() -> None:
    """The results table, and whether it repeats the committed one."""
    from study.stages.findings import print_results

    print_results(ROOT)


def explain(
    number: Annotated[str, typer.Argument(help="Id, such as control/s1/last.val_loss")],
) -> None:
    """A number's value, its inputs, and the command that reproduces it."""
    from study.evidence.explain import explain as explain_number

    print(explain_number(number, ROOT))


def record(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline folder, such as full")],
) -> None:
    """Copy the small results of another pipeline to recorded/, for the findings."""
    from study.stages.record import record_results

    for line in record_results(pipeline, ROOT / "recorded"):
        print(line)
