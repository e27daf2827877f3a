"""Stage `stability`: the short runs of one curve, and its LD50.

    params.yaml -> an arm per learning rate -> work/<hash>/ -> results/stability/CURVE.json

Design choices
- A run is an ordinary run of an ordinary arm: same settings model, same training, same hash, found
  again in work/ or, by its hash, in the stored curve. A kill loses at most an epoch.
- Behaviour is that of the base arm (its fingerprint): every factor that a curve changes has to
  act in its base arm too, so that a change in the code that matters moves the hash.
- Stored is what follows from settings, data and seeds; commit and machine are kept beside it. The
  run folders go once the curve is stored: 216 of them would hold 0.7 GB.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from study.editing.arms import changed_block, spelled
from study.formats.dataset import load_manifest
from study.investigations.stability import facts
from study.investigations.stability.dose import fit
from study.investigations.stability.settings import Stability, StabilityRate
from study.metrics.skill import is_dead, skill
from study.reading import hash_of_file
from study.runs import RunFolder, environment, provenance, write_json
from study.runs.seed_folders import dataset_folders
from study.runs.status import losses_of_floors
from study.runs.temporary import remove_tree
from study.settings import Arm, Study, UserError, leaves, load_study, nearest, parse_study
from study.stages import train
from study.stages.fingerprint import update_apart
from study.stages.pool import SeedRun, run_all
from study.stages.slots import slots

DIGITS = 6  # significant, of a stored skill


def run_curves(root: Path, names: Sequence[str] = (), at_once: int | None = None) -> None:
    """Train what these curves (default: all) lack, and write results/stability/CURVE.json of each.

    `at_once`: runs side by side, None for as many as the machine holds. Raises UserError, before
    anything is trained, for settings that cannot work and for unknown curves, and KeyboardInterrupt
    after a stop, with every checkpoint kept.
    """
    study = load_study(root / "params.yaml")
    settings = study.section(Stability)
    unknown = next((name for name in names if name not in settings.curves), None)
    if unknown is not None:
        raise UserError(f"no curve {unknown!r}{nearest(unknown, settings.curves)}")
    plans = [planned(study, settings, name) for name in names or settings.curves]
    for plan in plans:
        train.check_data(root, study, plan.arms[0])
        train.check_row(root, plan.arms[0], devices=1)
    if "DVC_STAGE" not in os.environ:  # in a stage, DVC has just taken the fingerprints
        update_apart(study, root / "fingerprints", [plan.base for plan in plans])
    for plan in plans:
        file = facts.stored(root, plan.name)
        before = facts.load_curve(file)
        curve = compute(root, plan, at_once)
        write_json(file, curve.model_dump(mode="json"))
        # A curve whose runs were all taken over was computed elsewhere.
        if before is None or {run.hash for run in curve.runs} - {run.hash for run in before.runs}:
            beside = root / provenance.FOLDER / facts.FOLDER / file.name
            machine = {"environment": environment.describe(root, "cpu")}
            provenance.keep(beside, machine, {file.name: hash_of_file(file)})
        for job in plan.jobs(root):  # the curve holds what they showed, and their hashes
            if job.folder.is_dir():
                remove_tree(job.folder)
                Path(f"{job.folder}.lock").unlink(missing_ok=True)


# --- the arms of a curve ----------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """One curve: its name, its base arm, and an arm per learning rate with the seeds to run."""

    name: str
    base: str
    arms: tuple[Arm, ...]

    def jobs(self, root: Path) -> list[SeedRun]:
        """The runs in the order of rates and seeds, named after the curve."""
        found = [job for arm in self.arms for job in train.plan(root, self.base, arm, False, 1)]
        return [replace(job, arm=self.name) for job in found]


def planned(study: Study, settings: Stability, name: str) -> Plan:
    """The arms of a curve. Raises UserError for a change that its base arm cannot take."""
    curve = settings.curves[name]
    base = study.arms[curve.base]
    common = (f"data={curve.data}", f"epochs={settings.epochs}")
    sets = {key: params.model_dump() for key, params in study.data.items()}

    def arm(rate: StabilityRate) -> Arm:
        changes = [*common, *curve.settings, f"optimizer.lr={rate.lr!r}"]
        block = changed_block(spelled(base), base, changes)
        given = {**block, "versus": None, "seeds": rate.seeds}
        found = parse_study({"data": sets, "arms": {name: given}}, "stability.curves").arms[name]
        assert isinstance(found, Arm), "the base of a curve is a trained arm"
        return found

    return Plan(name, curve.base, tuple(arm(rate) for rate in settings.grid))


# --- the runs ---------------------------------------------------------------------------------


def compute(root: Path, plan: Plan, at_once: int | None) -> facts.Curve:
    """The content of one curve: known runs are taken over, the others are trained."""
    jobs = plan.jobs(root)
    before = facts.load_curve(facts.stored(root, plan.name))
    known = {run.hash: run for run in before.runs} if before else {}
    lacking = [job for job in jobs if job.folder.name not in known and not job.settled()]
    if lacking:
        train.check_room(root, len(lacking))
        run_all(lacking, slots(train.run_bytes(root, plan.arms[0]), 1, at_once))
    runs = tuple(known.get(job.folder.name) or _result(job) for job in jobs)
    common = leaves(plan.arms[0])
    del common["optimizer.lr"]
    return facts.Curve(
        format=facts.FORMAT,
        curve=plan.name,
        data_sha256=load_manifest(dataset_folders(root / plan.arms[0].data)[0]).set_sha256,
        settings=common,
        runs=runs,
        ld50=fit(facts.count(runs)),
    )


def _result(job: SeedRun) -> facts.Run:
    """How one run ended. Raises UserError as `_last_loss` does."""
    run = job.settled()
    assert run is not None and isinstance(job.row, Arm), "run_all ends with every run settled"
    loss = _last_loss(run)
    ends = losses_of_floors(run.checked_status(), run.status_file)
    diverged = not math.isfinite(loss)
    return facts.Run(
        lr=job.row.optimizer.lr,
        seed=job.seed,
        hash=job.folder.name,
        skill=None if diverged else float(f"{skill(loss, *ends):.{DIGITS}g}"),
        died=is_dead(loss, *ends),
        diverged=diverged,
    )


def _last_loss(run: RunFolder) -> float:
    """Validation loss of the stored last weights; infinite where it is not finite, or a loss of the
    last epoch is not: stored weights are rounded, so that either may overflow first.

    Raises UserError for a run that failed for another reason, which says nothing about the rate.
    """
    losses = ("train_loss", "val_loss")
    status, history = run.checked_status(), run.history(losses)
    epoch = [] if history.empty else [history.iloc[-1][name] for name in losses]
    if not all(map(math.isfinite, epoch)):
        return math.inf
    if status.get("state") == "failed":
        raise UserError(
            f"{run.path} failed ({status.get('cause')}) with finite losses, which says nothing "
            "about its learning rate; remove the folder and run again"
        )
    stored = (status.get("stored") or {}).get("last")
    if stored is None or "val_loss" not in stored:
        raise UserError(
            f"{run.status_file}: stored.last.val_loss is missing; remove {run.path} and run again"
        )
    return math.inf if stored["val_loss"] is None else stored["val_loss"]
