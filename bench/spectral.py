"""C1, C2: a spectral convolution, both passes, compared with neuralop and rfft2 + einsum."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.figure import Figure, Goal
from bench.plain import PlainSpectralConv2d
from bench.timing import interleaved, milliseconds, speedup
from study.generators.spectral import SpectralConv2d
from study.reading import UserError
from study.training import process

BATCH = 16
# Channels and pixels of the five spectral layers of the hybrid network, w = 32, n = 64; the last
# one is the bottleneck with half the modes.
LEVELS = ((32, 64, 12), (64, 32, 12), (128, 16, 12), (256, 8, 12), (256, 8, 6))
WIDE = ((32, 64, 12), (64, 64, 12))

C1 = Goal("C1", "spectral convolution, fwd + bwd, against neuralop's, 64 x 64", 2.3, "x", True)
C2 = Goal("C2", "the same against rfft2 + einsum, worst of five levels", 1.6, "x", True)
C2_WIDE = Goal("C2-64", "the same against rfft2 + einsum, 64 x 64", 2.5, "x", True)


def ours(channels: int, size: int, modes: int) -> SpectralConv2d:
    torch.manual_seed(0)
    return SpectralConv2d(channels, channels, modes, grid=(size, size))


def neuralop_layer(layer: SpectralConv2d) -> nn.Module:
    """neuralop's dense layer with the same modes (2m rows, m columns) and weights.

    It keeps n_modes[-1] // 2 + 1 columns, so m columns are requested as 2m - 2. Raises UserError if
    neuraloperator is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            layers = importlib.import_module("neuralop.layers.spectral_convolution")
        except ModuleNotFoundError:
            raise UserError(
                "C1 is measured against neuraloperator, which is not installed; `make bench` "
                "installs it (bench/requirements.txt)"
            ) from None

        rows, columns = len(layer.ky), len(layer.kx)
        theirs = layers.SpectralConv(
            layer.in_channels, layer.out_channels, (rows, 2 * columns - 2), bias=False
        )
    with torch.no_grad():
        # Its rows start at the most negative frequency, as ours do.
        next(theirs.parameters()).copy_(layer.complex_weight().permute(2, 3, 0, 1))
    return theirs


def forward_backward(layer: nn.Module, x: Tensor, gradient: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        y = layer(x)
        y.backward(gradient)
        return y

    return call


def candidates(channels: int, size: int, modes: int, peer: bool) -> dict[str, Callable[[], Tensor]]:
    """The layers with equal inputs and weights, checked against each other."""
    layer = ours(channels, size, modes)
    x = torch.randn(BATCH, channels, size, size).to(memory_format=torch.channels_last)
    calls = {"ours": layer, "rfft2": PlainSpectralConv2d(layer, size)}
    if peer:
        calls["neuralop"] = neuralop_layer(layer)
    gradient = torch.randn(BATCH, channels, size, size)
    made = {}
    for name, module in calls.items():
        # Each layer uses the memory format of its network.
        nhwc = name == "ours"
        layout = torch.channels_last if nhwc else torch.contiguous_format
        given = x.detach().contiguous(memory_format=layout).requires_grad_()
        made[name] = forward_backward(module, given, gradient.contiguous(memory_format=layout))
        expected = made["ours"]()
        torch.testing.assert_close(made[name](), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            given.grad, _gradient_of(layer, x, gradient), rtol=1e-4, atol=1e-4
        )
    return made


def _gradient_of(layer: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    given = x.detach().clone().requires_grad_()
    return torch.autograd.grad(layer(given), given, gradient)[0]


def measure() -> list[Figure]:
    process.settle()  # the same allocator for all, so that only the layers differ
    levels, wide = {}, {}
    for channels, size, modes in LEVELS:
        times = interleaved(candidates(channels, size, modes, peer=False), rounds=25)
        key = f"{channels} ch, {size} x {size}, {modes} modes"
        levels[key] = {"speedup": speedup(times, "ours", "rfft2"), "ms": milliseconds(times)}
    for channels, size, modes in WIDE:
        times = interleaved(candidates(channels, size, modes, peer=True), rounds=25)
        key = f"{channels} ch, {size} x {size}"
        wide[key] = {
            "against neuralop": speedup(times, "ours", "neuralop"),
            "against rfft2": speedup(times, "ours", "rfft2"),
            "ms": milliseconds(times),
        }
    return [
        Figure(C1, min(row["against neuralop"] for row in wide.values()), wide),
        Figure(C2, min(row["speedup"] for row in levels.values()), levels),
        Figure(C2_WIDE, min(row["against rfft2"] for row in wide.values()), wide),
    ]
