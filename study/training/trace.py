"""One run followed step by step: what every part of the network shows while it is trained.

The run is that of `fit`: the same network, batches, rates, clip and optimiser, through `TrainStep`
itself. Hooks look on during the training batch's own forward and backward pass and change nothing,
so that traced and untraced weights are equal to the bit.

Parts of a network, in the order of its modules; what is looked at in each
    block (encoder.k, bottleneck)   Spectral(x) + Conv3x3(x), which its GELU takes
    decoder.k.merge                 the output of the convolution that merges the skip
    decoder.k.norm                  the normalised merge, where there is a norm
    lifter, and any Sequential with activations: what these take
    anything else (down.k, decoder.k, head): its output

Dead units, as in `diagnostics`: of what a part passes on, that is behind the GELU, the norm and
the scale of a block (what it adds to its input) and behind the GELU of a merge.

Always on the CPU, whose sums have a fixed order; a CUDA graph cannot hold hooks.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from jaxtyping import Complex64, Float, Float32
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from study.formats.dataset import Dataset
from study.optics import diffract
from study.params import Arm, UserError
from study.training import check
from study.training.data import Batch
from study.training.diagnostics import BRANCHES, dead_share, gradient_norm, is_block, real_units
from study.training.floors import best_constant
from study.training.optimizers import set_rate, used_rate
from study.training.reconstructor import Reconstructor
from study.training.setup import build_run
from study.training.step import RECORD
from study.training.validation import evaluate

# What a traced step records of the whole network, and of every part.
STEP = (
    "loss",
    "mae",
    "constant",
    "gradient_norm",
    "gradient_norm_clipped",
    "learning_rate",
    "zero_tensors",
)
PART = ("rms", "largest", "dead", "gradient")
ACTIVATIONS = (nn.GELU, nn.ReLU)
# The parts are looked at in each of the first steps, where runs die, then in some.
EVERY, THEN_EVERY = 64, 4
Trace = dict[str, Any]


# --- the parts of a network -------------------------------------------------------------------


def parts(generator: nn.Module) -> dict[str, nn.Module]:
    """The watched parts by name, in the order of the module's docstring."""
    found: dict[str, nn.Module] = {}
    for name, child in generator.named_children():
        several = isinstance(child, nn.ModuleList) or any(map(is_block, child.children()))
        inner = child.named_children() if several else [("", child)]
        for key, module in inner:
            found |= _with_merge(f"{name}.{key}".rstrip("."), module)
    return found


def _with_merge(name: str, module: nn.Module) -> dict[str, nn.Module]:
    """A module; before it the merge of a decoder level, and its norm."""
    inner = (getattr(module, key, None) for key in ("merge", "norm"))
    if is_block(module) or not hasattr(module, "merge"):
        return {name: module}
    named = zip((f"{name}.merge", f"{name}.norm"), inner, strict=True)
    return {**{key: part for key, part in named if part is not None}, name: module}


def owner(parameter: str, names: Sequence[str]) -> str:
    """The part that a parameter belongs to: the longest name that it starts with."""
    return max((name for name in names if f"{parameter}.".startswith(f"{name}.")), key=len)


# --- looking on -------------------------------------------------------------------------------


class Watch:
    """What the parts of a network showed since `clear`, from hooks that only read."""

    def __init__(self, generator: nn.Module) -> None:
        self.generator = generator
        self.parts = parts(generator)
        self.owners = {name: owner(name, [*self.parts]) for name, _ in generator.named_parameters()}
        self.clear()

    def clear(self) -> None:
        """Forget the last step."""
        self._rms: dict[str, list[Tensor]] = {name: [] for name in self.parts}
        self._largest: dict[str, list[Tensor]] = {name: [] for name in self.parts}
        self._dead: dict[str, list[Tensor]] = {name: [] for name in self.parts}
        self._gradients: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}

    @contextlib.contextmanager
    def looking(self, at_parts: bool) -> Iterator[None]:
        """The hooks are there in the body; they are removed at its end, whatever happens in it.

        Without `at_parts` only the gradients are looked at, which is what every step records.
        """
        with contextlib.ExitStack() as hooks:
            for handle in self._hooks(at_parts):
                hooks.callback(handle.remove)
            yield

    # -- which hooks

    def _hooks(self, at_parts: bool) -> Iterator[RemovableHandle]:
        for name, module in self.parts.items() if at_parts else ():
            yield from self._hooks_of(name, module)
        for name, parameter in self.generator.named_parameters():
            yield parameter.register_post_accumulate_grad_hook(partial(self._graded, name))

    def _hooks_of(self, name: str, module: nn.Module) -> Iterator[RemovableHandle]:
        if is_block(module):
            for branch in BRANCHES:
                yield _after(getattr(module, branch), partial(self._branch, name))
            yield _after(module, partial(self._added, name))
        elif inner := [part for part in module.modules() if isinstance(part, ACTIVATIONS)]:
            for activation in inner:
                yield _after(activation, partial(self._activated, name))
        elif name.endswith((".merge", ".norm")):
            yield _after(module, partial(self._merged, name.rpartition(".")[0], name))
        else:
            refine = getattr(module, "refine", None)
            if refine is not None:
                yield _after(refine, partial(self._refined, name))
            yield _after(module, partial(self._put_out, name))

    # -- what they do: (part, what the module took, what it gave)

    def _branch(self, name: str, _: Tensor, output: Tensor) -> None:
        """The second branch completes the sum; the block adds in place only later."""
        other = self._before.pop(name, None)
        if other is None:
            self._before[name] = output
        else:
            self._note(name, other + output)

    def _added(self, name: str, given: Tensor, output: Tensor) -> None:
        self._dead[name].append(dead_share(output - given, given))

    def _activated(self, name: str, given: Tensor, output: Tensor) -> None:
        self._note(name, given)
        self._dead[name].append(dead_share(output, given))

    def _merged(self, level: str, name: str, given: Tensor, output: Tensor) -> None:
        self._note(name, output)
        self._dead[name] = [dead_share(output, given)]
        self._before[level] = output

    def _refined(self, level: str, given: Tensor, output: Tensor) -> None:
        """The last of merge and norm passes on what the refining convolution takes."""
        before = self._before.pop(level)
        last = f"{level}.norm" if f"{level}.norm" in self.parts else f"{level}.merge"
        self._dead[last] = [dead_share(given, before)]

    def _put_out(self, name: str, given: Any, output: Tensor) -> None:
        units = real_units(output)
        self._note(name, units)
        self._dead[name].append(dead_share(units, given if isinstance(given, Tensor) else units))

    def _note(self, name: str, values: Float[Tensor, "b k h w"]) -> None:
        norm = torch.linalg.vector_norm(values, dtype=torch.float64)
        low, high = values.aminmax()  # a fifth of the time that a maximum norm takes
        self._rms[name].append(norm / math.sqrt(values.numel()))
        self._largest[name].append(torch.maximum(-low, high))

    def _graded(self, name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None, "called when the gradient is there"
        with torch.no_grad():
            self._gradients[name] = gradient_norm(parameter.grad)

    # -- what was seen

    @property
    def tensors(self) -> int:
        return len(self.owners)

    def zero_tensors(self) -> int:
        """Parameters whose gradient is exactly zero, or that got none."""
        return self.tensors - sum(float(norm) != 0 for norm in self._gradients.values())

    def facts(self) -> dict[str, dict[str, float]]:
        """`PART` of every part; the largest where it was looked at in several places."""
        squares = dict.fromkeys(self.parts, 0.0)
        for parameter, norm in self._gradients.items():
            squares[self.owners[parameter]] += float(norm) ** 2
        return {
            name: {
                "rms": _largest_of(self._rms[name]),
                "largest": _largest_of(self._largest[name]),
                "dead": _largest_of(self._dead[name]),
                "gradient": math.sqrt(squares[name]),
            }
            for name in self.parts
        }


def _after(module: nn.Module, note: Callable[[Any, Tensor], None]) -> RemovableHandle:
    """Call `note(first input, output)` when `module` has run, without a gradient."""

    def hook(_: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        with torch.no_grad():
            note(given[0], output)

    return module.register_forward_hook(hook)


def _largest_of(values: Sequence[Tensor]) -> float:
    return float(torch.stack([value.double() for value in values]).amax())


class Errors:
    """Relative mean absolute errors of a step's batch, whatever loss is trained on.

    `mae`: of the step's own prediction; `constant`: of the constant object with pattern `flat`.
    """

    def __init__(self, probe: Complex64[Tensor, "n n"], flat: Float32[Tensor, "n n"]) -> None:
        self.probe = probe
        self.flat = flat
        self.mae = self.constant = math.nan

    def __call__(self, _: nn.Module, given: tuple[Tensor, ...], patch: Tensor) -> None:
        with torch.no_grad():
            amplitude, scale = given[0], given[0].sum()
            self.mae = float((diffract(self.probe, patch) - amplitude).abs().sum() / scale)
            self.constant = float((self.flat - amplitude).abs().sum() / scale)


# --- the run ----------------------------------------------------------------------------------


def trace_run(arm: Arm, dataset: Dataset, seed: int, steps: int) -> Trace:
    """The first `steps` steps of `arm` with `seed`: columns of `STEP`, one number a step, and of
    `PART` by part, one number for each of `shown_steps`.

    `constant` is the error, on the same batch as `mae`, of the constant object that fits the train
    split best; `mae` and `loss` are equal where the arm trains on the former alone. Raises
    UserError for settings that cannot work and for more steps than the arm has.
    """
    check(arm, dataset.manifest.n, dataset.manifest.group_size)
    check_steps(arm, dataset, steps)
    module = build_run(arm, dataset, seed, torch.device("cpu")).module
    watch, probe = Watch(module.generator), module.step.probe
    errors = Errors(probe, best_constant(module.train_data, probe))
    columns: dict[str, list[float]] = {name: [] for name in STEP}
    by_part: dict[str, dict[str, list[float]]] = {p: {n: [] for n in watch.parts} for p in PART}
    shown = shown_steps(steps)
    for step, batch in enumerate(islice(batches(module), steps), start=1):
        for name, number in one_step(module, watch, errors, batch, step in shown).items():
            columns[name].append(number)
        for name, numbers in watch.facts().items() if step in shown else ():
            for key, value in numbers.items():
                by_part[key][name].append(value)
    return {
        "seed": seed,
        "steps": steps,
        "steps_per_epoch": len(module.batches()),
        "tensors": watch.tensors,
        "parts": [*watch.parts],
        "columns": columns,
        "shown_steps": shown,
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
