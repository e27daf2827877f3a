"""Cost against the number of runs: collect, evaluate, findings and the app's index."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import torch

from bench.many import commit, make_checkout, many_arms
from bench.scaling.curve import Curve, cpu_seconds
from study.evidence.arms import load_arms
from study.evidence.scores import score_arm
from study.formats.dataset import load_dataset
from study.runs import RunFolder, environment, read_json, write_json
from study.runs.collect import collect
from study.settings import Arm, Row, leaves
from study.stages.findings import write_findings
from study.stages.simulate import simulate_all
from study.training.fit import fit

RUN_SIZES = (10, 30, 100, 300)
RESULT_SIZES = (10, 30, 100, 300, 1_000, 3_000)
SEEDS = 5

Live = Mapping[str, list[tuple[int, RunFolder]]]


# --- run folders ------------------------------------------------------------------------------


def folder_curves() -> list[Curve]:
    """Measure collect and evaluate."""
    with tempfile.TemporaryDirectory() as made:
        first = one_run(Path(made))
        pairs = [_collect_and_evaluate(Path(made), first, runs) for runs in RUN_SIZES]
    names = ("collect", "evaluate")
    return [
        Curve(name, "runs", RUN_SIZES, tuple(found))
        for name, found in zip(names, zip(*pairs, strict=True), strict=True)
    ]


def one_run(root: Path) -> RunFolder:
    """Train the root study's control for one epoch; its data set is written to `root`/data."""
    torch.set_num_threads(1)
    study = many_arms(1, SEEDS)
    control = study.arms["control"]
    assert isinstance(control, Arm)
    simulate_all(study, root / "data")
    dataset = load_dataset(root / control.data)
    run = RunFolder(root / "first")
    write_json(run.path / "environment.json", environment.describe(root, "cpu"))
    origin = {
        "data_sha256": dataset.manifest.content_sha256,
        "fingerprint": "bench",
        "settings": leaves(control),
    }
    run.start("control", 1, 1, origin)
    fit(control.model_copy(update={"epochs": 1}), dataset, 1, run, device=torch.device("cpu"))
    return run


def copied(first: RunFolder, path: Path, arm: str, seed: int) -> RunFolder:
    """A copy of `first` as another run: its files are hard links, except for status.json."""
    shutil.copytree(first.path, path, copy_function=os.link)
    (path / "status.json").unlink()
    write_json(path / "status.json", {**first.status(), "arm": arm, "seed": seed})
    return RunFolder(path)


def _collect_and_evaluate(root: Path, first: RunFolder, runs: int) -> tuple[float, float]:
    arms = many_arms(runs // SEEDS, SEEDS).arms
    here = root / str(runs)
    live = {
        name: [(s, copied(first, here / "work" / f"{name}_{s}", name, s)) for s in row.seeds]
        for name, row in arms.items()
    }
    collecting = cpu_seconds(functools.partial(_collect, live, here / "runs"))
    evaluating = cpu_seconds(functools.partial(_evaluate, arms, here, root))
    assert len(list(here.glob("results/*/seeds/*.json"))) == runs
    shutil.rmtree(here)
    return collecting, evaluating


def _collect(live: Live, out: Path) -> None:
    for name, found in live.items():
        collect(found, out / name)


def _evaluate(arms: Mapping[str, Row], here: Path, data: Path) -> None:
    for name, row in arms.items():
        score_arm(name, row, here / "runs", data, here / "results")


# --- stored results ---------------------------------------------------------------------------


def result_curves() -> list[Curve]:
    """Measure findings and the app's index."""
    logging.disable(logging.WARNING)  # streamlit warns that no app is running
    pairs = [_judge_and_index(runs) for runs in RESULT_SIZES]
    names = ("findings", "index")
    return [
        Curve(name, "runs", RESULT_SIZES, tuple(found))
        for name, found in zip(names, zip(*pairs, strict=True), strict=True)
    ]


def _judge_and_index(runs: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        make_checkout(root, runs // SEEDS, SEEDS)
        judging = cpu_seconds(lambda: write_findings(root))
        commit(root, "findings")
        assert len(read_json(root / "findings.json")["arms"]) == runs // SEEDS
        indexing = median(cpu_seconds(lambda: _index(root)) for _ in range(3))
    return judging, indexing


def _index(root: Path) -> None:
    """What the Arms page does on the first visit, before its rows are cached."""
    from app import load
    from app.arms.rows import arm_rows

    load.stamp(root / "results")
    arm_rows(load_arms(root / "results"), {}, "last")
