"""P1, P2: one rPIE pass over 500 patterns of 128 x 128, by itself and compared with pty-chi.

pty-chi (PyPI `ptychi`) is not a dependency of the project. If it is installed, both programs
reconstruct the same counts from the same initial object with the same sequential update and a known
probe. The comparison is valid only if both reach the same R to within 10 %.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.figure import Figure, Goal
from bench.timing import interleaved, milliseconds, speedup
from study.iterative.rpie import RpieOptions, flat_object, rpie
from study.optics import diffract, extract
from study.settings import RpieUpdate

SIDE, STEP_PX, ALPHA, ROUNDS = 128, 16.0, 0.1, 3

PASS = Goal("P1", "rPIE, one pass over 500 patterns of 128 x 128", 1.0, "CPU s", False)
PEER = Goal("P2", "rPIE, the same pass against pty-chi, one pattern an update", 2.0, "x", True)


def scan(*, whole_px: bool = False) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
    """Counts (J, n, n), probe (n, n) in sqrt(photons), positions (J, 2) in px, and object shape.

    `whole_px`: round the positions to integer pixels.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.cartesian_prod(torch.arange(25.0), torch.arange(20.0)) * STEP_PX
    positions_px = rows + torch.rand(rows.shape, generator=generator)
    positions_px = positions_px.round() if whole_px else positions_px
    shape = (int(24 * STEP_PX) + SIDE + 2, int(19 * STEP_PX) + SIDE + 2)
    y = torch.arange(SIDE) - SIDE / 2
    r2 = y[:, None] ** 2 + y**2
    probe = 100 * torch.exp(-r2 / 800) * torch.exp(0.003j * r2)
    size = 1 + 0.2 * torch.rand(shape, generator=generator)
    obj = torch.polar(size, torch.rand(shape, generator=generator))
    probe = probe.to(torch.complex64)
    return diffract(probe, extract(obj, positions_px, SIDE)).square(), probe, positions_px, shape


def ours(update: RpieUpdate, *, whole_px: bool = False) -> Callable[[], float]:
    """A call that runs one pass and returns the mean R during the pass."""
    counts, probe, positions_px, shape = scan(whole_px=whole_px)

    def call() -> float:
        given = {"passes": 1, "alpha": ALPHA, "update_probe": False, "seed": 0}
        return rpie(
            counts, probe, positions_px, shape, RpieOptions(update=update, **given)
        ).r_factor[0]

    return call


def fit(obj: Tensor) -> float:
    """R of an object (h, w) over all patterns of the scan."""
    counts, probe, positions_px, _ = scan(whole_px=True)
    measured = counts.sqrt()
    wrong = (diffract(probe, extract(obj, positions_px, SIDE)) - measured).abs().sum()
    return float(wrong / measured.sum())


def peer() -> Any:
    """A pty-chi task for the same scan, ready to run passes."""
    # Optional package: `importlib` hides it from the type checker.
    api = importlib.import_module("ptychi.api")
    Task = importlib.import_module("ptychi.api.task").PtychographyTask
    # The two programs interpolate subpixel windows differently.
    counts, probe, positions_px, shape = scan(whole_px=True)
    options = api.RPIEOptions()
    options.data_options.data = counts.numpy()
    start = flat_object(counts.sqrt(), probe, shape)
    options.object_options.initial_guess = start[None].numpy()
    options.object_options.alpha = ALPHA
    options.object_options.optimizer = api.Optimizers.SGD
    options.object_options.step_size = 1.0
    # The transform of pty-chi is not unitary, and by default it rescales probe and object.
    options.probe_options.initial_guess = probe[None, None].numpy() / SIDE
    options.object_options.remove_object_probe_ambiguity.enabled = False
    options.probe_options.optimizable = False
    centre = positions_px.numpy() + SIDE / 2 - np.array(shape) / 2
    options.probe_position_options.position_y_px = centre[:, 0]
    options.probe_position_options.position_x_px = centre[:, 1]
    options.reconstructor_options.batch_size = 1
    options.reconstructor_options.num_epochs = 1
    options.reconstructor_options.default_device = api.Devices.CPU
    return Task(options)


def measure() -> list[Figure]:
    torch.set_num_threads(1)
    alone = interleaved({"batches": ours("batches")}, ROUNDS, warm=1)
    times = milliseconds(alone)
    figures = [Figure(PASS, times["batches"] / 1e3, {"ms": times})]
    if importlib.util.find_spec("ptychi") is None:
        return [*figures, Figure(PEER, None, why="pty-chi is not installed")]
    counts, probe, positions_px, shape = scan(whole_px=True)
    task = peer()
    task.run(1)
    theirs = torch.as_tensor(task.get_data_to_cpu("object", as_numpy=True))[0].to(torch.complex64)
    given = {"passes": 1, "alpha": ALPHA, "update_probe": False, "seed": 0}
    made = rpie(counts, probe, positions_px, shape, RpieOptions(update="sequential", **given))
    ends = {"ours": fit(made.obj), "pty-chi": fit(theirs)}
    # The tolerance allows for the different order of the patterns.
    assert abs(ends["ours"] / ends["pty-chi"] - 1) < 0.1, f"R after one pass: {ends}"
    both = {"ours": ours("sequential", whole_px=True), "pty-chi": lambda: task.run(1)}
    taken = interleaved(both, ROUNDS, warm=1)
    details = {"ms": milliseconds(taken), "R after one pass": ends}
    return [*figures, Figure(PEER, speedup(taken, "ours", "pty-chi"), details)]
