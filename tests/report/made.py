"""A pipeline folder with recorded studies, made by formula: no network ever ran for it.

`studies/control` learns, `studies/better` learns more, `studies/dead` ends at a constant object,
`studies/lost` failed. The objects are the truth plus a known ripple.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from checking import completed, list_recorded
from study.evidence.arms import ArmResults, load_all
from study.evidence.model import FORMAT, Findings
from study.evidence.scores import score_run
from study.evidence.shapes import Published
from study.evidence.summary import fences, summarise
from study.formats.dataset import Dataset, save_dataset
from study.formats.reconstruction import Reconstruction, save_reconstruction
from study.investigations.regimes.results import FORMAT as REGIMES
from study.investigations.traces import results as tracing
from study.reading import hash_of_file
from study.runs import RunFolder, provenance, write_json, write_text, write_yaml
from study.settings import Arm, Reference, Row

SEEDS = (101, 102, 103)
ERRORS = {"control": 0.4, "better": 0.15, "dead": 0.0, "lost": 0.0}
VERSUS = {"better": "control", "dead": "control", "lost": "control"}
REFERENCES = {
    "back_projection_1": ({"name": "back_projection", "steps": 1}, 0.6),
    "back_projection_5": ({"name": "back_projection", "steps": 5}, 0.5),
    "flat": ({"name": "flat"}, 0.0),
}
LAYERS = ("lifter", "encoder.0", "decoder.0", "head")
DOSES, STEPS = (1e3, 1e6, 1e9), (5, 10, 15, 32)


def pipeline(root: Path, dataset: Dataset, control: Arm) -> Path:
    """Write everything below `root` and return it."""
    save_dataset(dataset, root / "studies" / "data" / "tiny")
    rows: dict[str, Row] = dict.fromkeys(ERRORS, control)
    for name, (source, _) in REFERENCES.items():
        prose = {"asks": "What does it score?", "versus": None, "changes": ()}
        rows[name] = Reference.model_validate({**prose, "data": "data/tiny", "source": source})
    for name, row in rows.items():
        _arm(root, name, row, dataset)
    write_yaml(root / "studies" / "params.yaml", _params())
    write_json(root / "studies" / "results" / "regimes.json", regimes())
    write_json(root / "studies" / "results" / "traces.json", traces())
    list_recorded(root)
    write_json(root / "findings.json", findings(root))
    (root / "claims.yaml").write_text("claims: {}\n")
    (root / "requirements.lock").write_text("numpy==2.0\n")
    return root


def _arm(root: Path, name: str, row: Row, dataset: Dataset) -> None:
    target = root / "studies" / "results" / name
    histories = []
    for seed in SEEDS if isinstance(row, Arm) else (0,):
        run = RunFolder(root / "studies" / "runs" / name / f"s{seed}")
        _run(run, name, seed, row, dataset)
        content = score_run(name, row, seed, run, dataset)
        file = target / "seeds" / f"s{seed}.json"
        write_json(file, content)
        facts = provenance.facts_of(run)
        assert facts is not None
        provenance.keep(provenance.file_of(file), facts, provenance.hashes(run.path))
        if isinstance(row, Arm):
            histories.append(_history(name, seed).assign(seed=seed))
    if histories:
        write_text(target / "history.csv", pandas.concat(histories).to_csv(index=False))


def _run(run: RunFolder, name: str, seed: int, row: Row, dataset: Dataset) -> None:
    """What a run leaves behind, but its weights."""
    failed = name == "lost"
    floors = {"noise": 1e-3, "best_constant": 0.16, "zero": 1.0}
    run.finish(
        "failed" if failed else "finished",
        "the loss became NaN in epoch 3" if failed else None,
        floors=floors,
        seconds=1.5,
        patterns=49,
    )
    versions = {"numpy": "2.0", "torch": "2.13"}
    facts = {"commit": "c" * 40, "commit_date": "2026-01-02T03:04:05+00:00", "dirty": False}
    machine = {"python": "3.11", "platform": "Linux", "processor": "made", "cores": 2}
    write_json(run.path / "environment.json", {**facts, **machine, "versions": versions})
    if isinstance(row, Arm):
        run.write_history(_history(name, seed).to_dict("records"))
    if not failed:
        made = _object(name, seed, dataset)
        for checkpoint in ("best", "last") if isinstance(row, Arm) else ("best",):
            save_reconstruction(run.object_file(checkpoint), made)


def _object(name: str, seed: int, dataset: Dataset) -> Reconstruction:
    test = dataset.splits["test"]
    assert test.obj is not None
    truth = test.obj[:, 8:56, 8:56]
    error = ERRORS[name] if name in ERRORS else REFERENCES[name][1]
    ripple = error * np.sin(np.arange(48) / (3 + 0.1 * (seed % 7)))
    obj = truth * (1 + 0.3 * ripple) * np.exp(0.3j * ripple[:, None])
    if name in ("dead", "flat"):
        obj = np.full_like(truth, np.abs(truth).mean())
    patterns = len(test.counts)
    return Reconstruction(
        object=obj.astype(np.complex64),
        region=np.array([8, 8, 56, 56]),
        r_factor=np.where(np.arange(patterns) % 7 == 0, np.nan, 0.05 + error / 9).astype("f4"),
        predicted_amplitude=np.full((8, 16, 16), 0.01, dtype=np.float16),
        shown=np.arange(1, 9),
        distinct=name not in ("dead", "flat"),
        checkpoint="last",
        epoch=4,
        probe=dataset.probe,
    )


def _history(name: str, seed: int) -> pandas.DataFrame:
    epochs = np.arange(1, 5)
    loss = 0.2 / epochs * (1 + ERRORS[name]) * (1 + 0.02 * (seed - 100))
    if name in ("dead", "lost"):
        loss = np.array([0.15, 0.08, 0.178, 0.178])
    if name == "lost":
        loss[2:] = np.nan
    dead = np.linspace(0, 1, 4) if name == "dead" else np.zeros(4)
    layers = {f"dead.{layer}": dead if layer == "decoder.0" else 0 * dead for layer in LAYERS}
    clip = {"clipped_fraction": 0.25, "train_loss": loss, "seconds": 0.5}
    return pandas.DataFrame({"epoch": epochs, "val_loss": loss, **clip, **layers})


def _params() -> dict[str, Any]:
    asks = "Does a normalised decoder beat the control?"
    return {
        "studies": {
            "better": {"asks": asks, "arms": ["control", "better", *REFERENCES]},
            "forensics": {"asks": "What kills a run?", "arms": ["control", "dead", "lost"]},
            "optimizers": {"asks": "Does SGD learn?", "arms": ["sgd"]},
        },
    }


def regimes() -> dict[str, Any]:
    """rPIE wins where it is easy, the better arm elsewhere; one cell is not evaluable."""
    cells = [
        {
            "dose": dose,
            "probe": probe,
            "step_px": step,
            "method": method,
            "amplitude_mae": error,
            "phase_mae": error and error / 3,
            "seconds": 1.0,
            "patterns": 49,
            "evaluable": error is not None,
        }
        for dose in DOSES
        for probe in ("known", "perturbed")
        for step in STEPS
        for method in ("control", "better", "rpie", "back_projection", "network_rpie")
        for error in [_error(dose, probe, step, method)]
    ]
    return {
        "format": REGIMES,
        "steps_px": list(STEPS),
        "cells": cells,
    }


def _error(dose: float, probe: str, step: int, method: str) -> float | None:
    if (dose, step, method) == (1e3, 32, "control"):
        return None
    easy = dose > 1e3 and probe == "known" and step < 15
    base = {"control": 0.2, "better": 0.1, "back_projection": 0.16, "network_rpie": 0.12}
    return base.get(method, 0.01 if easy else 0.4) * (1 + step / 20)


def traces() -> dict[str, Any]:
    """Two seeds of an arm that dies at step 12, one of an arm that lives, at the same rate."""
    runs = [_trace("dead", 101, 12), _trace("dead", 102, 12), _trace("alive", 101, None)]
    return {"format": tracing.FORMAT, "traces": runs, "arms": tracing.arm_sentences(runs)}


def _trace(arm: str, seed: int, death: int | None) -> dict[str, Any]:
    """The merge grows a hundredfold up to the death and is dead from then on."""
    k = np.arange(1, 41)
    late = k >= (death or 99)
    parts = ["lifter", "encoder.0", "decoder.0.merge", "decoder.0", "head"]
    largest = np.where(late, 100.0, 1.0) * (1 + 0.01 * (seed - 100))
    merge = {"decoder.0.merge": largest.tolist()}
    flat = {part: [1.0] * 40 for part in parts}
    dead = {part: [0.0] * 40 for part in parts} | {"decoder.0.merge": late.astype(float).tolist()}
    made: dict[str, Any] = {
        "arm": arm,
        "seed": seed,
        "steps": 40,
        "tensors": 9,
        "parts": parts,
        "shown_steps": k.tolist(),
        "columns": {
            "mae": np.where(k == death, 3.0, np.where(late, 0.2, np.exp(-k / 8))).tolist(),
            "constant": [0.2] * 40,
            "learning_rate": [0.02] * 40,
            "zero_tensors": np.where(late, 7, 0).tolist(),
        },
        "by_part": {"largest": flat | merge, "dead": dead, "rms": flat, "gradient": flat},
    }
    made["facts"] = tracing.facts(made)
    return {**made, "sentence": tracing.sentence(made)}


def findings(root: Path) -> dict[str, Any]:
    """findings.json of what is recorded, with two claims by hand."""
    arms = load_all(root)
    entries = {
        name: summarise(name, None, results).model_dump() | {"versus": _versus(name)}
        for name, results in arms.items()
    }
    claims = [
        _claim("BETTER-AMP", "supported", arms, "better"),
        _claim("DEAD-1", "not evaluable", arms, "dead"),
    ]
    found = {
        "format": FORMAT,
        "arms": entries,
        "fences": [fence.model_dump() for fence in fences(arms)],
        "flags": [],
        "scale_flags": [],
        "claims": {claim["id"]: claim for claim in claims},
        "counts": {"supported": 1, "not evaluable": 1},
        "superseded": {},
        "reproduce": "dvc repro",
        "published": completed(
            {"entries": _published(), "always_different": ["n = 16"]}, Published
        ),
    }
    return completed(found, Findings)


def _versus(name: str) -> str | None:
    control = VERSUS.get(name.rpartition("/")[2])
    return control and f"studies/{control}"


def _claim(name: str, status: str, arms: dict[str, ArmResults], treatment: str) -> dict[str, Any]:
    path = "last.standard.amplitude.mae"
    left, right = (arms[f"studies/{arm}"].values(path) for arm in (treatment, "control"))
    shared = [left[seed] - right[seed] for seed in left if seed in right]
    effect = {
        "id": f"{name}/effect",
        "estimate": float(np.mean(shared)) if shared else 0.0,
        "low": -0.3,
        "high": -0.01,
        "level": 0.975,
        "n": len(shared),
    }
    return {
        "id": name,
        "text": f"{treatment} ends at a lower amplitude error.",
        "status": status,
        "kind": "exploratory",
        "requested": "confirmatory",
        "effect": effect if shared else None,
        "test": None,
        "reason": "judged by hand",
        "n": len(shared),
        "needed_seeds": 8,
        "contrast": {"treatment": f"studies/{treatment}", "control": "studies/control"},
        "metric": path,
        "unit": "object units",
        "margin": 0.01,
        "limits": ["one draw of the object"],
    }


def _published() -> list[dict[str, Any]]:
    common = {
        "row": "stable",
        "scale": "quick",
        "weights": "last",
        "seeds": 3,
        "arm": "studies/dead",
        "differs": {"epochs": [50, 10]},
    }
    blank = {"s101": "constant phase", "s102": "constant phase", "s103": "constant phase"}
    ours = {"estimate": 0.25, "low": 0.2, "high": 0.3, "n": 3}
    return [
        {
            **common,
            "number": "published.phase.ssim",
            "published": "one",
            "measured": "flatness",
            "blank": blank,
            "ours": None,
            "verdict": "no quality",
            "reason": "every seed is blank",
            "order": None,
        },
        {
            **common,
            "number": "val_loss",
            "published": "0.1783",
            "measured": "the best constant object",
            "blank": {},
            "ours": ours,
            "verdict": "differs",
            "reason": "0.25 against 0.1783",
            "order": {
                "versus": "control",
                "published": -0.93,
                "ours": {"estimate": 0.008, "low": -0.043, "high": 0.06, "n": 3},
                "verdict": "not resolved",
            },
        },
    ]


def evidence_of(root: Path) -> dict[str, str]:
    """Every file below root with its hash, for comparison."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hash_of_file(path) for path in files}


def edit(file: Path, change: Any) -> None:
    """Read JSON, change it in place, write it back."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
