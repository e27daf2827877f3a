"""Stage `evaluate`: scores and images of an arm from its stored runs."""

from __future__ import annotations

from pathlib import Path

from study.evidence.scores import score_arm
from study.runs import RunFolder, provenance
from study.runs.collect import provenance_of
from study.runs.links import refuse_links
from study.settings import find_row, load_study


def evaluate_arm(root: Path, name: str) -> int:
    """Write results/<arm> from runs/<arm>; returns the number of declared seeds.

    For runs of earlier versions, which contain their own provenance, it is stored in provenance/ as
    for other runs. Provenance of seeds that the arm does not declare is removed. Raises UserError
    as `score_arm` does, and for links that lead out of the checkout.
    """
    for place in (root / "results" / name / "seeds", root / provenance.FOLDER / name):
        refuse_links(place)
    row, runs = find_row(load_study(root / "params.yaml"), name), root / "runs"
    score_arm(name, row, runs, root, root / "results")
    declared = {f"s{seed}.json" for seed in row.seeds}
    for file in (root / provenance.FOLDER / name).glob("s*.json"):
        if file.name not in declared:
            file.unlink()
    for seed in row.seeds:
        run = RunFolder(runs / name / f"s{seed}")
        facts = provenance.facts_of(run)
        if facts is not None:
            provenance.keep(provenance_of(runs / name, seed), facts, provenance.hashes(run.path))
    return len(row.seeds)
