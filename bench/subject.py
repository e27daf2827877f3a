"""The arm and simulated data set trained by the GPU benchmarks, as picklable values.

The arm is the control of full/params.yaml, the published protocol. The object is made smaller so
that all batches are complete: the step of a partial batch does not use the graph; G3 includes such
steps, but figures of a single step must not.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.formats.dataset import Dataset
from study.settings import Arm, DataParams, GeneratorParams, Precision, load_study
from study.simulate import simulate
from study.training.data import Batch
from study.training.setup import Run, build_run

ROOT = Path(__file__).parent.parent
WHOLE_PX = 316  # 64 x 64 training positions: 256 batches of 16
CALM_RATE = 1e-4  # at 1e-3 the first steps are chaotic: rounding errors grow a thousandfold
# Largest accepted relative difference between the records of two computations of a few steps at
# that rate: a different order of summation changes the last of 24, 11 or 8 bits.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "tf32": 1e-3, "bf16": 2e-2}


@dataclass(frozen=True)
class Subject:
    """An arm and its training data set."""

    data: DataParams
    arm: Arm

    def but(self, **sections: Any) -> Subject:
        """The same subject with some sections of the arm replaced."""
        return replace(self, arm=self.arm.model_copy(update=sections))

    def calm(self) -> Subject:
        """The same subject with a learning rate low enough for rounding errors to remain small."""
        return self.but(optimizer=self.arm.optimizer.model_copy(update={"lr": CALM_RATE}))

    def check(self, difference: float, what: str) -> float:
        """Return `difference`; raises AssertionError if it exceeds rounding."""
        limit = TOLERANCE[self.arm.precision]
        assert difference < limit, f"{what} in {self.arm.precision}: {difference:.2e} >= {limit}"
        return difference

    def dataset(self) -> Dataset:
        return _simulated(self.data)  # pyright: ignore[reportArgumentType] - frozen, so hashable

    def run(self, seed: int, device: torch.device) -> Run:
        return build_run(self.arm, self.dataset(), seed, device)


@functools.cache
def _simulated(params: DataParams) -> Dataset:
    return simulate("bench", params)


def full(object_px: int = WHOLE_PX, width: int = 32) -> Subject:
    """The control of the full-scale study with one image per split."""
    study = load_study(ROOT / "full" / "params.yaml")
    control = study.arms["control"]
    assert isinstance(control, Arm)
    options = {**control.generator.options, "width": width}
    data = study.data["full"].model_copy(update={"object_px": object_px, "images_per_split": 1})
    generator = GeneratorParams(name=control.generator.name, options=options)
    return Subject(data, control.model_copy(update={"generator": generator}))


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest relative difference; 0 where both are zero."""
    error = (found - expected).abs() / expected.abs().clamp(min=1e-12)
    return float(error.max())


def whole_batches(run: Run, epoch: int = 0) -> list[Batch]:
    """The complete batches of one epoch of a run."""
    module, size = run.module, run.arm.batch_size
    batches = module.train_data.shuffled(size, module.order_seed, epoch)
    return [batch for batch in batches if len(batch.amplitude) == size]


def endless(run: Run) -> Iterator[Batch]:
    """The complete batches of the first epoch, repeated endlessly."""
    return itertools.cycle(whole_batches(run))
