"""Every network of the table at its smallest useful size, also those added later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from study.generators import GENERATORS, build
from study.generators.base import Generator
from study.settings import GeneratorParams

SMALL: dict[str, Any] = {
    "width": 4,
    "fno_blocks": 3,
    "modes": 4,
    "mode_set": "classic",
    "spectral_init": "variance",
    "max_hidden_channels": 8,
    "input_transform": "none",
    "inputs": "amplitude",
    "decoder_norm": "none",
    "output_mode": "real_imag",
    "start": "zero",
    "layerscale_init": 1e-3,
    "iterations": 2,
    "steps": 2,
    "final_steps": 1,
    "modulus": "likelihood",
    "alpha": 0.1,
    "smoothing_px": 0.0,
    "refinement": "own",
    "layers": 3,
    "kernel": 3,
    "coarsening": 1,
    "synchronise": True,
}
NAMES = sorted(GENERATORS)


def params(name: str, channels: int = 1, **changes: Any) -> GeneratorParams:
    """All options of network `name`, small and for groups of `channels`, with some changed."""
    small = {**SMALL, "patterns": channels}
    options = {field: small[field] for field in GENERATORS[name].options.model_fields}
    return GeneratorParams(name=name, options={**options, **changes})


def network(name: str, n: int = 16, channels: int = 1, seed: int = 0, **changes: Any) -> Generator:
    """The network, with a probe where it computes with one."""
    net = build(params(name, channels, **changes), n=n, channels=channels, seed=seed)
    if net.wants_probe:
        net.learn_probe(probe(n), photon_scale=5.0)
    return net


def probe(n: int) -> Tensor:
    """A complex spot in the middle of n x n px."""
    steps = torch.arange(n) - n / 2
    square = steps[:, None] ** 2 + steps**2
    return torch.polar(torch.exp(-square / (n / 2)), 2 * square / n)


def amplitude(b: int, channels: int, n: int, seed: int = 0) -> Tensor:
    """Measured amplitude, positive: (b, channels, n, n)."""
    return torch.rand(b, channels, n, n, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
