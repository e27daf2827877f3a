"""Stage `findings`, and the tables that the terminal shows of it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from study.evidence.claims import load_claims
from study.evidence.findings import build, render
from study.evidence.ledger import read_findings, stale
from study.evidence.table import Comparison, arms_table, cell, committed_results, compare
from study.params import UserError, load_study
from study.runs import write_json, write_text

COLUMNS = {
    "last.val_loss": "val loss",
    "last.standard.amplitude.ssim": "amp SSIM",
    "last.standard.amplitude.mae": "amp MAE",
    "last.standard.phase.ssim": "phase SSIM",
    "last.r_factor.sum": "R",
    "training.seconds": "s / run",
}


def write_findings(root: Path) -> str:
    """findings.json and findings.md from results/, recorded/, claims.yaml; a line that sums up."""
    file = root / "findings.json"
    findings = build(
        root / "results",
        root / "recorded",
        load_claims(root / "claims.yaml"),
        load_study(root / "params.yaml"),
        read_findings(root),
    )
    write_json(file, findings)
    write_text(root / "findings.md", render(findings))
    counts = ", ".join(f"{count} {status}" for status, count in findings["counts"].items() if count)
    return f"findings.json, findings.md: {counts or 'no claims'}"


def check_findings(root: Path) -> str:
    """Which findings rest on evidence that has changed since. Raises UserError when any does."""
    findings = read_findings(root)
    if findings is None:
        raise UserError(f"{root / 'findings.json'} is absent or torn; run `dvc repro findings`")
    changed = stale(findings, root)
    if changed:
        told = "; ".join(f"{claim}: {', '.join(files)}" for claim, files in changed.items())
        raise UserError(f"stale findings ({told}); run `dvc repro` to judge them again")
    return f"{len(findings['claims'])} findings rest on the evidence that is here"


def print_results(root: Path) -> None:
    """The arms over their seeds, and whether they repeat what is committed."""
    arms = arms_table(root / "results")
    if arms.empty:
        raise UserError("no results in this checkout; `make repro` computes them")
    here = compare(root / "results", committed_results(root))
    console = Console()
    console = console if console.is_terminal else Console(width=180)
    shown = {path: title for path, title in COLUMNS.items() if path in arms}
    table = Table(box=None)
    for title in ("arm", "ok/failed/collapsed", *shown.values(), "committed"):
        table.add_column(title, no_wrap=True)
    for record in arms.to_dict("records"):
        seeds = "/".join(str(record[key]) for key in ("ok", "failed", "collapsed"))
        cells = [cell(record, path) for path in shown]
        told = here.get(record["arm"], Comparison("new", ""))
        table.add_row(record["arm"], seeds, *cells, told.result)
    console.print(table)
    console.print(
        "mean ± half of the 95 % t interval over seeds, last weights; metric set standard"
    )
    for name, comparison in here.items():
        if comparison.result in ("differs", "missing"):
            console.print(f"{name} {comparison.result}: {comparison.reason}")
