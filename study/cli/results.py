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
    prediction: Annotated[Path, typer.Argument(help="npz file with a complex array `object`")],
    truth: Annotated[Path, typer.Argument(help="npz file with a complex array `object`")],
    metrics: Annotated[str, typer.Option(help="Metric set: published or standard")] = "standard",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Score a reconstruction against the truth.

    Images without structure are not scored.
    """
    from study.metrics.files import score_files

    scores = score_files(prediction, truth, metrics)
    print(json.dumps(scores, allow_nan=False, indent=None if as_json else 1))


def evaluate(arm: Annotated[str, typer.Option(help="Name of an arm in params.yaml")]) -> None:
    """Score the stored runs of an arm into results/ARM."""
    from study.stages.evaluate import evaluate_arm

    print(f"results/{arm}: {evaluate_arm(ROOT, arm)} seeds")


def findings(
    check: Annotated[bool, typer.Option("--check", help="List outdated findings instead")] = False,
    readme: Annotated[
        bool, typer.Option("--readme", help="Update the verdicts in README.md from findings.json")
    ] = False,
) -> None:
    """Judge the claims; write findings.json and findings.md."""
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
    """Compare the results table with the committed one."""
    from study.stages.findings import print_results

    print_results(ROOT)


def explain(
    number: Annotated[str, typer.Argument(help="Id of a number, such as control/s1/last.val_loss")],
) -> None:
    """Print a number, its inputs and its command."""
    from study.evidence.explain import explain as explain_number

    print(explain_number(number, ROOT))


def record(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline folder, such as full")],
) -> None:
    """List results of another pipeline for the findings."""
    from study.stages.record import record_results

    for line in record_results(pipeline, ROOT):
        print(line)
