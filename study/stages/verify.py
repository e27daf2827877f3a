"""`study verify`: check that stored artifacts are unchanged and reproduce the stored numbers."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study.artifacts.integrity import Line, integrity_lines
from study.evidence.arms import read_scores, scores_only
from study.evidence.scores import score_arm
from study.evidence.staleness import read_findings, stale
from study.formats.dataset import verify_dataset
from study.runs import RunFolder
from study.runs.seed_folders import dataset_folders, seed_folder
from study.settings import Arm, Study, UserError, find_row, load_study

TOLERANCE = 1e-6


def verify_all(root: Path, retrain: str | None) -> Iterator[Line]:
    """Hash all data sets, score all stored runs again, check small results and findings.

    `retrain`: "ARM:SEED", to train that seed again in a temporary folder and compare its validation
    losses. Raises UserError if ARM or SEED is unknown.
    """
    study = load_study(root / "params.yaml")
    yield from data_lines(root, study)
    for name in study.arms:
        yield rescored(root, study, name)
    yield from integrity_lines(root)
    findings = read_findings(root)
    if findings is not None:
        changed = stale(findings, root)
        message = ", ".join(changed) or "none"
        yield f"findings.json: {len(findings.claims)} claims, stale: {message}", not changed
    if retrain:
        yield retrained(root, study, retrain)


def data_lines(root: Path, study: Study) -> Iterator[Line]:
    for name in sorted({row.data for row in study.arms.values()}):
        if not (root / name).is_dir():
            yield f"{name}: missing, not checked (get it with `study pull` or `dvc repro`)", True
            continue
        for folder in dataset_folders(root / name):
            part = folder.relative_to(root)
            try:
                manifest = verify_dataset(folder)
            except UserError as error:
                yield f"{part}: {error}", False
            else:
                digest = manifest.content_sha256[:12]
                yield f"{part}: the hash of the arrays is {digest}, as in the manifest", True


def rescored(root: Path, study: Study, name: str) -> Line:
    """Score the stored runs of an arm in a temporary folder and compare all numbers."""
    if not (root / "runs" / name).is_dir():
        return (
            f"{name}: runs missing, not checked (get them with `study pull` or `dvc repro`)",
            True,
        )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            score_arm(name, find_row(study, name), root / "runs", root, Path(scratch))
        except UserError as error:
            return f"{name}: cannot be scored again ({error})", False
        again = seeds_of(Path(scratch) / name)
    try:
        stored = seeds_of(root / "results" / name)
    except UserError as error:
        return f"{name}: {error}", False
    moved = differences(stored, again)
    if moved:
        return f"{name}: {len(moved)} numbers differ from results/, the first is {moved[0]}", False
    return f"{name}: {len(again)} seeds scored again, all numbers equal", True


def seeds_of(arm: Path) -> dict[str, Any]:
    """The stored seeds of an arm, without the provenance in results of earlier versions."""
    files = sorted((arm / "seeds").glob("s*.json"))
    return {file.stem: scores_only(read_scores(file)) for file in files}


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Paths at which two JSON values differ by more than rounding."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = [*left, *(key for key in right if key not in left)]
        return [
            moved
            for key in keys
            for moved in differences(left.get(key), right.get(key), f"{path}/{key}")
        ]
    if isinstance(left, float) and isinstance(right, float):
        return [] if math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=1e-12) else [path]
    return [] if left == right else [path]


def retrained(root: Path, study: Study, which: str) -> Line:
    """Train one seed from scratch and compare its validation losses with the stored run."""
    name, _, text = which.partition(":")
    row = find_row(study, name)
    if not isinstance(row, Arm) or text not in map(str, row.seeds):
        raise UserError(f"--retrain takes ARM:SEED with a trained arm and its seed; got {which!r}")
    seed = int(text)
    stored = RunFolder(root / "runs" / name / f"s{seed}")
    if not stored.status():
        return (
            f"{name} seed {seed}: its run is missing, so there is nothing to compare with (get it "
            "with `study pull` or `dvc repro`)",
            False,
        )
    import torch

    from study.formats.dataset import load_dataset
    from study.training.fit import fit

    torch.set_num_threads(1)  # as in `study train`: the order of summation affects the result
    scratch = Path(tempfile.mkdtemp())
    try:
        run = RunFolder(scratch)
        fit(row, load_dataset(seed_folder(root / row.data, seed)), seed, run)
        pairs = [
            (key, stored.status().get(key), run.status().get(key))
            for key in ("best_val_loss", "val_loss")
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    same = all(differences(old, new) == [] for _, old, new in pairs)
    content = json.dumps({key: [old, new] for key, old, new in pairs})
    return f"{name} seed {seed} trained again: {'equal' if same else 'differs'} {content}", same
