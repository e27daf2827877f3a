"""Stage `findings`, and the table of results for the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from study.artifacts.integrity import changed_files
from study.evidence.arms import load_arms
from study.evidence.cells import results_table
from study.evidence.claims import load_claims
from study.evidence.committed import Repetition, committed_results, compare_arms
from study.evidence.findings import build, render
from study.evidence.packing import packed, text_of
from study.evidence.staleness import current_findings, earlier_findings, stale
from study.evidence.summary import summarise
from study.reading import joined
from study.runs import write_text
from study.settings import UserError, load_study
from study.terminal import console

COLUMNS = {
    "last.val_loss": "val loss",
    "last.standard.amplitude.ssim": "amp SSIM",
    "last.standard.amplitude.mae": "amp MAE",
    "last.standard.phase.ssim": "phase SSIM",
    "last.r_factor.sum": "R",
    "training.seconds": "s / run",
}


def write_findings(root: Path) -> str:
    """Write findings.json and findings.md from results and claims.yaml; returns a summary."""
    file = root / "findings.json"
    findings = build(
        root,
        load_claims(root / "claims.yaml"),
        load_study(root / "params.yaml"),
        earlier_findings(root),
    )
    write_text(file, text_of(packed(findings)))
    write_text(root / "findings.md", render(findings))
    counts = ", ".join(f"{count} {status}" for status, count in findings.counts.items() if count)
    return f"findings.json, findings.md: {counts or 'no claims'}"


def check_findings(root: Path) -> str:
    """Check that findings agree with the stored evidence, and results with their records.

    Returns a summary. Raises UserError naming the findings whose evidence changed, or the results
    in git that differ from dvc.lock or recorded.json.
    """
    findings = current_findings(root)
    changed = stale(findings, root)
    if changed:
        message = "; ".join(f"{claim}: {', '.join(files)}" for claim, files in changed.items())
        raise UserError(f"stale findings ({message}); run `dvc repro` to update them")
    if problems := changed_files(root):
        raise UserError(f"{joined(problems)}; restore them from git or run the pipeline again")
    return f"{len(findings.claims)} findings agree with the stored evidence"


def print_results(root: Path) -> None:
    """Print means over seeds per arm, and whether they reproduce the committed results.

    Raises UserError if there are no results.
    """
    arms = load_arms(root / "results")
    if not arms:
        raise UserError("no results in this checkout; `make repro` computes them")
    here = compare_arms(arms, committed_results(root))
    lines = results_table(
        {name: summarise(name, None, results) for name, results in arms.items()}, arms, [*COLUMNS]
    )
    shown = [path for path in COLUMNS if any(line.cells[path].status != "absent" for line in lines)]
    out = console()
    out = out if out.is_terminal else console(width=180)
    table = Table(box=None)
    titles = (COLUMNS[path] for path in shown)
    for title in ("arm", "ok / failed / collapsed", *titles, "committed"):
        table.add_column(title, no_wrap=True)
    for line in lines:
        cells = [line.cells[path].short(3) for path in shown]
        word = here.get(line.name, Repetition("new", "")).result
        table.add_row(line.name, line.arm.seeds.counts(), *cells, word)
    out.print(table)
    out.print("mean ± half of the 95 % t interval over seeds, last weights; metric set standard")
    for name, comparison in here.items():
        if comparison.result in ("differs", "missing"):
            out.print(f"{name} {comparison.result}: {comparison.reason}")
