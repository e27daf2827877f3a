"""Statistics of every part of a network during training, from read-only hooks.

Parts of a network, in the order of its modules; what is looked at in each
    block (encoder.k, bottleneck)   Spectral(x) + Conv3x3(x), which its GELU takes
    decoder.k.merge                 the output of the convolution that merges the skip
    decoder.k.norm                  the normalised merge, where there is a norm
    lifter, and any Sequential with activations: what these take
    anything else (down.k, decoder.k, head): its output

Dead units, as in `diagnostics`: of what a part passes on, that is behind the GELU, the norm and
the scale of a block (what it adds to its input) and behind the GELU of a merge.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from study.training.diagnostics import BRANCHES, dead_share, gradient_norm, is_block, real_units

# What a traced step records of every part.
PART = ("rms", "largest", "dead", "gradient")
ACTIVATIONS = (nn.GELU, nn.ReLU)


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
    """Statistics of the parts of a network since `clear`, from read-only hooks."""

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
