"""C3, C4, C5: one training step of the hybrid network at full size, n = 64, batch 16.

The arm is the control of the full study (mode set corner, 12 modes). The straightforward step
(`bench.plain`) runs with defaults, ours as in `study train`: each in a separate process with its
own allocator settings.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.figure import Figure, Goal
from bench.plain import plain_network, plain_step
from bench.timing import in_turns, interleaved, milliseconds, speedup
from study.formats.dataset import Dataset
from study.generators.hybrid import HybridUNOGenerator
from study.settings import Arm, GeneratorParams, Study, load_study
from study.simulate import simulate
from study.training import process
from study.training.checkpoints import Network
from study.training.data import Batch, TrainData
from study.training.setup import build_run
from study.training.step import TrainStep

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
ROUNDS = 15
STEPS = 20  # number of steps for which the losses are compared
CALM_RATE = 1e-4  # at 1e-3 the first steps are chaotic: rounding errors grow a thousandfold

C3 = {
    width: Goal(f"C3-w{width}", f"hybrid step against the straightforward one, w = {width}", *rest)
    for width, rest in {32: (1.8, "x", True), 64: (1.9, "x", True)}.items()
}
C4 = Goal("C4", "hybrid step, share of its FLOP floor at sgemm speed", 0.8, "", True)
C5 = Goal("C5", "bf16 step against the straightforward fp32 step, w = 32", 3.0, "x", True)
C5_LOSS = Goal(
    "C5-loss", "bf16: distance of the final loss from fp32, in spreads over seeds", 1.0, "", False
)


# --- the subjects -----------------------------------------------------------------------------


@functools.cache
def dataset() -> Dataset:
    """The full-size data set with a smaller object: 625 training patterns of 64 x 64."""
    params = next(iter(load_study(ROOT / "full" / "params.yaml").data.values()))
    smaller = {"object_px": 160, "images_per_split": 1}
    return simulate("bench", params.model_copy(update=smaller))


def arm(width: int, precision: str = "fp32", lr: float = 1e-3) -> Arm:
    study: Study = load_study(ROOT / "full" / "params.yaml")
    control = study.arms["control"]
    assert isinstance(control, Arm)
    options = {**control.generator.options, "width": width}
    generator = GeneratorParams(name="hybrid", options=options)
    optimizer = control.optimizer.model_copy(update={"lr": lr})
    changes = {"generator": generator, "precision": precision, "optimizer": optimizer}
    return control.model_copy(update=changes)


def batches() -> Iterator[Batch]:
    whole = list(TrainData(dataset(), "train", CPU).shuffled(16, 0, 0))[:-1]
    return itertools.cycle(whole)


def our_step(width: int, precision: str = "fp32", lr: float = 1e-3) -> TrainStep:
    return build_run(arm(width, precision, lr), dataset(), 0, CPU).module.step


def straightforward(
    width: int, tight: bool = False, lr: float = 1e-3
) -> Callable[[Batch], torch.Tensor]:
    generator = Network(arm(width).generator, 64, 1).build(0)
    assert isinstance(generator, HybridUNOGenerator)
    probe = torch.tensor(dataset().probe)
    return plain_step(plain_network(generator, 64, tight), probe, lr)


def ours(width: int, precision: str, settled: bool = True) -> Callable[[], object]:
    torch.set_num_threads(1)
    if settled:
        process.settle()
    step, order = our_step(width, precision), batches()
    return lambda: step(next(order))


def theirs(width: int, tight: bool = False) -> Callable[[], object]:
    torch.set_num_threads(1)
    step, order = straightforward(width, tight), batches()
    return lambda: step(next(order))


# --- checks before timing ---------------------------------------------------------------------


def losses(step: Callable[[Batch], torch.Tensor], steps: int) -> list[float]:
    found = (step(batch) for batch in itertools.islice(batches(), steps))
    return [float(record[0] if record.ndim else record) for record in found]


def assert_same_training(width: int) -> float:
    """Largest relative difference of the losses in the first steps; AssertionError above 1e-4."""
    a = losses(our_step(width, lr=CALM_RATE), STEPS)
    b = losses(straightforward(width, lr=CALM_RATE), STEPS)
    worst = max(abs(x - y) / y for x, y in zip(a, b, strict=True))
    assert worst < 1e-4, f"the losses of the two steps differ: {worst:.2e}"
    return worst


# --- figures ----------------------------------------------------------------------------------


def compare(width: int) -> Figure:
    worst = assert_same_training(width)
    tight = "straightforward with our choice of modes"
    steps = {
        "ours": functools.partial(ours, width, "fp32"),
        "straightforward": functools.partial(theirs, width),
        tight: functools.partial(theirs, width, tight=True),
        "ours in a process as it comes": functools.partial(ours, width, "fp32", settled=False),
    }
    times = in_turns(steps, ROUNDS)
    details = {
        "ms": milliseconds(times),
        f"against the {tight}": speedup(times, "ours", tight),
        "largest difference of the loss over 20 steps": worst,
    }
    return Figure(C3[width], speedup(times, "ours", "straightforward"), details)


def floor() -> Figure:
    """C4: time for the counted operations of a step at the speed of a large matrix product in the
    same process, relative to the time of the step."""
    process.settle()
    step, order = our_step(32), batches()
    with FlopCounterMode(display=False) as counter:
        step(next(order))
    a = torch.randn(2048, 2048)
    images = torch.randn(16, 64, 64, 64).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(64, 64, 3, 3)

    def convolve() -> torch.Tensor:
        with torch.no_grad():
            return torch.nn.functional.conv2d(images, kernel, padding=1)

    calls = {"step": lambda: step(next(order)), "sgemm": lambda: a @ a, "convolution": convolve}
    times = interleaved(calls, rounds=9)
    flops = counter.get_total_flops()
    seconds = {name: median(values) for name, values in times.items()}
    speed = {
        "sgemm": 2 * 2048**3 / seconds["sgemm"],
        "convolution": 2 * 16 * 64**4 * 9 / seconds["convolution"],
    }
    details = {
        "gflop": flops / 1e9,
        "ms": milliseconds(times),
        "gflop/s": {name: value / 1e9 for name, value in speed.items()},
        "share at the speed of a 3x3 convolution": flops / speed["convolution"] / seconds["step"],
    }
    return Figure(C4, flops / speed["sgemm"] / seconds["step"], details)


def half_precision() -> list[Figure]:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        why = "the processor has no bfloat16 instructions (avx512_bf16)"
        return [Figure(goal, None, why=why) for goal in (C5, C5_LOSS)]
    pair = {
        "bf16": functools.partial(ours, 32, "bf16"),
        "straightforward": functools.partial(theirs, 32),
    }
    times = in_turns(pair, ROUNDS)
    return [
        Figure(C5, speedup(times, "bf16", "straightforward"), {"ms": milliseconds(times)}),
        spread_of_bf16(),
    ]


def spread_of_bf16() -> Figure:
    """C5-loss: a narrow network trained for two epochs with four seeds in both precisions."""
    final: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for precision, found in final.items():
        for seed in range(4):
            run = build_run(arm(8, precision), dataset(), seed, CPU)
            step, data = run.module.step, run.module.train_data
            for epoch in range(2):
                for batch in data.shuffled(16, seed, epoch):
                    step(batch)
            with torch.no_grad():
                every = data.select(torch.arange(len(data)))
                found.append(float(step.loss(step.forward(every), every, step.photon_scale)))
    pairs = zip(final["bf16"], final["fp32"], strict=True)
    distance = abs(median(a - b for a, b in pairs))
    spread = max(final["fp32"]) - min(final["fp32"])
    return Figure(C5_LOSS, distance / spread, {"final loss": final, "spread": spread})


def measure() -> list[Figure]:
    torch.set_num_threads(1)
    return [compare(32), compare(64), floor(), *half_precision()]
