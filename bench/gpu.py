"""GPU performance in one run of ten minutes: G1 to G4, synchronisations, and the cost of full/.

    python -m bench.gpu --out gpu-results [--minutes 10]       writes gpu-results/gpu.json
    python -m bench G                                          G1 to G4 as part of `make bench`

- The value of each goal is measured in fp32, the precision of the arms in full/params.yaml. Other
  precisions follow as details if time permits.
- All functions take a device, so that tests can run them at a small size on a CPU. Figures are
  measured only on CUDA.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from math import ceil, inf
from pathlib import Path
from statistics import median
from threading import BrokenBarrierError
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.__main__ import machine, show, versions
from bench.clock import in_rounds, now
from bench.figure import Figure, Goal
from bench.loop import Stopwatch, check_recorded, eager_step, graphed_step, train
from bench.subject import ROOT, Subject, endless, full, relative, whole_batches
from bench.timing import milliseconds, speedup
from study.generators.base import count
from study.runs import RunFolder, write_json
from study.settings import Arm, DataParams, Precision, load_study
from study.training import fit, process
from study.training.checkpoint_callback import CheckpointCallback
from study.training.graph import WARM_UP
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
LATE = "not started: the time limit was reached"
MEETING_S = 300  # longest wait until the slowest process is ready
BANNED_CALLS = (1, 2)  # calls of Lightning's loop; the graph is recorded in call 0

DECIDES: Precision = "fp32"
CHECKED_STEPS = 20
SCAN_PX = 392  # 83 x 83 positions
SEEDS = 6

# Minimum number of passes over arrays of the size of the weights in a step with a norm clip and
# Adam: forward and backward pass read the weights, the gradient is written and read for its norm,
# and Adam reads weights, gradient and two moments and writes weights and moments.
TRAFFIC = {"forward": 1, "backward": 1, "gradient": 1, "norm": 1, "adam": 4 + 3}
FLOAT32 = 4
Facts = dict[str, Any]  # the number of a goal as `value`, with details


# --- G1 ---------------------------------------------------------------------------------------


def graph_difference(subject: Subject, device: torch.device, steps: int = CHECKED_STEPS) -> float:
    """Largest relative difference between the records of graphed and eager steps."""
    eager, graphed = (subject.calm().run(0, device) for _ in range(2))
    batches = itertools.islice(endless(eager), steps)
    pairs = [(eager.module.step(batch), graphed.module.advance(batch)) for batch in batches]
    check_recorded(graphed)
    expected, found = (torch.stack(side) for side in zip(*pairs, strict=True))
    return relative(found, expected)


def against_lightning(
    subject: Subject, device: torch.device, rounds: int = 5, epochs: int = 3
) -> Facts:
    """Compare graphed and eager steps in Lightning's loop, alternating, each with a new network."""
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
        "first step that waits for the GPU": first_wait(subject, device),
    }


class Ban(lightning.Callback):
    """Make torch raise an error for every operation that waits for the device.

    Active during the second and third call of Lightning's loop; the first one records the graph.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps = 0

    def set(self, mode: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_sync_debug_mode(mode)

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Sequence[Any],
        batch_idx: int,
    ) -> None:
        if batch_idx in BANNED_CALLS and trainer.current_epoch == 0:
            self.set("error")
            self.steps += len(batch)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.set("default")


def first_wait(subject: Subject, device: torch.device) -> str | None:
    """Torch's message for the first graphed step that waits for the device, or None."""
    ban, run = Ban(device), subject.but(epochs=1).run(0, device)
    try:
        train(run, ban)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return str(error).splitlines()[0]
    finally:
        ban.set("default")
    check_recorded(run)
    assert ban.steps, "no step was watched"
    return None


# --- G2 ---------------------------------------------------------------------------------------


def counted_flops(subject: Subject, device: torch.device) -> int:
    """Floating-point operations in matrix products and convolutions of one step, both passes."""
    run = subject.run(0, device)
    batch = whole_batches(run)[0]
    with FlopCounterMode(display=False) as counter:
        run.module.step(batch)
    return counter.get_total_flops()


def products(subject: Subject, device: torch.device, size: int) -> Callable[[], Tensor]:
    """A large square matrix product; the run has already set the process to fp32 or tf32."""
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
    """A step and its two floors, with speeds measured in alternation with the step."""
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
    """Train an arm into a folder as `fit` does; the seconds are those in timing.csv."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, dataset = RunFolder(Path(scratch) / "run"), subject.dataset()
        run = fit.prepare(subject.arm, dataset, 0, folder, device, ALONE)
        keeper, watch = CheckpointCallback(run, folder, Stop(), None), Stopwatch(device)
        start = now(device)
        watchers = [watch, *callbacks(False, folder, dataset), keeper]
        cause = fit._train(run, dataset, watchers, keeper)
        wall = now(device) - start
        history, timing = folder.history(), folder.timing()
    assert cause is None, cause
    check_recorded(run)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0], "it does not learn"
    return {
        "value": float(timing["seconds"].sum()),
        "epochs": len(history),
        "patterns": len(run.module.train_data),
        "seconds of the steps": sum(watch.training),
        "seconds of the validation": sum(watch.validation),
        "seconds of all, with weights and checkpoints written": wall,
        "first and last train_loss": [float(history["train_loss"].iloc[i]) for i in (0, -1)],
        "final val_loss": float(history["val_loss"].iloc[-1]),
    }


# --- G4 ---------------------------------------------------------------------------------------

_meeting: Any = None


def _meet(barrier: Any) -> None:
    global _meeting
    _meeting = barrier


def _train(subject: Subject, seed: int, steps: int, kind: str) -> tuple[float, float]:
    """Start and end time of `steps` steps, on the monotonic clock shared by all processes."""
    device = torch.device(kind)
    try:
        step = _ready(subject, seed, device)
    except BaseException:
        _meeting.abort()  # release the other processes
        raise
    _meeting.wait(MEETING_S)
    begin = time.monotonic()
    for _ in range(steps):
        step()
    now(device)
    return begin, time.monotonic()


def _ready(subject: Subject, seed: int, device: torch.device) -> Callable[[], object]:
    """The training step of one seed, with its graph already recorded."""
    process.settle()
    run = subject.run(seed, device)
    order = endless(run)
    for _ in range(WARM_UP + 2):
        run.module.advance(next(order))
    check_recorded(run)
    now(device)
    return lambda: run.module.advance(next(order))


def processes(subject: Subject, seeds: int, steps: int, device: torch.device) -> float:
    """Total steps per second of all seeds, one process each, from the first step of the earliest to
    the last step of the latest process."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(seeds)
    with ProcessPoolExecutor(seeds, context, initializer=_meet, initargs=(barrier,)) as pool:
        jobs = [pool.submit(_train, subject, seed, steps, device.type) for seed in range(seeds)]
        wait(jobs)
    for job in jobs:  # raise the original error before the broken barriers of other processes
        if job.exception() is not None and not isinstance(job.exception(), BrokenBarrierError):
            job.result()
    spans = [job.result() for job in jobs]
    taken = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return seeds * steps / taken


def at_once(
    subject: Subject, device: torch.device, seeds: int = SEEDS, steps: int = 500, rounds: int = 2
) -> Facts:
    """Parallel seeds, one process each as in `study train --jobs`, compared with a single seed;
    median over the rounds."""
    rates = [
        (processes(subject, seeds, steps, device), processes(subject, 1, steps, device))
        for _ in range(rounds)
    ]
    return {
        "value": median(together / alone for together, alone in rates),
        "steps per second of all seeds": median(together for together, _ in rates),
        "steps per second of one alone": median(alone for _, alone in rates),
    }


# --- what full/ costs -------------------------------------------------------------------------


def full_cost(seconds_per_step: float) -> dict[str, float]:
    """GPU hours per arm of full/params.yaml, with its seeds in sequence, for training only.

    `seconds_per_step`: time per step of the control, assumed for all arms.
    """
    study = load_study(ROOT / "full" / "params.yaml")
    hours = {}
    for name, arm in study.arms.items():
        if isinstance(arm, Arm):
            steps = arm.epochs * ceil(
                patterns(study.data[arm.data.removeprefix("data/")]) / arm.batch_size
            )
            hours[name] = len(arm.seeds) * steps * seconds_per_step / 3600
    return hours


def patterns(data: DataParams) -> int:
    """Number of training patterns of a raster scan, from its parameters only."""
    stride = data.scan.stride_px.train
    return data.images_per_split * ((data.object_px - data.n) // stride + 1) ** 2


# --- all --------------------------------------------------------------------------------------


def precisions() -> list[Precision]:
    """Precisions supported by this machine, starting with the one that decides the goals."""
    return [DECIDES, "tf32", "bf16"] if has_tf32() else [DECIDES, "bf16"]


def measure(minutes: float = inf) -> list[Figure]:
    """Measure all goals; measurements not started within `minutes` have a reason, not a value."""
    if not torch.cuda.is_available():
        return [Figure(goal, None, why=NO_CUDA) for goal in GOALS]
    torch.set_num_threads(1)
    device, whole, end = torch.device("cuda"), full(), time.monotonic() + 60 * minutes
    takes: dict[str, Callable[[Precision], Facts]] = {
        "G1": lambda name: against_lightning(whole.but(precision=name), device),
        "G2": lambda name: against_floor(whole.but(precision=name), device),
        "G3": lambda name: whole_arm(full(SCAN_PX).but(epochs=50, precision=name), device),
        "G4": lambda name: at_once(full(object_px=156).but(precision=name), device),
    }
    found: dict[str, Facts] = {goal.id: {} for goal in GOALS}
    for name in precisions():
        for goal in GOALS:
            late = time.monotonic() > end
            found[goal.id][name] = {"why": LATE} if late else takes[goal.id](name)
            print(f"{goal.id} {name}: {found[goal.id][name]}", flush=True)
    return [_figure(goal, found[goal.id]) for goal in GOALS]


def _figure(goal: Goal, found: Facts) -> Figure:
    value = found[DECIDES].get("value")
    return Figure(goal, value, found, None if value is not None else found[DECIDES]["why"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the GPU goals in one run.")
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="start no measurement after this time"
    )
    asked = parser.parse_args()
    figures = measure(asked.minutes)
    here, packages = machine(), versions()
    result = {figure.goal.id: figure.record(here, packages) for figure in figures}
    taken = result["G3"]["value"]
    if taken is not None:
        facts = result["G3"]["details"][DECIDES]
        steps = facts["epochs"] * ceil(facts["patterns"] / full().arm.batch_size)
        result["GPU hours of full/"] = full_cost(taken / steps)
    write_json(asked.out / "gpu.json", result)
    show(figures)


if __name__ == "__main__":
    main()
