"""Precision of the network's products: asked for by the arm, set here, read back from what acts.

    fp32    float32 throughout
    tf32    on CUDA, products of float32 rounded to 10 bits of mantissa (compute capability 8.0 up)
    bf16    the network under autocast: products in bfloat16, weights and result float32

Physics and loss are float32 (float64 where they say so) in all three: the forward model has no
matrix product, and autocast ends at the network's head. What is scored is computed in float32 from
the stored weights.

fp32 is set as firmly as the others: torch lets cuDNN round convolutions to tf32 unless this is
switched off. Products are set by torch's older switch, which sets the newer one as well: the other
way round the two differ, and whoever reads the older one, as Lightning does, gets a RuntimeError.
"""

from __future__ import annotations

from typing import Any

import torch

from study.generators import Generator
from study.settings import Precision, UserError

IEEE, TF32 = "ieee", "tf32"


def check_precision(precision: Precision) -> None:
    """Raises UserError where this machine has no such arithmetic."""
    if precision != "tf32" or has_tf32():
        return
    raise UserError(
        "precision tf32 needs a CUDA device of compute capability 8.0 or higher, and there is none "
        "here; accepted on this machine: fp32, bf16"
    )


def has_tf32() -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def use(precision: Precision, generator: Generator, device: torch.device) -> None:
    """Let `generator` compute so. On CUDA the choice between fp32 and tf32 is the process's."""
    generator.precision = precision
    if device.type == "cuda":
        tf32 = precision == "tf32"
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        _convolutions().fp32_precision = TF32 if tf32 else IEEE


def effective(generator: Generator, device: torch.device) -> Precision:
    """The precision in effect, read from the network and the process, not from the arm."""
    if generator.precision == "bf16":
        return "bf16"
    products: Any = torch.backends.cuda.matmul
    tf32 = products.fp32_precision == _convolutions().fp32_precision == TF32
    return "tf32" if device.type == "cuda" and tf32 else "fp32"


def _convolutions() -> Any:
    """The switch of cuDNN's convolutions."""
    return getattr(torch.backends.cudnn, "conv")  # noqa: B009 - unlisted
