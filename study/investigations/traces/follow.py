"""One run followed step by step: what every part of the network shows while it is trained.

The run is that of `fit`: the same network, batches, rates, clip and optimiser, through `TrainStep`
itself. Hooks (`hooks`) look on during the training batch's own forward and backward pass and change
nothing, so that traced and untraced weights are equal to the bit.

Always on the CPU, whose sums have a fixed order; a CUDA graph cannot hold hooks.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool, Complex64, Float32
from torch import Tensor, nn

from study.formats.dataset import Dataset
from study.investigations.traces.hooks import PART, Watch, owner, parts
from study.optics import diffract
from study.settings import Arm, UserError
from study.training import check
from study.training.checkpoints import State
from study.training.data import Batch
from study.training.floors import best_constant
from study.training.optimizers import set_rate, used_rate
from study.training.reconstructor import Reconstructor
from study.training.setup import build_run
from study.training.step import RECORD
from study.training.validation import evaluate

# What a traced step records of the whole network.
STEP = (
    "loss",
    "mae",
    "constant",
    "gradient_norm",
    "gradient_norm_clipped",
    "learning_rate",
    "zero_tensors",
)
# The parts are looked at in each of the first steps, where runs die, then in some.
EVERY, THEN_EVERY = 64, 4
Trace = dict[str, Any]


class Errors:
    """Relative mean absolute errors of a step's batch, whatever loss is trained on.

    Over the `known` pixels, None for all. `mae`: of the step's own prediction; `constant`: of the
    constant object with pattern `flat`.
    """

    def __init__(
        self,
        probe: Complex64[Tensor, "*m n n"],
        flat: Float32[Tensor, "n n"],
        known: Bool[Tensor, "n n"] | None = None,
    ) -> None:
        self.probe = probe
        self.flat = flat
        self.known = 1.0 if known is None else known.float()
        self.mae = self.constant = math.nan

    def __call__(self, _: nn.Module, given: tuple[Tensor, ...], patch: Tensor) -> None:
        with torch.no_grad():
            amplitude, known = given[0], self.known
            scale = (known * amplitude).sum()
            error = (diffract(self.probe, patch) - amplitude).abs()
            self.mae = float((known * error).sum() / scale)
            self.constant = float((known * (self.flat - amplitude).abs()).sum() / scale)


# --- the run ----------------------------------------------------------------------------------


def trace_run(arm: Arm, dataset: Dataset, seed: int, steps: int) -> Trace:
    """The first `steps` steps of `arm` with `seed`: columns of `STEP`, one number per step, and of
    `PART` by part, one number for each of `shown_steps`.

    `constant` is the error, on the same batch as `mae`, of the constant object that fits the train
    split best; `mae` and `loss` are equal where the arm trains on the former only. Raises
    UserError for settings that cannot work and for more steps than the arm has.
    """
    check(arm, dataset.manifest.n, dataset.manifest.group_size)
    check_steps(arm, dataset, steps)
    module = build_run(arm, dataset, seed, torch.device("cpu")).module
    return {"seed": seed, **_follow(module, steps, shown_steps(steps))}


def replay(arm: Arm, dataset: Dataset, seed: int, state: State, steps: int) -> Trace:
    """The `steps` steps that follow a kept checkpoint, every part looked at in each of them.

    Repeats the steps of the run to the bit. Beside the columns of `trace_run`: `patterns`, the
    size of the batch, and by part what Adam knew and did: `moment`, the root of the mean of its
    second moments (bias corrected) before the step, and `update`, the root mean square change of
    the weights in units of the learning rate. Steps are counted from 1 at the checkpoint, whose
    epoch is `after_epoch`. Raises UserError for a checkpoint of other settings, and when the arm
    does not train so many steps more.
    """
    check(arm, dataset.manifest.n, dataset.manifest.group_size)
    run = build_run(arm, dataset, seed, torch.device("cpu"))
    if state["identity"] != run.identity:
        raise UserError("the checkpoint belongs to a run with other settings, seed or data")
    run.module.load_state_dict_of_run(state["run"])
    after = run.module.epoch
    check_steps(arm, dataset, after * len(run.module.batches()) + steps)
    every = list(range(1, steps + 1))
    traced = _follow(run.module, steps, every, Moments(run.module))
    return {"seed": seed, "after_epoch": after, **traced}


class Moments:
    """Adam's state of every part before a step, and the size of the step."""

    def __init__(self, module: Reconstructor) -> None:
        self.module = module
        self.named = dict(module.generator.named_parameters())
        self.owners = {name: owner(name, [*parts(module.generator)]) for name in self.named}

    def before(self) -> None:
        """Keep the weights, and the second moments as they are."""
        optimizer = self.module.step.optimizer
        (group,) = optimizer.param_groups
        self.rate, (_, beta) = group["lr"], group["betas"]
        self.weights = {name: value.detach().clone() for name, value in self.named.items()}
        self.moments = {}
        for name, value in self.named.items():
            state = optimizer.state.get(value, {})
            share = 1 - beta ** float(state.get("step", 0))
            if share:
                self.moments[name] = float(state["exp_avg_sq"].mean()) / share

    def facts(self) -> dict[str, dict[str, float]]:
        """`moment` and `update` by part, after the step."""
        found: dict[str, dict[str, float]] = {}
        for part in dict.fromkeys(self.owners.values()):
            names = [name for name, owned in self.owners.items() if owned == part]
            sizes = [self.named[name].numel() for name in names]
            moved = [
                float((self.named[name].detach() - self.weights[name]).square().sum())
                for name in names
            ]
            known = sum(self.moments.get(n, 0.0) * k for n, k in zip(names, sizes, strict=True))
            found[part] = {
                "moment": math.sqrt(known / sum(sizes)),
                "update": math.sqrt(sum(moved) / sum(sizes)) / float(self.rate),
            }
        return found


def _follow(
    module: Reconstructor, steps: int, shown: Sequence[int], moments: Moments | None = None
) -> Trace:
    """Train `module` for `steps` steps and record them."""
    watch, probe = Watch(module.generator), module.step.probe
    errors = Errors(probe, best_constant(module.train_data, probe), module.train_data.known)
    columns: dict[str, list[float]] = {name: [] for name in STEP}
    by_part: dict[str, dict[str, list[float]]] = {p: {n: [] for n in watch.parts} for p in PART}
    if moments is not None:
        columns["patterns"] = []
        by_part |= {key: {n: [] for n in watch.parts} for key in ("moment", "update")}
    at_parts = set(shown)
    for step, batch in enumerate(islice(batches(module), steps), start=1):
        if moments is not None:
            moments.before()
            columns["patterns"].append(len(batch.amplitude))
        for name, number in one_step(module, watch, errors, batch, step in at_parts).items():
            columns[name].append(number)
        if step not in at_parts:
            continue
        known = {} if moments is None else moments.facts()
        for name, numbers in watch.facts().items():
            for key, value in {**numbers, **known.get(name, {})}.items():
                by_part[key][name].append(value)
    return {
        "steps": steps,
        "steps_per_epoch": len(module.batches()),
        "tensors": watch.tensors,
        "parts": [*watch.parts],
        "columns": columns,
        "shown_steps": list(shown),
        "by_part": by_part,
    }


def check_steps(arm: Arm, dataset: Dataset, steps: int) -> None:
    """Raise UserError for more steps than the arm trains."""
    an_epoch = -(-len(dataset.splits["train"].counts) // arm.batch_size)
    if steps > an_epoch * arm.epochs:
        raise UserError(
            f"{steps} steps are more than the {arm.epochs} epochs of {an_epoch} steps that the arm "
            f"trains; choose {an_epoch * arm.epochs} or fewer"
        )


def shown_steps(steps: int) -> list[int]:
    """The steps, counted from 1, at which the parts are looked at."""
    return [k for k in range(1, steps + 1) if k <= EVERY or k % THEN_EVERY == 0 or k == steps]


def one_step(
    module: Reconstructor, watch: Watch, errors: Errors, batch: Batch, at_parts: bool
) -> dict[str, float]:
    """Take one training step; the numbers of `STEP`. `watch` then holds those of the parts."""
    watch.clear()
    with watch.looking(at_parts), _hooked(module.generator, errors):
        record = module.step(batch)
    recorded = dict(zip(RECORD, record.tolist(), strict=True))
    return {
        **{name: recorded[name] for name in STEP if name in recorded},
        "mae": errors.mae,
        "constant": errors.constant,
        "learning_rate": used_rate(module.step.optimizer),
        "zero_tensors": watch.zero_tensors(),
    }


def batches(module: Reconstructor) -> Iterator[Batch]:
    """The batches of all epochs, each epoch at its own rate; a step follows every one of them."""
    while module.epoch < module.arm.epochs:
        set_rate(module.step.optimizer, module.schedule.rate(module.epoch))
        yield from module.batches()
        module.epoch += 1
        module.schedule.observe(_validation_loss(module))


def _validation_loss(module: Reconstructor) -> float:
    step = module.step
    data, scale = module.validation_data, step.photon_scale
    return evaluate(module.generator, step.probe, scale, data, step.loss)["val_loss"]


@contextlib.contextmanager
def _hooked(module: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
