"""G1 to G4: the graphed training step on a GPU, against Lightning, its floor, and the clock.

    python -m bench.gpu --out gpu-results [--goals G1 G2]      into gpu-results/G1.json ...
    python -m bench G                                          the same through `make bench`

- Every goal is measured in every precision. The value is that of fp32, in which the arms of
  full/params.yaml are; the others stand beside it.
- Everything takes a device, so that a test runs it at small size on a CPU. The figures exist on
  CUDA alone.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.__main__ import machine, show, versions
from bench.clock import in_rounds, now
from bench.figure import Figure, Goal
from bench.gpu_seeds import Rate, batched, fresh, processes, streams
from bench.loop import Stopwatch, check_recorded, eager_step, graphed_step
from bench.subject import Subject, endless, full, relative, whole_batches
from bench.timing import milliseconds, speedup
from study.generators.base import count
from study.params import Precision
from study.runs import RunFolder, write_json
from study.training import fit
from study.training.keeper import Keeper
from study.training.precision import has_tf32
from study.training.ranks import ALONE
from study.training.stopping import Stop
from study.training.watch import callbacks

G1 = Goal("G1", "graphed step against the same model eager under Lightning", 5.0, "x", True)
G2 = Goal("G2", "graphed step, multiple of its byte or FLOP floor", 2.5, "x", False)
G3 = Goal("G3", "50-epoch arm, w = 32, 6,889 patterns, training only", 15.0, "s", False)
G4 = Goal("G4", "6 seeds of an arm at once against one after another", 2.5, "x", True)
GOALS = (G1, G2, G3, G4)
NO_CUDA = "no CUDA device"

DECIDES: Precision = "fp32"
CHECKED_STEPS = 20
SCAN_PX = 392  # 83 x 83 positions
SEEDS = 6

# Passes over an array of the size of the weights that no step with a norm clip and Adam can do
# without: both passes of the network read them, the gradient is written and read for its norm, and
# Adam reads weight, gradient and two moments and writes three of these.
TRAFFIC = {"forward": 1, "backward": 1, "gradient": 1, "norm": 1, "adam": 4 + 3}
FLOAT32 = 4
Facts = dict[str, Any]  # the number of a goal as `value`, and what stands behind it


# --- G1 ---------------------------------------------------------------------------------------


def graph_difference(subject: Subject, device: torch.device, steps: int = CHECKED_STEPS) -> float:
    """Largest relative difference of what graphed and eager steps record."""
    eager, graphed = (subject.calm().run(0, device) for _ in range(2))
    batches = itertools.islice(endless(eager), steps)
    pairs = [(eager.module.step(batch), graphed.module.advance(batch)) for batch in batches]
    check_recorded(graphed)
    expected, found = (torch.stack(side) for side in zip(*pairs, strict=True))
    return relative(found, expected)


def against_lightning(
    subject: Subject, device: torch.device, rounds: int = 5, epochs: int = 3
) -> Facts:
    """Both under Lightning's loop, in turns, each from a new network."""
    worst = subject.check(graph_difference(subject, device), "graphed against eager step")
    subject = subject.but(epochs=epochs)
    times: dict[str, list[float]] = {"eager": [], "graphed": []}
    for _ in range(rounds):
        times["eager"].append(eager_step(subject, device))
        times["graphed"].append(graphed_step(subject, device))
    return {
        "value": speedup(times, "graphed", "eager"),
        "ms": milliseconds(times),
        "largest difference over 20 steps": worst,
    }


# --- G2 ---------------------------------------------------------------------------------------


def counted_flops(subject: Subject, device: torch.device) -> int:
    """Operations of the products and convolutions of one step, forward and backward."""
    run = subject.run(0, device)
    batch = whole_batches(run)[0]
    with FlopCounterMode(display=False) as counter:
        run.module.step(batch)
    return counter.get_total_flops()


def products(subject: Subject, device: torch.device, size: int) -> Callable[[], Tensor]:
    """A large square product; fp32 or tf32 is what the process was set to by the run."""
    dtype = torch.bfloat16 if subject.arm.precision == "bf16" else torch.float32
    a = torch.randn(size, size, device=device, dtype=dtype)
    return lambda: a @ a


def copies(device: torch.device, count_of: int) -> Callable[[], Tensor]:
    source = torch.zeros(count_of, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def against_floor(
    subject: Subject,
    device: torch.device,
    size: int = 8192,
    copied: int = 1 << 28,
    rounds: int = 9,
) -> Facts:
    """A step and both of its floors, at speeds that are measured in turns with it."""
    flops = counted_flops(subject, device)
    run = subject.run(0, device)
    order = endless(run)
    candidates = {
        "step": (lambda: run.module.advance(next(order)), 64),
        "product": (products(subject, device, size), 3),
        "copy": (copies(device, copied), 10),
    }
    times = in_rounds(candidates, device, rounds)
    check_recorded(run)
    seconds = {name: median(values) for name, values in times.items()}
    moved = FLOAT32 * count(run.generator.parameters()) * sum(TRAFFIC.values())
    speed = 2 * size**3 / seconds["product"]
    bandwidth = 2 * FLOAT32 * copied / seconds["copy"]
    floors = {"flops": flops / speed, "bytes": moved / bandwidth}
    return {
        "value": seconds["step"] / max(floors.values()),
        "step_ms": 1e3 * seconds["step"],
        "flop_floor_ms": 1e3 * floors["flops"],
        "byte_floor_ms": 1e3 * floors["bytes"],
        "gflop": flops / 1e9,
        "megabytes": moved / 1e6,
        "tflop/s": speed / 1e12,
        "gigabytes/s": bandwidth / 1e9,
        "passes": TRAFFIC,
    }


# --- G3 ---------------------------------------------------------------------------------------


def whole_arm(subject: Subject, device: torch.device) -> Facts:
    """Training by `fit`'s own path into a folder; the seconds are those of history.csv."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, dataset = RunFolder(Path(scratch) / "run"), subject.dataset()
        run = fit.prepare(subject.arm, dataset, 0, folder, device, ALONE)
        keeper, watch = Keeper(run, folder, Stop(), None), Stopwatch(device)
        start = now(device)
        watchers = [watch, *callbacks(False, folder, dataset), keeper]
        cause = fit._train(run, dataset, watchers, keeper)
        wall = now(device) - start
        history = folder.history()
    assert cause is None, cause
    check_recorded(run)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0], "it does not learn"
    return {
        "value": float(history["seconds"].sum()),
        "epochs": len(history),
        "patterns": len(run.module.train_data),
        "seconds of the steps": sum(watch.training),
        "seconds of the validation": sum(watch.validation),
        "seconds of all, with weights and checkpoints written": wall,
        "first and last train_loss": [float(history["train_loss"].iloc[i]) for i in (0, -1)],
        "final val_loss": float(history["val_loss"].iloc[-1]),
    }


# --- G4 ---------------------------------------------------------------------------------------


def at_once(
    subject: Subject, device: torch.device, seeds: int = SEEDS, steps: int = 1000, rounds: int = 2
) -> Facts:
    """The best way of `bench.gpu_seeds` against one seed alone, the median over rounds."""
    found: dict[str, list[float]] = {}
    reasons: dict[str, str] = {}
    for _ in range(rounds):
        alone = processes(subject, 1, steps, device).total
        for rate in _ways(subject, seeds, steps, device):
            if rate.total is None or alone is None:
                reasons[rate.way] = rate.why or ""
            else:
                found.setdefault(rate.way, []).append(rate.total / alone)
    medians = {way: median(ratios) for way, ratios in found.items()}
    best = max(medians, key=medians.__getitem__)
    return {
        "value": medians[best],
        "way": best,
        "against one after another": medians,
        "not measured": reasons,
    }


def _ways(subject: Subject, seeds: int, steps: int, device: torch.device) -> list[Rate]:
    return [
        processes(subject, seeds, steps, device),
        fresh(batched, subject, seeds, steps, device),
        fresh(streams, subject, seeds, steps, device),
    ]


# --- all --------------------------------------------------------------------------------------


def precisions(goal: Goal) -> list[Precision]:
    """What this machine has; G4, whose processes take long to start, leaves bf16 out."""
    names: list[Precision] = ["fp32", "tf32"] if has_tf32() else ["fp32"]
    return names if goal is G4 else [*names, "bf16"]


def figure(goal: Goal, take: Callable[[Subject], Facts], subject: Subject) -> Figure:
    """`DECIDES` gives the value, the other precisions stand beside it."""
    found = {name: take(subject.but(precision=name)) for name in precisions(goal)}
    return Figure(goal, found[DECIDES]["value"], found)


def measure(asked: Collection[str] = ()) -> list[Figure]:
    """The goals asked for by id, all of them without."""
    goals = [goal for goal in GOALS if not asked or goal.id in asked]
    if not torch.cuda.is_available():
        return [Figure(goal, None, why=NO_CUDA) for goal in goals]
    torch.set_num_threads(1)
    device, whole = torch.device("cuda"), full()
    takes: dict[str, tuple[Callable[[Subject], Facts], Subject]] = {
        "G1": (lambda subject: against_lightning(subject, device), whole),
        "G2": (lambda subject: against_floor(subject, device), whole),
        "G3": (lambda subject: whole_arm(subject, device), full(SCAN_PX).but(epochs=50)),
        "G4": (lambda subject: at_once(subject, device), full(object_px=156)),
    }
    return [figure(goal, *takes[goal.id]) for goal in goals]


def main() -> None:
    known = [goal.id for goal in GOALS]
    parser = argparse.ArgumentParser(description="G1 to G4 on a GPU.")
    parser.add_argument("--out", type=Path, required=True, help="folder for G1.json ... G4.json")
    parser.add_argument("--goals", nargs="+", choices=known, default=known)
    asked = parser.parse_args()
    here, packages, figures = machine(), versions(), []
    for goal in asked.goals:
        figures += measure([goal])
        write_json(asked.out / f"{goal}.json", figures[-1].record(here, packages))
        print(f"{goal}: {figures[-1].value} {figures[-1].details or figures[-1].why}", flush=True)
    show(figures)


if __name__ == "__main__":
    main()
