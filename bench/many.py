"""A checkout with any number of runs, derived from the committed control.

    params.yaml, claims.yaml     arms with different learning rates; one claim per arm
    results/ARM/seeds/sN.json    the control's first seed, with scores changed by a few percent
    results/ARM/history.csv      the control's history
    findings.json, findings.md   written by `write_findings` of this code, if it is called

The checkout has its own git repository, in which the claims are committed before the results,
because the findings check this order.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from study.runs import write_json, write_text, write_yaml
from study.settings import Arm, Row, Study, leaves, load_study

ROOT = Path(__file__).parent.parent
SPREAD = 0.05  # relative standard deviation of each score
SCORED = ("best", "last", "training")
# Not to be changed: counts, and a scale whose deviation from 1 is reported as a defect.
KEPT = ("epoch", "epochs", "best_epoch", "patterns", "training_patterns", "extra", "gate")


def make_checkout(folder: Path, arms: int, seeds: int) -> None:
    """Fill the empty `folder` with `arms` arms of `seeds` seeds each; no findings yet."""
    study = many_arms(arms, seeds)
    write_yaml(folder / "params.yaml", as_written(study))
    write_yaml(folder / "claims.yaml", {"claims": {} if arms < 2 else claims(study)})
    shutil.copytree(ROOT / ".streamlit", folder / ".streamlit")
    git(folder, "init", "-qb", "main")
    commit(folder, "claims")
    head = git(folder, "log", "-1", "--format=%H %cI").split()
    stored = min((ROOT / "results" / "control" / "seeds").glob("s*.json"))
    template = json.loads(stored.read_text())
    draws = np.random.default_rng(0)
    for name, row in study.arms.items():
        for seed in row.seeds:
            content = seed_json(template, name, row, seed, draws)
            content["code"] |= {"commit": head[0], "commit_date": head[1], "dirty": False}
            write_json(folder / "results" / name / "seeds" / f"s{seed}.json", content)
        write_text(folder / "results" / name / "history.csv", history(seeds))
    commit(folder, "results")


def many_arms(arms: int, seeds: int) -> Study:
    """A study with the control and `arms` - 1 arms, each with a different learning rate."""
    root = load_study(ROOT / "params.yaml")
    control = root.arms["control"]
    assert isinstance(control, Arm)
    control = control.model_copy(update={"seeds": tuple(range(1, seeds + 1))})
    rows: dict[str, Row] = {"control": control}
    for i in range(1, arms):
        optimizer = control.optimizer.model_copy(update={"lr": 1e-3 * 1.002**i})
        changed = {"versus": "control", "changes": ("optimizer.lr",), "optimizer": optimizer}
        rows[f"arm_{i:03d}"] = control.model_copy(update=changed)
    data = {name: params.model_copy(update={"seeds": None}) for name, params in root.data.items()}
    return Study.model_validate({"data": data, "arms": rows})


def as_written(study: Study) -> dict[str, Any]:
    """The study as in params.yaml, where the options of a network are next to its name."""
    content = study.model_dump(mode="json")
    for block in content["arms"].values():
        options = block["generator"].pop("options")
        block["generator"] |= options
    return content


def claims(study: Study) -> dict[str, Any]:
    """One claim per arm against the control, in families of four."""
    return {
        f"RATE-{i:03d}": {
            "text": f"The learning rate of {name} ends at a lower amplitude error.",
            "kind": "confirmatory",
            "family": f"rates_{i // 4}",
            "arms": {"treatment": name, "control": "control"},
            "metric": "last.standard.amplitude.mae",
            "direction": "lower",
            "margin": {"value": 0.02, "unit": "object units"},
            "needed_seeds": 8,
            "changes": ["optimizer.lr"],
            "evidence": "mean_difference",
        }
        for i, name in enumerate(n for n in study.arms if n != "control")
    }


def seed_json(
    template: Mapping[str, Any], name: str, row: Row, seed: int, draws: np.random.Generator
) -> dict[str, Any]:
    """`template` changed to another run, with its own name, settings, files and random scores."""
    scored = {part: moved(template[part], draws) for part in SCORED}
    scored["training"]["history_sha256"] = draws.bytes(32).hex()
    evidence = {
        f"runs/{name}/s{seed}/{Path(file).name}": draws.bytes(32).hex()
        for file in template["evidence"]
    }
    run = {"arm": name, "seed": seed, "settings": leaves(row), "evidence": evidence}
    return {**template, **run, **scored, "code": dict(template["code"])}


def moved(value: Any, draws: np.random.Generator) -> Any:
    """Multiply every float by a random factor around 1, except for entries in `KEPT`."""
    if isinstance(value, Mapping):
        return {k: v if k in KEPT else moved(v, draws) for k, v in value.items()}
    return value * (1 + SPREAD * draws.standard_normal()) if isinstance(value, float) else value


def history(seeds: int) -> str:
    """history.csv for `seeds` seeds, each a copy of the first seed of the committed control."""
    header, *rows = (ROOT / "results" / "control" / "history.csv").read_text().splitlines()
    seed = rows[0].partition(",")[0]
    first = [row.partition(",")[2] for row in rows if row.startswith(f"{seed},")]
    return "\n".join([header, *(f"{s},{row}" for s in range(1, seeds + 1) for row in first)]) + "\n"


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    return subprocess.run(
        ("git", *identity, *arguments),
        cwd=folder,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
