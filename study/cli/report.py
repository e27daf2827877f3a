"""study report: one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path()


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    out: Annotated[Path, typer.Option(help="Folder for the report")] = Path("build/report"),
) -> None:
    """Write the HTML report, its figures and an RO-Crate."""
    from study.report.build import write_report

    for file in write_report(ROOT, out):
        print(file)
