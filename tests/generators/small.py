"""Every network of the table at its smallest useful size, also those added later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from study.generators import GENERATORS, build
from study.generators.base import Generator
from study.params import GeneratorParams

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
}
NAMES = sorted(GENERATORS)


def params(name: str, **changes: Any) -> GeneratorParams:
    """All options of network `name`, small, with some changed."""
    options = {field: SMALL[field] for field in GENERATORS[name].options.model_fields}
    return GeneratorParams(name=name, options={**options, **changes})


def network(name: str, n: int = 16, channels: int = 1, seed: int = 0, **changes: Any) -> Generator:
    return build(params(name, **changes), n=n, channels=channels, seed=seed)


def amplitude(b: int, channels: int, n: int, seed: int = 0) -> Tensor:
    """Measured amplitude, positive: (b, channels, n, n)."""
    return torch.rand(b, channels, n, n, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
