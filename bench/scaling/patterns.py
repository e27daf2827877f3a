"""Cost against the number of patterns: simulation, and one epoch of training."""

from __future__ import annotations

import time
from statistics import median

import torch

from bench import simulate, step
from bench.scaling.curve import Curve
from study.formats.dataset import Dataset
from study.training import process
from study.training.data import TrainData

# (object size in px, images per split): 31 to 174 scan positions per side.
OBJECTS = ((184, 1), (280, 1), (392, 1), (756, 1), (756, 3))
EPOCH_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
STEPS, WIDTH = 60, 8


def simulate_curve() -> Curve:
    sizes, seconds = [], []
    for object_px, images in OBJECTS:
        params = simulate.full(images).model_copy(update={"object_px": object_px})
        span, strides = object_px - params.n, params.scan.stride_px.model_dump()
        patterns = {split: images * (span // step + 1) ** 2 for split, step in strides.items()}
        sizes.append(sum(patterns.values()))
        seconds.append(simulate.simulated(params, patterns).cpu_s)
    return Curve("simulate", "patterns", tuple(sizes), tuple(seconds))


class Repeated(TrainData):
    """`size` training patterns in memory: copies of a small data set."""

    def __init__(self, dataset: Dataset, size: int) -> None:
        super().__init__(dataset, "train", torch.device("cpu"))
        assert self.whole is not None, "the few patterns are held in memory"
        turns = -(-size // len(self.whole.index))
        self.whole = self.whole.map(lambda x: x.repeat(turns, *(1,) * (x.ndim - 1))[:size])

    def __len__(self) -> int:
        whole = getattr(self, "whole", None)  # called once before it is set
        return super().__len__() if whole is None else len(whole.index)


def epoch_curve() -> Curve:
    process.settle()
    subject, few = step.our_step(WIDTH), step.batches()
    for _ in range(5):
        subject(next(few))
    seconds = tuple(_epoch(subject, size) for size in EPOCH_SIZES)
    return Curve("epoch", "patterns", EPOCH_SIZES, seconds)


def _epoch(subject: step.TrainStep, size: int) -> float:
    """CPU seconds of an epoch of `size` patterns, extrapolated from its first steps."""
    data = Repeated(step.dataset(), size)
    start = time.thread_time()
    epoch = data.shuffled(step.arm(WIDTH).batch_size, 0, 0)
    order, batches, found = time.thread_time() - start, iter(epoch), []
    for _ in range(STEPS):
        start = time.thread_time()
        subject(next(batches))
        found.append(time.thread_time() - start)
    return order + median(found) * len(epoch)
