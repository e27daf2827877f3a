"""Scores of all stored seeds of one arm: results/<arm>/seeds/s<seed>.json and history.csv, and the
image of one seed (`study.evidence.images`).

    runs/<arm>/s<seed>/ + <data>/test.cxi  ->  numbers, or null with a reason; never NaN

Design choices
- Best and last reconstruction are both scored, with both metric sets, on the stored region. A
  reference has one reconstruction, which is under `best` with the checkpoint `only`.
- The `outcome` of a seed is `failed` (according to the run), `collapsed` (according to the run, or
  if the last object is constant, or if its validation loss is not better than that of the best
  constant object), or `ok`. All of these are included, with the cause. Unfinished runs are refused.
- The loss of a reconstruction is that of the stored weights (float16), with which it was computed;
  if the run did not record it, the loss in the history (of the weights in training) is used.
- A network whose phase follows a prior has no phase score in either set: the result of the run's
  foreign-phase test (`study.training.foreign`), if any, is evaluated by `study.evidence.evaluable`.
- Whether outputs differ between inputs (a criterion of the gate) was determined by the run, with
  one boolean for the complex output that applies to both channels. A phase that is the same for all
  inputs, while the amplitude differs, is detected only if the stitched phase is constant.
- Results do not depend on time or machine and do not contain information about them: equal inputs
  give equal bytes. Provenance is in provenance/ (`study.runs.provenance`), and readers of these
  files (`study.evidence.arms.read_seed`) combine both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from study.evidence import images
from study.evidence.arms import lookup
from study.evidence.evaluable import NOT_EVALUABLE, PRIOR, follows
from study.evidence.histories import (
    GRADIENTS,
    Epoch,
    gradient_ratio,
    joined_history,
    loss_of,
    pattern_counts,
    reference_facts,
    skill_of,
    survival_facts,
    training_facts,
)
from study.evidence.shapes import ForeignPhaseFile, LimitFile, checked
from study.formats.dataset import Dataset, Manifest, Split, load_dataset
from study.formats.frames import blocks
from study.formats.reconstruction import Reconstruction, load_reconstruction
from study.metrics import METRIC_SETS, score
from study.metrics.pair import Undefined, checked_scene
from study.reading import hash_of_file, read_mapping, read_yaml
from study.runs import SETTLED, RunFolder, write_json, write_text
from study.runs.seed_folders import seed_folder
from study.settings import Arm, Reference, Row, UserError, leaves, refuse_differences

CHANNELS = ("amplitude", "phase")
LABELS = {
    "flat": "floor",
    "oracle": "ceiling",
    "from_amplitude": "detector",
    "cramer_rao": "limit",
}
EVIDENCE = (
    "params.yaml",
    "history.csv",
    "object_best.npz",
    "object_last.npz",
    "foreign_phase.json",
    "limit.json",
    GRADIENTS,
)


def score_arm(name: str, row: Row, runs: Path, data: Path, results: Path) -> None:
    """Score runs/<arm>/s<seed> of all declared seeds that are available, and write results/<arm>.

    `data`: the folder that contains the data set at `row.data`. Raises UserError if there are no
    runs, if a run has not ended or used different data, or if a finished run cannot be scored.
    """
    runs_asked = {seed: RunFolder(runs / name / f"s{seed}") for seed in row.seeds}
    there = {seed: run for seed, run in runs_asked.items() if run.path.is_dir()}
    if not there:
        raise UserError(
            f"{runs / name} contains no run of the seeds {list(row.seeds)}; train the arm "
            f"(`study train --arm {name}`) or pull its runs (`dvc pull`)"
        )
    folders = {seed: seed_folder(data / row.data, seed) for seed in there}
    sets = {folder: load_dataset(folder, ("test",)) for folder in set(folders.values())}
    scored = {
        seed: score_run(name, row, seed, run, sets[folders[seed]]) for seed, run in there.items()
    }
    out = results / name
    for old in (out / "seeds").glob("s*.json"):
        if old.name not in {f"s{seed}.json" for seed in scored}:
            old.unlink()
    for seed, content in scored.items():
        write_json(out / "seeds" / f"s{seed}.json", content)
    write_text(out / "history.csv", joined_history(there))
    shown = images.median_seed(scored)
    split = sets[folders[shown]].splits["test"]
    images.write_images(out / images.NAME, shown, there[shown], split)


def score_run(name: str, row: Row, seed: int, run: RunFolder, dataset: Dataset) -> dict[str, Any]:
    """The content of one seed's JSON."""
    status = run.checked_status()
    origin = status.get("manifest") or {}
    columns = ("val_loss", "clipped_fraction") if isinstance(row, Arm) else ()
    history = run.history(columns).to_dict("records")
    state = status.get("state") or "no status"
    made_on = origin.get("data_sha256", dataset.manifest.content_sha256)
    _check_run(name, row, run, state, made_on, dataset)
    settings = origin.get("settings", leaves(row))
    in_effect = run.path / "params.yaml"
    if isinstance(row, Arm) and in_effect.exists():
        refuse_differences(settings, read_yaml(in_effect), str(run.path))
    blocks = {
        checkpoint: _checkpoint(checkpoint, row, run, status, dataset, history)
        for checkpoint in ("best", "last")
    }
    outcome, cause = _outcome(row, state, status.get("cause"), blocks["last"])
    return {
        "arm": name,
        "seed": seed,
        "label": label(row),
        "state": state,
        "outcome": outcome,
        "cause": cause,
        "data": _data(row, dataset.manifest, made_on),
        "code": {"fingerprint": origin.get("fingerprint")},
        "settings": settings,
        "training": training_facts(history)
        | pattern_counts(dataset.manifest)
        | {"gradient_ratio": gradient_ratio(run.path / GRADIENTS)}
        if label(row) == "arm"
        else reference_facts(status),
        **blocks,
        **survival_facts(row, history, status, run.status_file),
        "evidence": {
            f"{run.path.parents[1].name}/{name}/{run.path.name}/{file}": hash_of_file(
                run.path / file
            )
            for file in EVIDENCE
            if (run.path / file).is_file()
        },
    }


def _data(row: Row, manifest: Manifest, made_on: str) -> dict[str, Any]:
    """Path, hash and kind of a run's data set; with objects per seed also the hash for its seed."""
    facts = {"path": row.data, "sha256": made_on, "kind": manifest.kind}
    if manifest.set_sha256 == manifest.content_sha256:
        return facts
    return {**facts, "sha256": manifest.set_sha256, "seed_sha256": made_on}


def _check_run(
    name: str, row: Row, run: RunFolder, state: str, made_on: str, dataset: Dataset
) -> None:
    """Raise UserError for a run that has not ended or used different data."""
    if state not in SETTLED:
        raise UserError(
            f"{run.path} is not a result: its state is {state!r}, accepted: {', '.join(SETTLED)}; "
            f"finish it (`study train --arm {name}`) or remove it"
        )
    if made_on != dataset.manifest.content_sha256:
        raise UserError(
            f"{run.path} was computed with data {made_on[:12]}, but {row.data} now contains "
            f"{dataset.manifest.content_sha256[:12]}: train the arm again"
        )


def label(row: Row) -> str:
    """The label of a row: arm, reference, floor, ceiling, detector (it copies the phase from the
    amplitude) or limit (a bound, not a reconstruction)."""
    return LABELS.get(row.source.name, "reference") if isinstance(row, Reference) else "arm"


def _outcome(
    row: Row, state: str, cause: str | None, last: Mapping[str, Any] | None
) -> tuple[str, str | None]:
    """(ok, failed or collapsed; cause or None)."""
    if state == "collapsed":
        return "collapsed", cause
    if state == "failed":
        return "failed", cause or "no cause recorded"
    if isinstance(row, Reference) or last is None:
        return "ok", None
    gate = (last["gate"] or {}).get("amplitude", {"evaluable": True, "spread_ratio": None})
    if not gate["evaluable"] and gate["spread_ratio"] is not None:
        return "collapsed", f"last object: {gate['reason']}"
    if last["skill"] is not None and last["skill"] <= 0:
        return "collapsed", "the last validation loss is no better than the best constant object's"
    return "ok", None


# --- one reconstruction -----------------------------------------------------------------------


def _checkpoint(
    name: str,
    row: Row,
    run: RunFolder,
    status: Mapping[str, Any],
    dataset: Dataset,
    history: Sequence[Epoch],
) -> dict[str, Any] | None:
    """Scores and facts of one reconstruction, or None if there is none.

    The reconstruction of a failed run may be invalid; that of a finished run must be valid
    (UserError).
    """
    if label(row) == "limit":
        return _limit(run) if name == "best" else None
    file = run.object_file(name)
    if not file.is_file():
        return None
    try:
        result = load_reconstruction(file)
        scores = _scores(result, dataset.splits["test"], label(row) == "floor")
    except UserError as error:
        if status["state"] != "finished":
            return None
        raise UserError(f"{file}: {error}") from None
    loss = loss_of(name, status, history, result.epoch)
    skilled, why = skill_of(loss, status.get("floors") or {})
    foreign = None if isinstance(row, Reference) else foreign_phase(run, name)
    if foreign is not None and not foreign["follows"]:
        scores = without_phase(scores)
    reasons = scores.pop("reasons") | ({"skill": why} if why and loss is not None else {})
    return {
        "checkpoint": "only" if isinstance(row, Reference) else name,
        "epoch": None if isinstance(row, Reference) else result.epoch,
        "val_loss": loss,
        "skill": skilled,
        "r_factor": _r_factor(result, dataset.splits["test"]),
        "reasons": reasons,
        **scores,
        **({} if foreign is None else {"foreign_phase": foreign}),
    }


def _limit(run: RunFolder) -> dict[str, Any]:
    """The Cramer-Rao bound in the place of scores: the smallest mean absolute errors of an unbiased
    method. Raises UserError for a missing or damaged file."""
    remedy = "compute the row again (`study train`)"
    found = checked(read_mapping(run.limit_file), LimitFile, run.limit_file, remedy)
    standard = {"amplitude": {"mae": found["amplitude_mae"]}, "phase": {"mae": found["phase_mae"]}}
    absent = dict.fromkeys(("epoch", "val_loss", "skill", "r_factor", "published", "gate"))
    return {"checkpoint": "only", **absent, "standard": standard, "reasons": {}}


def foreign_phase(run: RunFolder, which: str) -> dict[str, Any] | None:
    """The foreign-phase test of the `best` or `last` weights: both correlations and `follows`.

    None if the network was not tested. Raises UserError for a damaged file.
    """
    content = checked(
        read_mapping(run.foreign_phase_file) or {},
        ForeignPhaseFile,
        run.foreign_phase_file,
        "restore it, or remove it to score the run as not tested",
    )
    found = content.get(which)
    return None if found is None else {**found, "follows": follows(found)}


def without_phase(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of a reconstruction whose phase follows a prior: its phase numbers are null.

    If the gate of the phase already failed, its reason is kept.
    """
    gate = scores["gate"]
    if gate is None or not gate["phase"]["evaluable"]:
        return {**scores}
    message = f"{NOT_EVALUABLE}: {PRIOR}"
    blanked = {
        set_name: {**scores[set_name], "phase": dict.fromkeys(scores[set_name]["phase"])}
        for set_name in METRIC_SETS
    }
    lost = {f"{s}.phase.{name}": message for s, part in blanked.items() for name in part["phase"]}
    phase = {**gate["phase"], "evaluable": False, "reason": PRIOR}
    return {
        **scores,
        **blanked,
        "gate": {**gate, "phase": phase},
        "reasons": scores["reasons"] | lost,
    }


def _scores(result: Reconstruction, split: Split, is_floor: bool) -> dict[str, Any]:
    """Both metric sets, averaged over the images, with the gate and a reason for each null."""
    if split.obj is None:
        reasons = dict.fromkeys(METRIC_SETS, "a measurement has no truth to be scored against")
        return {**dict.fromkeys(METRIC_SETS), "gate": None, "reasons": reasons}
    y0, x0, y1, x1 = (int(edge) for edge in result.region)
    truth = split.obj[:, y0:y1, x0:x1]
    # `distinct` applies to complex outputs, not to channels. Two equal patches tell the gate that
    # outputs did not differ, for both channels; no patches tell it that they did.
    outputs = None if result.distinct else np.ones((2, 1, 1), dtype=np.complex64)
    images = [
        {name: score(image, true, name, patches=outputs) for name in METRIC_SETS}
        for image, true in zip(result.object, truth, strict=True)
    ]
    scores: dict[str, Any] = {"reasons": {}}
    for name in METRIC_SETS:
        parts = [image[name] for image in images]
        scores[name] = _mean([{k: part[k] for k in (*CHANNELS, "extra")} for part in parts])
        for part in parts:
            scores["reasons"] |= {f"{name}.{key}": text for key, text in part["reasons"].items()}
    if is_floor:
        pairs = zip(result.object, truth, strict=True)
        scores["standard"] |= _mean([_ungated(image, true) for image, true in pairs])
        scores["reasons"] = {
            key: text
            for key, text in scores["reasons"].items()
            if lookup(scores, key.split(".")) is None
        }
    gates = [image["standard"]["gate"] for image in images]
    return {**scores, "gate": {channel: _gate(gates, channel) for channel in CHANNELS}}


def _mean(parts: Sequence[Any]) -> Any:
    """Mean of nested numbers over the images; None if an image has none."""
    if isinstance(parts[0], Mapping):
        return {key: _mean([part[key] for part in parts]) for key in parts[0]}
    return None if any(part is None for part in parts) else float(np.mean(parts))


def _gate(gates: Sequence[Mapping[str, Any]], channel: str) -> dict[str, Any]:
    """The gate of a channel over all images: each must be evaluable; the lowest spread counts."""
    entries = [gate[channel] for gate in gates]
    ratios = [entry["spread_ratio"] for entry in entries if entry["spread_ratio"] is not None]
    return {
        "evaluable": all(entry["evaluable"] for entry in entries),
        "reason": next((entry["reason"] for entry in entries if entry["reason"]), None),
        "spread_ratio": min(ratios, default=None),
    }


def _ungated(prediction: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Standard scores of the floor, which is deliberately constant and labelled as such."""
    chosen = METRIC_SETS["standard"]
    scene, _ = chosen.align(checked_scene(prediction, truth, None), False)
    scores: dict[str, dict[str, float | None]] = {}
    for channel, cut in chosen.channels.items():
        pair = cut(scene)
        scores[channel] = {}
        for name, metric in chosen.metrics.items():
            try:
                scores[channel][name] = float(metric(pair))
            except Undefined:
                scores[channel][name] = None
    return scores


def _r_factor(result: Reconstruction, split: Split) -> dict[str, Any]:
    """R over all test patterns inside the region, its median, and the number of these patterns.

    The total R is the sum of |residual| divided by the sum of sqrt(counts) over all patterns, not
    the mean of the ratios. Pixels excluded by the mask of the split are ignored.
    """
    known = 1.0 if split.mask is None else split.mask
    ratio = result.r_factor.astype(np.float64)  # (J,)
    light = (
        (np.sqrt(block.astype(np.float64)) * known).sum(axis=(1, 2, 3))
        for block in blocks(split.counts)
    )
    measured = np.concatenate([*light])  # (J,)
    inside = np.isfinite(ratio) & (measured > 0)
    if not inside.any():
        return {"sum": None, "median": None, "patterns": 0}
    return {
        "sum": float((ratio * measured)[inside].sum() / measured[inside].sum()),
        "median": float(np.median(ratio[inside])),
        "patterns": int(inside.sum()),
    }
