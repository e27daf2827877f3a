"""What the published protocol costs on a GPU: `study train` in full/, a few minutes at a time.

    python -m bench.gpu_full --plan                                what it will cost; needs no GPU
    python -m bench.gpu_full --out gpu-results                     train, for nine minutes
    python -m bench.gpu_full --out gpu-results --arm control agc   these arms alone

A call runs the commands of full/dvc.yaml, arm after arm, until its minutes are over; then it asks
`study train` to stop, which checkpoints. The same call again goes on where the last one stopped.
At the end of each the small files of every run are copied, and the minutes are read from the
history of every seed.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.subject import ROOT
from study.params import Arm, DataParams, Study, load_study
from study.runs import RunFolder, read_json, write_json
from study.stages.train import Job, plan

FULL = ROOT / "full"
SMALL = ("params.yaml", "environment.json", "status.json", "history.csv", "events.jsonl", "log.txt")
STOP_S = 60  # for a checkpoint after the current call of the loop, and for the processes to end
GOAL_S, GOAL_STEPS = 15.0, 50 * 431  # G3: 50 epochs of 6,889 patterns
START_S = 20.0  # a guess: imports, CUDA, the data set, the reconstruction, for every seed


# --- what it will cost ------------------------------------------------------------------------


def arms_of(study: Study, names: Sequence[str]) -> dict[str, Arm]:
    """The networks among the rows, or those named; SystemExit for a name that is none."""
    arms = {name: row for name, row in study.arms.items() if isinstance(row, Arm)}
    unknown = [name for name in names if name not in arms]
    if unknown:
        raise SystemExit(
            f"no arm {unknown[0]!r} in {FULL / 'params.yaml'}; arms: {', '.join(arms)}"
        )
    return {name: arm for name, arm in arms.items() if not names or name in names}


def patterns(data: DataParams) -> int:
    """Training patterns of a data set that need not exist yet."""
    places = (data.object_px - data.n) // data.scan.stride_px.train + 1
    return places**2 * data.images_per_split


def steps_per_seed(study: Study, arm: Arm) -> int:
    data = study.data[arm.data.removeprefix("data/")]
    return arm.epochs * math.ceil(patterns(data) / arm.batch_size)


def step_seconds(out: Path | None) -> tuple[float, str]:
    """Seconds of a step with its share of validation: measured as G3, else the goal of G3."""
    measured = (read_json(out / "G3.json") or {}).get("value") if out is not None else None
    if measured is not None:
        return measured / GOAL_STEPS, "G3 as measured"
    return GOAL_S / GOAL_STEPS, "G3 as aimed at, not measured"


def estimate(
    study: Study, arms: Mapping[str, Arm], seconds: float
) -> dict[str, tuple[int, int, float]]:
    """arm -> seeds, steps a seed, minutes of all its seeds one after another."""
    found = {}
    for name, arm in arms.items():
        seeds, steps = len(arm.seeds), steps_per_seed(study, arm)
        found[name] = (seeds, steps, seeds * (steps * seconds + START_S) / 60)
    return found


def plan_lines(study: Study, names: Sequence[str], minutes: float, out: Path | None) -> list[str]:
    arms = arms_of(study, names)
    seconds, source = step_seconds(out)
    costs = estimate(study, arms, seconds)
    total = sum(cost for *_, cost in costs.values())
    where = out or Path("gpu-results")
    return [
        f"{1e3 * seconds:.2f} ms a step ({source}), {START_S:.0f} s more for a seed (a guess)",
        *(
            f"  {name}: {seeds} seeds of {steps} steps, {cost:.1f} min"
            for name, (seeds, steps, cost) in costs.items()
        ),
        f"{total:.0f} min in all: {math.ceil(total / minutes)} calls of {minutes:g} min",
        "commands of one call, in full/:",
        *(f"  {' '.join(command)}" for command in commands(arms)),
        "as:",
        f"  python -m bench.gpu_full --out {where} --minutes {minutes:g}"
        + (f" --arm {' '.join(names)}" if names else ""),
    ]


def commands(arms: Mapping[str, Arm]) -> Iterator[tuple[str, ...]]:
    """Those of full/dvc.yaml; data.dvc copies build/dataset to data in between."""
    yield ("study", "simulate", "--out", "build/dataset")
    for name in arms:
        yield ("study", "train", "--arm", name)


# --- running ----------------------------------------------------------------------------------


def run_for(root: Path, arms: Mapping[str, Arm], minutes: float) -> bool:
    """Run the commands in `root` for that long; whether all of them came to their end."""
    deadline = time.monotonic() + 60 * minutes
    for command in commands(arms):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        print(f"{' '.join(command)}  ({left / 60:.1f} min left)", flush=True)
        code = run_command(root, command, left)
        if code is None:
            return False
        if code != 0:
            raise SystemExit(f"gpu_full: {' '.join(command)} ended with {code}")
        if command[1] == "simulate" and not (root / "data").exists():
            shutil.copytree(root / "build" / "dataset", root / "data")
    return True


def run_command(root: Path, command: Sequence[str], seconds: float) -> int | None:
    """Exit code of `study ...` in `root`, None where its time was over and it was stopped."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        (sys.executable, "-m", *command), cwd=root, env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return None


# --- what came of it --------------------------------------------------------------------------


def jobs_of(root: Path, arms: Mapping[str, Arm]) -> Iterator[Job]:
    """The runs of these arms that have begun."""
    for name, arm in arms.items():
        if (root / arm.data / "manifest.json").is_file() and _fingerprint(root, name).is_file():
            jobs = plan(root, name, arm, diagnose=False, devices=1)
            yield from (job for job in jobs if _folder(job).history_file.is_file())


def _fingerprint(root: Path, name: str) -> Path:
    return root / "fingerprints" / f"{name}.json"


def _folder(job: Job) -> RunFolder:
    return job.settled() or RunFolder(job.folder)


def facts_of(job: Job) -> dict[str, Any]:
    """State, epochs and GPU minutes of one seed."""
    run = _folder(job)
    history, status = run.history(), run.status()
    return {
        "arm": job.arm,
        "seed": job.seed,
        "state": status.get("state"),
        "epochs": len(history),
        "gpu_minutes": float(history["seconds"].sum()) / 60,
        "best_val_loss": status.get("best_val_loss"),
        "why_eager": status.get("why_eager"),
    }


def copy_small(job: Job, out: Path) -> None:
    target = out / "full" / job.arm / f"s{job.seed}"
    target.mkdir(parents=True, exist_ok=True)
    for name in SMALL:
        source = _folder(job).path / name
        if source.is_file():
            shutil.copy(source, target / name)


def collect(root: Path, arms: Mapping[str, Arm], out: Path, done: bool) -> list[dict[str, Any]]:
    """Write gpu_full.json and the small files of every run; returns a row a seed."""
    rows = []
    for job in jobs_of(root, arms):
        copy_small(job, out)
        rows.append(facts_of(job))
    minutes = sum(row["gpu_minutes"] for row in rows)
    write_json(out / "gpu_full.json", {"done": done, "gpu_minutes": minutes, "runs": rows})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="The published protocol on a GPU.")
    parser.add_argument("--plan", action="store_true", help="print what it will cost, run nothing")
    parser.add_argument("--out", type=Path, help="folder for gpu_full.json and the small files")
    parser.add_argument("--arm", nargs="+", default=[], help="these arms alone")
    parser.add_argument("--minutes", type=float, default=9.0)
    asked = parser.parse_args()
    study = load_study(FULL / "params.yaml")
    if asked.plan:
        print("\n".join(plan_lines(study, asked.arm, asked.minutes, asked.out)))
        return
    if asked.out is None:
        parser.error("--out is needed where --plan is not given")
    if not torch.cuda.is_available():
        write_json(asked.out / "gpu_full.json", {"gpu_minutes": None, "why": "no CUDA device"})
        print("gpu_full: no CUDA device (--plan needs none)")
        return
    arms = arms_of(study, asked.arm)
    done = False
    try:
        done = run_for(FULL, arms, asked.minutes)
    finally:
        for row in collect(FULL, arms, asked.out, done):
            print(
                f"{row['arm']} seed {row['seed']}: {row['state']}, {row['epochs']} epochs, "
                f"{row['gpu_minutes']:.2f} GPU min"
            )
    print("all done" if done else "not done yet: run the same command again to go on")


if __name__ == "__main__":
    main()
