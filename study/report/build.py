"""Write build/report for a pipeline folder: page, figures, RO-Crate."""

from __future__ import annotations

from pathlib import Path

from study import investigations
from study.report import sections
from study.report.crate import remove_earlier, write_crate
from study.report.figures.style import styled
from study.report.gather import gather
from study.report.page import TITLE, render_page
from study.runs import write_text
from study.runs.links import refuse_links
from study.settings import UserError


def write_report(root: Path, out: Path) -> list[Path]:
    """Write the report of the pipeline folder `root` to `out`; returns the page and the metadata.

    Raises UserError if there are no findings, for damaged results, and for links that lead out of
    the checkout.
    """
    for folder in (out / "figures", out / "inputs"):
        refuse_links(folder)
        if folder.is_symlink():
            raise UserError(f"{folder} is a symbolic link; remove it, or choose another --out")
    inputs = gather(root.resolve())
    requested = [section for part in investigations.parts("section") for section in part.SECTIONS]
    parts = [sections.VERDICTS, *requested, sections.PICTURES, sections.STUDIES]
    with styled():
        page, saved = render_page(inputs, [*parts, sections.LIMITS, sections.PROVENANCE])
    remove_earlier(out, TITLE)
    made = [out / "report.html"]
    write_text(made[0], page)
    for name, figure in saved.items():
        for suffix, text in ((".svg", figure.svg), (".csv", figure.csv)):
            made.append(out / "figures" / f"{name}{suffix}")
            write_text(made[-1], text)
    return [made[0], write_crate(inputs, out, TITLE, made)]
