"""Statistics of a network on a batch: activations, gradients, dead units, spread.

Design choices
- Pure functions of arrays and networks: nothing is written here, nothing is left changed. Hooks
  live inside one call, and a network keeps its mode, its gradients and its weights.
- A quantity is described by min, max, mean and std over its finite values plus the count of the
  others, so that a record is JSON and a NaN is a number of NaNs.
- Blocks are found by what they are made of (`spectral`, `local_conv`), so a new network is watched
  without a line here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer, Real
from torch import Tensor, nn

from study.formats.dataset import Dataset
from study.optics.counts import amplitude_from_counts

Record = dict[str, Any]
Note = Callable[[str, nn.Module, Any, Tensor], None]

BRANCHES = ("spectral", "local_conv")
# A unit whose spread is below this part of its layer's input (or of its own level) passes nothing
# on: a hundred times the rounding of float32, a hundredth of the smallest branch in use (a
# LayerScale of 1e-3).
DEAD_TOLERANCE = 1e-5


def summary(values: Real[Tensor, "*shape"]) -> Record:
    """min, max, mean, std (population) of the finite values, and how many were not finite.

    The four numbers are None when there is no finite value.
    """
    flat = values.detach().double().flatten()
    finite = flat[flat.isfinite()]
    names = ("min", "max", "mean", "std")
    numbers: list[float | None] = [None] * len(names)
    if finite.numel():
        facts = (finite.min(), finite.max(), finite.mean(), finite.std(correction=0))
        numbers = torch.stack(facts).tolist()
    return {**dict(zip(names, numbers, strict=True)), "non_finite": len(flat) - len(finite)}


# --- watching a forward pass ------------------------------------------------------------------


@contextlib.contextmanager
def observing(generator: nn.Module) -> Iterator[None]:
    """The body runs without gradients and in evaluation mode; the mode is restored at its end."""
    training = generator.training
    generator.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        generator.train(training)


@contextlib.contextmanager
def watched(generator: nn.Module, modules: Mapping[str, nn.Module], note: Note) -> Iterator[None]:
    """Call `note(name, module, first input, output)` whenever one of `modules` runs in the body.

    The hooks are removed at the end of the body, whatever happens in it.
    """

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def call(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                note(name, module, given[0], output)

        return call

    with observing(generator), contextlib.ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(hook(name)).remove)
        yield


def blocks(generator: nn.Module) -> dict[str, nn.Module]:
    """The network's blocks by name: every module with a spectral and a local branch."""
    return {name: module for name, module in generator.named_modules() if is_block(module)}


def is_block(module: nn.Module) -> bool:
    """Whether a module has a spectral and a local branch."""
    return all(isinstance(getattr(module, branch, None), nn.Module) for branch in BRANCHES)


def _parts(generator: nn.Module) -> dict[str, nn.Module]:
    """Modules with an activation record: top-level modules, blocks and their two branches."""
    parts = dict(generator.named_children())
    for name, block in blocks(generator).items():
        parts[name] = block
        parts |= {f"{name}.{branch}": getattr(block, branch) for branch in BRANCHES}
    return parts


def _kind(name: str, module: nn.Module) -> str:
    last = name.rpartition(".")[2]
    named = last if last in (*BRANCHES, "lifter", "head") else "part"
    return "block" if is_block(module) else named


def activations(generator: nn.Module, amplitude: Float[Tensor, "b c n n"]) -> list[Record]:
    """One record per tensor, in the order in which the forward pass makes them.

    kind: input (the scaled amplitude X), lifter, block, spectral, local_conv, head, part (another
    top-level module), output (real and imaginary parts of the patch together), patch_abs,
    patch_angle (rad).
    """
    records = [{"layer": "input", "kind": "input", **summary(amplitude)}]

    def note(name: str, module: nn.Module, _: Any, output: Tensor) -> None:
        if not output.is_complex():
            records.append({"layer": name, "kind": _kind(name, module), **summary(output)})

    with watched(generator, _parts(generator), note):
        patch = generator(amplitude)  # (b, c, n, n) complex
    ends = {
        "output": torch.view_as_real(patch),
        "patch_abs": patch.abs(),
        "patch_angle": patch.angle(),
    }
    return records + [{"layer": "output", "kind": k, **summary(v)} for k, v in ends.items()]


# --- dead units and spread --------------------------------------------------------------------


def dead_units(generator: nn.Module, amplitude: Float[Tensor, "b c n n"]) -> dict[str, float]:
    """Share of dead units by layer, from one forward pass.

    A unit is one channel of a layer's output (b, channels, h, w); a complex channel is two, real
    and imaginary part. It is dead when its activation is constant over the batch and the pixels:
    std over (b, h, w) <= `DEAD_TOLERANCE` times the larger of the unit's own |mean| and the root
    mean square of the layer's input. Layers are the modules without children, and the blocks, where
    the activation is what the block adds to its input (output - input): a block that is the
    identity is dead. A layer that runs more than once counts with its worst call. Layers with a
    single value per unit (one pattern on a 1 x 1 grid) say nothing and are left out; a unit with a
    NaN is not called dead.
    """
    found: dict[str, list[Tensor]] = {}

    def note(name: str, module: nn.Module, given: Any, output: Tensor) -> None:
        units = output - given if is_block(module) else real_units(output)
        if units.ndim == 4 and units[:, 0].numel() > 1:
            found.setdefault(name, []).append(dead_share(units, given))

    with watched(generator, _leaves(generator) | blocks(generator), note):
        generator(amplitude)
    # One copy to the host for all layers: on a GPU every single one would wait for the device.
    worst = [torch.stack(calls).amax() for calls in found.values()]
    return dict(zip(found, torch.stack(worst).tolist(), strict=True)) if worst else {}


def _leaves(generator: nn.Module) -> dict[str, nn.Module]:
    named = generator.named_modules()
    return {name: module for name, module in named if name and not list(module.children())}


def real_units(output: Tensor) -> Tensor:
    """The channels of an output; a complex channel becomes two."""
    return torch.cat([output.real, output.imag], dim=1) if output.is_complex() else output


def dead_share(activation: Float[Tensor, "b k h w"], given: Tensor) -> Float[Tensor, ""]:
    """Share of the k units that are constant, `given` being what the layer takes; see above."""
    units = activation.float().transpose(0, 1).flatten(1)  # (k, b * h * w)
    scale = given.abs().float().square().mean().sqrt()
    level = units.mean(dim=1).abs()
    dead = units.std(dim=1, correction=0) <= DEAD_TOLERANCE * torch.maximum(level, scale)
    return dead.float().mean()


def pattern_spread(amplitude: Float[Tensor, "b c n n"]) -> float:
    """How much the patterns of a batch differ in shape, relative to their size: 0 to 1.

    sqrt(mean_j ||u_j - mean(u)||^2) with u_j = A_j / ||A_j||, over all b * c patterns. It is 0 when
    all patterns are equal up to a factor, which is what any network predicts whose patch is flat or
    does not depend on its input. The std over pixels would not do: a constant patch still shows the
    far field of the probe, and that is as varied as the measurement.
    """
    patterns = amplitude.detach().flatten(0, 1).flatten(1).double()  # (b * c, n * n)
    norm = torch.linalg.vector_norm(patterns, dim=1, keepdim=True)
    shapes = patterns / norm.clamp(min=torch.finfo(norm.dtype).tiny)  # a dark pattern stays dark
    return float((shapes - shapes.mean(dim=0)).square().sum(dim=1).mean().sqrt())


# --- weights and gradients --------------------------------------------------------------------


def norm_stats(generator: nn.Module) -> dict[str, dict[str, Record]]:
    """mean, std and largest |.| of every block's norm weight and layerscale, by block.

    {block: {"norm_weight": {...}, "layerscale": {...}}}; a block without one of them lacks its key,
    a block without both is left out.
    """
    found: dict[str, dict[str, Record]] = {}
    for name, block in blocks(generator).items():
        weights = {
            "norm_weight": getattr(getattr(block, "norm", None), "weight", None),
            "layerscale": getattr(block, "layerscale", None),
        }
        facts = {key: _gain(w) for key, w in weights.items() if isinstance(w, Tensor)}
        if facts:
            found[name] = facts
    return found


def _gain(weight: Tensor) -> Record:
    facts = summary(weight)
    largest = None if facts["max"] is None else max(abs(facts["min"]), abs(facts["max"]))
    return {"mean": facts["mean"], "std": facts["std"], "largest": largest}


def loss_gradients(generator: nn.Module, loss: Float[Tensor, ""]) -> dict[str, Tensor | None]:
    """d loss / d parameter by name, with `.grad` left as it is; None where the loss has no path."""
    named = dict(generator.named_parameters())
    values = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return dict(zip(named, values, strict=True))


def gradients(
    generator: nn.Module, values: Mapping[str, Tensor | None] | None = None
) -> list[Record]:
    """One record a parameter (kind parameter), then one a block (kind block).

    `values`: gradients by parameter name, `.grad` of every parameter when None. norm is the
    Euclidean norm; a parameter without a gradient has null everywhere. A block's record holds the
    norms of its two branches and `local_over_spectral`, their ratio (None when the spectral branch
    has no gradient or a zero one).
    """
    if values is None:
        values = {name: parameter.grad for name, parameter in generator.named_parameters()}
    records = [{"layer": k, "kind": "parameter", **_gradient(v)} for k, v in values.items()]
    norms = {record["layer"]: record["norm"] for record in records}
    return records + [_branch_record(name, norms) for name in blocks(generator)]


def gradient_ratio(generator: nn.Module) -> float | None:
    """`local_over_spectral` of `.grad`, the median over the blocks; None where no block has it.

    A block whose ratio is not finite counts as one without.
    """
    pairs = [_branch_gradients(block) for block in blocks(generator).values()]
    known = [pair for pair in pairs if pair is not None]
    if not known:
        return None
    spectral, local = torch.stack(known).unbind(dim=1)
    ratios = (local / spectral).cpu().numpy()  # one copy to the host for all blocks
    finite = ratios[np.isfinite(ratios)]
    return float(np.median(finite)) if len(finite) else None


def _branch_gradients(block: nn.Module) -> Float[Tensor, 2] | None:
    """Norms of the gradients of the spectral and of the local branch; None where one has none."""
    norms = []
    for branch in BRANCHES:
        values = [p.grad for p in getattr(block, branch).parameters() if p.grad is not None]
        if not values:
            return None
        norms.append(
            torch.linalg.vector_norm(torch.stack([gradient_norm(value) for value in values]))
        )
    return torch.stack(norms)


def gradient_norm(value: Tensor) -> Float64[Tensor, ""]:
    """Euclidean norm of one gradient; in float64, so that it is 0 only where every element is."""
    parts = torch.view_as_real(value) if value.is_complex() else value
    return torch.linalg.vector_norm(parts.detach(), dtype=torch.float64)


def _gradient(value: Tensor | None) -> Record:
    if value is None:
        return {**summary(torch.empty(0)), "norm": None}
    parts = torch.view_as_real(value) if value.is_complex() else value
    norm = float(torch.linalg.vector_norm(parts.detach().double()))
    return {**summary(parts), "norm": norm if np.isfinite(norm) else None}


def _branch_record(block: str, norms: Mapping[str, float | None]) -> Record:
    spectral, local = (_branch_norm(f"{block}.{branch}.", norms) for branch in BRANCHES)
    ratio = local / spectral if local is not None and spectral else None
    return {
        "layer": block,
        "kind": "block",
        "spectral_norm": spectral,
        "local_norm": local,
        "local_over_spectral": ratio,
    }


def _branch_norm(prefix: str, norms: Mapping[str, float | None]) -> float | None:
    squares = [v**2 for name, v in norms.items() if name.startswith(prefix) and v is not None]
    return sum(squares) ** 0.5 if squares else None


# --- what goes in, and what comes out of one patch --------------------------------------------


def loader_stats(
    dataset: Dataset, first: Mapping[str, Integer[np.ndarray, " b"]], validation_batches: int | None
) -> list[Record]:
    """Content of the loaders, one record per quantity.

    `first`: pattern indices of the first batch, by split. `validation_batches`: length of the
    validation loader, None where there is none. Amplitudes are the input X of the
    network (dimensionless), positions in object px; scaling constants have std 0.
    """
    records = [
        {"split": split, "quantity": quantity, "patterns": len(index), **summary(values)}
        for split, index in first.items()
        for quantity, values in _first_batch(dataset, split, index).items()
    ]
    probe = torch.tensor(dataset.probe)
    parts = {"probe_real": probe.real, "probe_imag": probe.imag, "probe_abs": probe.abs()}
    records += [{"split": None, "quantity": k, **summary(v)} for k, v in parts.items()]
    loader = {"exists": validation_batches is not None, "batches": validation_batches}
    return [*records, {"split": "validation", "quantity": "loader", **loader}]


def _first_batch(dataset: Dataset, split: str, index: np.ndarray) -> dict[str, Tensor]:
    scan, manifest = dataset.splits[split], dataset.manifest
    counts = torch.from_numpy(scan.counts[index].astype(np.float32))
    positions = torch.from_numpy(scan.positions_px[index])  # (b, c, 2)
    return {
        "amplitude": amplitude_from_counts(counts, manifest.photon_scale),
        "position_y_px": positions[..., 0],
        "position_x_px": positions[..., 1],
        "photon_scale": torch.tensor(manifest.photon_scale),
        "object_norm": torch.tensor(manifest.object_norm[split]),
        "probe_norm": torch.tensor(manifest.probe_norm),
    }
