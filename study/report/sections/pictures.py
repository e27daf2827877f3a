"""What the reconstructions look like, how far they resolve, and what they leave unexplained."""

from __future__ import annotations

from study.report.document import Block, Drawing, Heading, said
from study.report.figures.reconstructions import draw_reconstructions
from study.report.figures.residuals import draw_residuals
from study.report.figures.resolution import draw_resolution
from study.report.gather import Inputs


def pictures(inputs: Inputs) -> list[Block]:
    drawn = (draw_reconstructions(inputs), draw_resolution(inputs), draw_residuals(inputs))
    blocks: list[Block] = [Heading(2, "Reconstructions, resolution, residuals")]
    return blocks + [one if isinstance(one, Drawing) else said(one) for one in drawn]
