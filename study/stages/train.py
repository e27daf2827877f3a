"""Stage `train`: all seeds of one arm in parallel, in run folders identified by a hash.

Design choices
- A run is in `work/<hash>`; the hash covers settings, seed, data and fingerprint: a finished seed
  is never trained again, and an unfinished one resumes (`collect.py`).
- One process per seed and one thread per process (`pool.py`), for deterministic results. A GPU runs
  several processes (`slots.py`).
- At the end the runs are copied to `runs/<arm>`, which DVC caches as one output.
- `train_all` trains the missing runs of all arms in advance, so that no core waits for the last
  seed of an arm and modules are imported once; DVC itself runs one stage at a time.
- On a cluster the head node prepares and collects, and the jobs only train, to avoid races.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from study.formats.dataset import load_dataset, load_manifest
from study.formats.requests import check_request
from study.reading import read_bytes
from study.runs import RunFolder, environment
from study.runs.collect import collect
from study.runs.links import refuse_links
from study.runs.seed_folders import dataset_folders, seed_folder
from study.settings import Arm, Row, Study, UserError, find_row, leaves, load_study, run_hash
from study.stages.fingerprint import update_apart
from study.stages.pool import SeedRun, run_all
from study.stages.slots import slots

Part = Literal["prepare", "train", "collect"]
NEED_TRUTH = ("supervised", "oracle", "cramer_rao")
BYTES_PER_PIXEL = 8  # per pixel of a pattern on the device: amplitude, and counts for some losses
BYTES_PER_RUN = 60_000_000  # weights, checkpoint and diagnostics of an unfinished small run


def train_arm(
    root: Path,
    name: str,
    seeds: Sequence[int] | None = None,
    diagnose: bool = False,
    devices: int = 1,
    at_once: int | None = None,
    only: Part | None = None,
) -> list[RunFolder]:
    """Train (or resume, or find) seeds of an arm and collect all settled ones in runs/<arm>.

    `seeds`: None for all. `diagnose`: write diagnostics. `devices`: GPUs per run, or cores without
    a GPU. `at_once`: number of parallel runs, None for as many as the machine allows. `only`: do a
    single part, to distribute the runs of an arm over several machines: `prepare` checks and
    computes the fingerprint, `train` writes only to work/, `collect` does not train.

    Returns the settled runs among the requested seeds. Raises UserError, before anything is
    written, for settings that cannot work and for a new claim on the arm that cannot be decided
    (study/evidence/decidability.py); KeyboardInterrupt after a stop, with all checkpoints kept.
    """
    study = load_study(root / "params.yaml")
    row = find_row(study, name)
    chosen = tuple(seeds) if seeds else row.seeds
    unknown = sorted(set(chosen) - set(row.seeds))
    if unknown:
        raise UserError(f"arm {name!r} has no seed {unknown[0]}; its seeds: {list(row.seeds)}")
    check_data(root, study, row)
    # In a DVC stage the fingerprint is already up to date; otherwise it must be updated here.
    staged = "DVC_STAGE" in os.environ
    jobs = plan(root, name, row, diagnose, devices) if staged else []
    if not staged or not all(job.settled() for job in jobs):
        _check_all(root, name, row, len(chosen), devices)
        places = slots(run_bytes(root, row), devices, at_once)
        if only in (None, "prepare") and not staged:
            update_apart(study, root / "fingerprints", [name])
        jobs = plan(root, name, row, diagnose, devices)
        if only in (None, "train"):
            run_all([job for job in jobs if job.seed in chosen and not job.settled()], places)
    found = {job.seed: run for job in jobs if (run := job.settled()) is not None}
    if only == "collect":
        refuse_unsettled(name, sorted(set(chosen) - set(found)))
    if only in (None, "collect"):
        collect(found.items(), root / "runs" / name)
    return [run for seed, run in found.items() if seed in chosen]


def _check_all(root: Path, name: str, row: Row, runs: int, devices: int) -> None:
    """Raise UserError if the arm cannot be trained or a new claim on it cannot be decided."""
    check_claims(root, [name])
    check_row(root, row, devices)
    check_room(root, runs)


def train_all(root: Path, at_once: int | None = None) -> int:
    """Train all missing runs of all arms into work/, in parallel; returns their number.

    The stages of `dvc repro` then find and collect them. The longest runs start first, so that all
    cores finish at about the same time. Raises as `train_arm` does.
    """
    study = load_study(root / "params.yaml")
    check_claims(root, study.arms)
    for row in study.arms.values():
        check_data(root, study, row)
        check_row(root, row, devices=1)
    if environment.dvc("status", "--quiet", "fingerprint", root=root).returncode:
        update_apart(study, root / "fingerprints", study.arms)
    jobs = [
        job
        for name, row in study.arms.items()
        for job in plan(root, name, row, diagnose=False, devices=1)
        if not job.settled()
    ]
    check_room(root, len(jobs))
    largest = max((run_bytes(root, row) for row in study.arms.values()), default=0)
    run_all(sorted(jobs, key=lambda job: -job.epochs), slots(largest, 1, at_once))
    return len(jobs)


def refuse_unsettled(name: str, seeds: Sequence[int]) -> None:
    """Raise UserError if there are seeds to be collected without a settled run."""
    if seeds:
        numbers = ", ".join(map(str, seeds))
        raise UserError(
            f"seeds {numbers} of {name} have no run for the current settings, data and code; run "
            "them again"
        )


def check_claims(root: Path, names: Collection[str]) -> None:
    """Raise UserError if a new claim on one of these arms cannot be decided."""
    # Imports scipy, which is not needed if there are no runs to train.
    from study.evidence.decidability import refuse_undecidable

    refuse_undecidable(root, names)


def check_room(root: Path, runs: int) -> None:
    """Raise UserError if the disk is too small for the runs, OSError if runs/ cannot be created."""
    from study.stages.simulate import check_disk  # imports torch, only needed for training

    for folder in ("runs", "work"):
        refuse_links(root / folder)
    (root / "runs").mkdir(exist_ok=True)  # if this fails, then before the training

    check_disk(root / "work", BYTES_PER_RUN * runs)


def check_data(root: Path, study: Study, row: Row) -> None:
    """Raise UserError if the data set differs from params.yaml or lacks the needed true object."""
    room, _, name = row.data.partition("/")
    manifests = {seed: load_manifest(seed_folder(root / row.data, seed)) for seed in row.seeds}
    if room == "data":
        for seed, manifest in manifests.items():
            check_request(manifest, study.data[name].of_seed(seed))
    needs_truth = (row.loss if isinstance(row, Arm) else row.source).name in NEED_TRUTH
    if needs_truth and any(one.kind == "imported" for one in manifests.values()):
        raise UserError(
            f"{row.data} is measured data without a true object, which "
            f"{', '.join(NEED_TRUTH)} need; choose another loss or source"
        )


def check_row(root: Path, row: Row, devices: int) -> None:
    """Raise UserError for a row whose network, clipping, precision or devices cannot work."""
    if isinstance(row, Arm):
        manifest = load_manifest(dataset_folders(root / row.data)[0])
        from study.generators import GENERATORS
        from study.training import check
        from study.training.precision import check_precision

        check(row, manifest.n, manifest.group_size, devices)
        check_precision(row.precision)
        if GENERATORS[row.generator.name].wants_probe:
            check_positions(root, row)
    elif devices > 1:
        raise UserError(
            f"--devices is {devices}, but the source {row.source.name!r} is not a network "
            "and uses one core; omit --devices"
        )
    elif row.source.name == "group_steps":
        check_positions(root, row)


def check_positions(root: Path, row: Row) -> None:
    """Raise UserError if the patterns of the data set do not form the groups that a row needs."""
    import torch

    from study.optics.groups import check_groups

    for folder in dict.fromkeys(seed_folder(root / row.data, seed) for seed in row.seeds):
        for split in load_dataset(folder, limit_bytes=0).splits.values():
            check_groups(torch.from_numpy(split.positions_px))


def plan(root: Path, name: str, row: Row, diagnose: bool, devices: int) -> list[SeedRun]:
    """One job per seed, with the hashes from which it starts.

    Raises UserError if the arm has no fingerprint.
    """
    file = root / "fingerprints" / f"{name}.json"
    try:
        fingerprint = hashlib.sha256(read_bytes(file)).hexdigest()
    except FileNotFoundError:
        raise UserError(
            f"{name} has no fingerprint yet; `study train --arm {name} --only prepare` computes it"
        ) from None
    hashes = {
        seed: load_manifest(seed_folder(root / row.data, seed)).content_sha256 for seed in row.seeds
    }
    return [
        SeedRun(
            root=root,
            arm=name,
            row=row,
            seed=seed,
            folder=root / "work" / run_hash(row, seed, data_hash, fingerprint),
            origin={
                "data_sha256": data_hash,
                "fingerprint": fingerprint,
                "settings": leaves(row),
            },
            diagnose=diagnose,
            devices=devices,
        )
        for seed, data_hash in hashes.items()
    ]


def run_bytes(root: Path, row: Row) -> int:
    """Estimated training memory of one run in bytes; 0 for a row without a network."""
    if not isinstance(row, Arm):
        return 0
    from study.generators import size

    manifest = load_manifest(dataset_folders(root / row.data)[0])
    network = size(row.generator, manifest.n, manifest.group_size)
    patterns = manifest.patterns["train"] + manifest.patterns["validation"]
    data = patterns * manifest.group_size * manifest.n**2 * BYTES_PER_PIXEL
    return network.training_bytes(row.batch_size) + data
