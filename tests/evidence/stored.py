"""Stored results made by hand: what the rules see, without a run behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checking import list_recorded
from study.evidence.claims import ClaimBook, parse_claims
from study.evidence.findings import build, render
from study.evidence.model import Findings, parse
from study.settings import Arm, Row, Study, leaves

CONTROL = (0.060, 0.064, 0.058, 0.066, 0.061, 0.063)
WORSE = (0.101, 0.104, 0.097, 0.108, 0.103, 0.100)
SEEDS = (1, 2, 3, 4, 5, 6)
METRIC = "last.standard.amplitude.mae"
NORM = {"gradient_clip_algorithm": "norm", "gradient_clip_val": 1.0, "exclude_head": False}
AGC = {"gradient_clip_algorithm": "agc", "gradient_clip_val": 0.01, "exclude_head": False}
LOOSE = {**NORM, "gradient_clip_val": 100.0}
ADAM = {"name": "adam", "lr": 1e-3}


def arm(versus: str | None = None, seeds: Sequence[int] = SEEDS, **changes: Any) -> dict[str, Any]:
    return {
        "asks": "Is it better?",
        "versus": versus,
        "changes": [],
        "data": "data/tiny",
        "seeds": list(seeds),
        "order_seed": None,
        "generator": {"name": "hybrid", "width": 4, "fno_blocks": 2, "modes": 4},
        "loss": {"name": "mae", "overlap_weight": 0.0},
        "optimizer": ADAM,
        "schedule": {"name": "constant"},
        "clip": NORM,
        "epochs": 2,
        "batch_size": 16,
        "batch_order": "shuffled",
        "precision": "fp32",
        "legacy": {"batch_coupled_probe": False},
        **changes,
    }


def reference(source: Mapping[str, Any]) -> dict[str, Any]:
    prose = {"asks": "What does it score?", "versus": None, "changes": []}
    return {**prose, "data": "data/tiny", "source": dict(source)}


def study_of(data: Any, **arms: Mapping[str, Any]) -> Study:
    return Study.model_validate({"data": {"tiny": data}, "arms": arms})


def margin(value: float, unit: str = "object units") -> dict[str, Any]:
    return {"value": value, "unit": unit}


def claim(**changes: Any) -> dict[str, Any]:
    return {
        "text": "AGC over-damps.",
        "kind": "confirmatory",
        "family": "error",
        "arms": {"treatment": "agc", "control": "control"},
        "metric": METRIC,
        "direction": "higher",
        "margin": margin(0.01),
        "needed_seeds": 8,
        "changes": ["clip.gradient_clip_algorithm"],
        "evidence": "mean_difference",
        **changes,
    }


def book_of(root: Path, **claims: Mapping[str, Any]) -> ClaimBook:
    """Claims by id, dashes as underscores: AGC_1 is AGC-1."""
    named = {claim_id.replace("_", "-"): entry for claim_id, entry in claims.items()}
    return parse_claims({"claims": named}, root / "claims.yaml")


def seed_json(name: str, row: Row, seed: int, mae: float, **facts: Any) -> dict[str, Any]:
    """One seed whose amplitude MAE is `mae`; `facts` replace the dotted entries that they name
    (dots as double underscores)."""
    scores = {
        channel: {"mae": mae, "ssim": 1 - mae, "frc50": 0.3} for channel in ("amplitude", "phase")
    }
    gate = {"evaluable": True, "reason": None, "spread_ratio": 1.0}
    trained = isinstance(row, Arm)
    checkpoint = {
        "checkpoint": "last" if trained else "only",
        "epoch": 2,
        "val_loss": mae / 10 if trained else None,
        "skill": 0.9,
        "r_factor": {"sum": mae / 5, "median": mae / 5, "patterns": 49},
        "gate": {"amplitude": gate, "phase": gate},
        "standard": {**scores, "extra": {"amplitude_scale": 1.0}},
        "published": {**scores, "extra": {"amplitude_scale": 1.0}},
        "reasons": {},
    }
    content: dict[str, Any] = {
        "arm": name,
        "seed": seed,
        "label": "arm" if trained else "reference",
        "state": "finished",
        "outcome": "ok",
        "cause": None,
        "data": {"path": row.data, "sha256": "d" * 64, "kind": "simulated"},
        "code": {"commit": None, "commit_date": None, "dirty": None, "fingerprint": name},
        "device": "cpu",
        "settings": leaves(row),
        "training": {
            "epochs": 2,
            "clipped_fraction": 0.5,
            "collapse_gap": 0.0,
            "seconds": 1.0 + seed,
            "history_sha256": f"{name}{seed}",
        },
        "best": {**checkpoint, "checkpoint": "best" if trained else "only"},
        "last": checkpoint if trained else None,
        "evidence": {},
    }
    for path, value in facts.items():
        content = _replaced(content, path.split("__"), value)
    return content


def _replaced(content: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    return {**content, head: _replaced(content[head], rest, value) if rest else value}


def store(
    root: Path, study: Study, name: str, values: Sequence[float], **facts: Any
) -> dict[int, Path]:
    """results/<name>/seeds of a row, its seeds having `values` in order."""
    row, files = study.arms[name], {}
    for seed, value in zip(row.seeds, values, strict=False):
        files[seed] = root / "results" / name / "seeds" / f"s{seed}.json"
        files[seed].parent.mkdir(parents=True, exist_ok=True)
        files[seed].write_text(json.dumps(seed_json(name, row, seed, value, **facts)))
    return files


def found(root: Path, book: ClaimBook, study: Study, previous: Any = None) -> dict[str, Any]:
    """The content of findings.json; what pipelines below `root` have is recorded first."""
    list_recorded(root)
    return build(root, book, study, previous).content()


def typed(content: Mapping[str, Any]) -> Findings:
    return parse(content, "findings.json")


def page(content: Mapping[str, Any]) -> str:
    """findings.md of the content of findings.json."""
    return render(typed(content))
