"""Facts from the history of a run (losses, health of the network), and the history of all seeds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from study.evidence.arms import lookup
from study.formats.dataset import Manifest
from study.metrics.skill import skill
from study.metrics.survival import find_event
from study.reading import parse_json, read_table
from study.runs import TIMING, RunFolder, read_lines
from study.runs.status import losses_of_floors
from study.settings import Arm, Row, UserError

Epoch = dict[str, float]


TRAINING = (
    "epochs",
    "best_epoch",
    "best_val_loss",
    "final_val_loss",
    "collapse_gap",
    "clipped_fraction",
    "history_sha256",
    "patterns",
    "training_patterns",
    "dead_share",
    "gradient_max",
    "first_bad_epoch",
    "gradient_ratio",
)


GRADIENTS = "diagnostics/gradients.jsonl"


# An epoch is bad if its validation loss exceeds the best so far by this factor.
BAD = 2.0


def survival_facts(
    row: Row, history: Sequence[Epoch], status: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """Facts of a survival run: epochs lived, whether and how it died, horizon and loss floors.

    `file`: its status.json. Raises UserError if it has no floors.
    """
    if not isinstance(row, Arm) or row.survival is None:
        return {}
    losses = [epoch["val_loss"] for epoch in history]
    event = find_event(losses, *losses_of_floors(status, file), row.survival)
    facts = {
        "epochs": len(history) if event is None else event.epoch,
        "event": event is not None,
        "kind": None if event is None else event.kind,
        "horizon": row.epochs,
        "floors": status["floors"],
    }
    return {"survival": facts}


def training_facts(history: Sequence[Epoch]) -> dict[str, Any]:
    """Losses and health of a whole run; the best epoch is the earliest with the lowest loss."""
    facts: dict[str, Any] = dict.fromkeys(TRAINING) | {"epochs": len(history)}
    facts |= _health(history)
    finite = [row for row in history if math.isfinite(row["val_loss"])]
    if not finite:
        return facts
    best, final = min(finite, key=lambda row: row["val_loss"]), history[-1]["val_loss"]
    facts |= {
        "best_epoch": int(best["epoch"]),
        "best_val_loss": best["val_loss"],
        "final_val_loss": _finite(final),
        "collapse_gap": _finite(final - best["val_loss"]),
        "clipped_fraction": _finite(sum(r["clipped_fraction"] for r in history) / len(history)),
        "history_sha256": _digest(history),
    }
    return facts


def _health(history: Sequence[Epoch]) -> dict[str, Any]:
    """Dead units at the end, the largest gradient, the first bad epoch; None if not logged."""
    if not history:
        return {}
    dead = [share for key, share in history[-1].items() if key.startswith("dead.")]
    largest = [row["gradient_norm_max"] for row in history if "gradient_norm_max" in row]
    # If a gradient is not finite, the largest one cannot be represented in JSON.
    finite = all(map(math.isfinite, largest))
    return {
        "dead_share": max(filter(math.isfinite, dead), default=None),
        "gradient_max": max(largest, default=None) if finite else None,
        "first_bad_epoch": _first_bad(history),
    }


def _first_bad(history: Sequence[Epoch]) -> int | None:
    best = math.inf
    for row in history:
        loss = row["val_loss"]
        if not math.isfinite(loss) or loss > BAD * best:
            return int(row["epoch"])
        best = min(best, loss)
    return None


def gradient_ratio(file: Path) -> float | None:
    """Ratio of local to spectral gradient norm of all blocks at the first batch of the run.

    None for a run without `--diagnose`, and if a branch has no finite gradient. Raises UserError
    for a damaged file.
    """
    wanted = {"source": "training", "epoch": 1, "kind": "block"}
    try:
        records = [parse_json(line, file) for line in read_lines(file)]
        first = [r for r in records if {key: r[key] for key in wanted} == wanted]
        norms = [(r["local_norm"], r["spectral_norm"]) for r in first]
        if not all(norm is None or isinstance(norm, int | float) for two in norms for norm in two):
            raise TypeError
    except (KeyError, TypeError):
        raise UserError(f"{file} contains a line that is not a record of gradients") from None
    if not norms or any(norm is None for pair in norms for norm in pair):
        return None
    local, spectral = (math.hypot(*side) for side in zip(*norms, strict=True))
    return local / spectral if spectral else None


def reference_facts(status: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a reference, which has no losses."""
    return {**dict.fromkeys(TRAINING), "patterns": status.get("patterns")}


def pattern_counts(manifest: Manifest) -> dict[str, int]:
    """Number of patterns used for a network's image, and for its training.

    With simulated data the image is reconstructed from the test patterns. In an imported data set
    these are held out, and the image is reconstructed from all others.
    """
    imaged = ("train", "validation") if manifest.kind == "imported" else ("test",)
    return {
        "patterns": sum(manifest.patterns[split] for split in imaged),
        "training_patterns": manifest.patterns["train"],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _digest(history: Sequence[Epoch]) -> str:
    """Hash of all logged numbers except times and memory; equal for identical histories."""
    kept = [{k: v for k, v in row.items() if k not in TIMING} for row in history]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def loss_of(
    name: str, status: Mapping[str, Any], history: Sequence[Epoch], epoch: int
) -> float | None:
    """Validation loss of the weights of the reconstruction `name` ("best" or "last"); None if it is
    unknown or not finite."""
    stored = lookup(status, ("stored", name))
    if isinstance(stored, Mapping) and "val_loss" in stored:
        return None if stored["val_loss"] is None else _finite(stored["val_loss"])
    losses = (row.get("val_loss", math.nan) for row in history if row["epoch"] == epoch)
    return next((_finite(loss) for loss in losses), None)


def skill_of(loss: float | None, floors: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """(skill, None), or (None, reason)."""
    noise, constant = floors.get("noise"), floors.get("best_constant")
    if loss is None:
        return None, "the run has no validation loss"
    if noise is None or constant is None:
        return None, "the noise floor is known only where the true patches are"
    if constant <= noise:
        # With few photons and a wrong probe, the loss does not distinguish the object from a
        # constant.
        message = (
            f"the true object's loss {noise:.3g} is not below the best constant's {constant:.3g}"
        )
        return None, f"{message}, as the loss sees it with the assumed probe"
    return skill(loss, noise, constant), None


def joined_history(runs: Mapping[int, RunFolder]) -> str:
    """history.csv of all seeds combined, with `seed` as first column; digits are unchanged."""
    tables = []
    for seed, run in runs.items():
        if run.history_file.is_file():
            table = read_table(run.history_file, needed=("epoch",), as_text=True)
            table = table.drop(columns=[column for column in TIMING if column in table])
            table.insert(0, "seed", str(seed))
            if "val_loss" not in table:  # rPIE logs one R-factor per pass
                table["val_loss"] = ""
            tables.append(table)
    if not tables:
        # An empty plot still needs the columns.
        return "seed,epoch,val_loss\n"
    return pandas.concat(tables).to_csv(index=False)
