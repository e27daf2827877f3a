"""From a pipeline folder to build/report: page, PDF, figures, crate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from study.report.crate import write_crate
from study.report.document import Block, Drawing
from study.report.figures.style import Saved, save, save_pages, styled
from study.report.gather import Inputs, gather
from study.report.page import render_page
from study.report.pdf import render_pdf
from study.report.sections.better import better
from study.report.sections.deaths import killed
from study.report.sections.head import TITLE, head
from study.report.sections.limits import limits
from study.report.sections.pictures import pictures
from study.report.sections.provenance import provenance
from study.report.sections.published import published
from study.report.sections.regimes import regimes
from study.report.sections.studies import studies
from study.report.sections.traces import traced
from study.report.sections.verdicts import verdicts
from study.runs import write_text, write_whole

SECTIONS: tuple[Callable[[Inputs], list[Block]], ...] = (
    head,
    verdicts,
    killed,
    traced,
    better,
    published,
    pictures,
    studies,
    regimes,
    limits,
    provenance,
)


def write_report(root: Path, out: Path) -> list[Path]:
    """Write the report of the pipeline folder `root` into `out`; returns the files a reader opens.

    Raises UserError without findings and for torn results.
    """
    inputs = gather(root.resolve())
    with styled():
        blocks = [block for section in SECTIONS for block in section(inputs)]
        drawings = [block for block in blocks if isinstance(block, Drawing)]
        saved = {drawing.name: save(drawing) for drawing in drawings}
        vectors = save_pages(drawings)
    made = _figures(saved, out / "figures")
    page, sheet = out / "report.html", out / "report.pdf"
    write_text(page, render_page(TITLE, blocks, saved))
    pages = render_pdf(TITLE, blocks, saved, vectors)
    write_whole(sheet, lambda stream: stream.write(pages))
    return [page, sheet, write_crate(inputs, out, TITLE, [page, sheet, *made])]


def _figures(saved: dict[str, Saved], folder: Path) -> list[Path]:
    """SVG and CSV of every figure; figures of an earlier report go."""
    shutil.rmtree(folder, ignore_errors=True)
    files = []
    for name, figure in saved.items():
        for suffix, text in ((".svg", figure.svg), (".csv", figure.csv)):
            files.append(folder / f"{name}{suffix}")
            write_text(files[-1], text)
    return files
