"""Values for the report's own sections; their text is in templates/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.format import counted, join_words
from study.evidence.markdown import identical
from study.report import crate, gather
from study.report.figures.curves import draw_curves
from study.report.figures.pictures import draw_pictures
from study.report.figures.reconstructions import draw_reconstructions
from study.report.figures.residuals import draw_residuals
from study.report.figures.resolution import draw_resolution
from study.report.figures.seeds import draw_seeds
from study.report.gather import Inputs, not_here
from study.report.page import Section

ERROR = "last.standard.amplitude.mae"
ERRORS = {ERROR: "amplitude MAE (object units)", "last.standard.phase.mae": "phase MAE (rad)"}
SCORES = {
    **ERRORS,
    "last.standard.amplitude.ssim": "amplitude SSIM",
    "last.standard.phase.ssim": "phase SSIM",
}
SECONDS = {"training.seconds": "seconds per run"}


def pictures(inputs: Inputs) -> Mapping[str, Any]:
    """Values for the section on images, resolution and residuals of reconstructions."""
    draws = (draw_pictures, draw_reconstructions, draw_resolution, draw_residuals)
    return {"drawn": [draw(inputs) for draw in draws]}


def studies(inputs: Inputs) -> Mapping[str, Any]:
    """Values for all studies: question, table of arms, seeds and loss curves."""
    parts = []
    for group in inputs.groups:
        arms = inputs.ordered(group.arms)
        absent = [arm for arm in group.arms if arm not in arms]
        drawn = [draw(inputs, group) for draw in (draw_seeds, draw_curves) if arms]
        missing = not_here(f"Results of {join_words(absent)}") if absent else ""
        parts.append({"group": group, "arms": arms, "missing": missing, "drawn": drawn})
    more = {"last.val_loss": "validation loss", "training.clipped_fraction": "clipped fraction"}
    return {
        "parts": parts,
        "columns": {**SCORES, **more, **SECONDS},
        "error": ERROR,
        "declared": (inputs.root / gather.STUDIES / "params.yaml").is_file(),
    }


def limits(inputs: Inputs) -> Mapping[str, Any]:
    """Values for the limits of the verdicts in findings.json, without repetitions."""
    claims = inputs.findings.claims
    found: dict[str, list[str]] = {}
    for entry in claims.values():
        for limit in entry.limits:
            found.setdefault(limit, []).append(entry.id)
    every = f"all {counted(len(claims), 'claim')}"
    lines = [
        f"{limit[0].upper()}{limit[1:]}. "
        f"({every if len(names) == len(claims) > 1 else join_words(names)})"
        for limit, names in found.items()
    ]
    lines += [f"{flag.reason}." for flag in inputs.findings.scale_flags]
    lines += [f"{line}." for line in identical(inputs.findings.flags)]
    waiting = [name for name, arm in inputs.findings.arms.items() if not arm.data]
    return {
        "lines": [*lines, *([f"Arms without results: {join_words(waiting)}."] if waiting else [])]
    }


def provenance(inputs: Inputs) -> Mapping[str, Any]:
    """Values for the provenance: commits, environments, versions, hashes."""
    commits: dict[str, int] = {}
    for arm in inputs.arms.values():
        for content in arm.seeds.values():
            commit = content["code"]["commit"] or "no commit"
            commits[commit] = commits.get(commit, 0) + 1
    # `dvc repro` does not recompute recorded studies; only `make repro-all` does.
    recorded = any(name.startswith(f"{gather.STUDIES}/") for name in inputs.findings.arms)
    return {
        "commits": commits,
        "files": inputs.hashes(),
        "environments": inputs.environments(),
        "versions": crate.versions(),
        "everything": "make repro-all" if recorded else inputs.findings.reproduce,
    }


VERDICTS = Section("Verdicts", "report/templates/verdicts.html")
PICTURES = Section(
    "Reconstructions, resolution, residuals", "report/templates/pictures.html", pictures
)
STUDIES = Section("Studies", "report/templates/studies.html", studies)
LIMITS = Section("Limits", "report/templates/limits.html", limits)
PROVENANCE = Section("Provenance", "report/templates/provenance.html", provenance)
