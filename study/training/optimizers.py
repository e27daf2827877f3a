"""Optimisers by name, fused: one kernel for all parameters, on CPU and CUDA alike.

On CUDA the learning rate lives in a tensor, so that a captured graph of the step can be told a new
one without being captured again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from study import params

# name -> builder(parameters, settings, keywords of every optimiser)
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": lambda parameters, given, **common: Adam(parameters, **common),
    "adamw": lambda parameters, given, **common: AdamW(
        parameters, weight_decay=given.weight_decay, **common
    ),
    "sgd": lambda parameters, given, **common: SGD(parameters, momentum=given.momentum, **common),
}


def build_optimizer(
    settings: params.Optimizer, parameters: Iterable[nn.Parameter], device: torch.device
) -> Optimizer:
    """The optimiser of an arm over `parameters`, which lie on `device`."""
    common: dict[str, Any] = {"lr": settings.lr, "fused": True}
    if device.type == "cuda":
        common["lr"] = torch.tensor(settings.lr, device=device)
        if settings.name != "sgd":
            common["capturable"] = True
    return OPTIMIZERS[settings.name](list(parameters), settings, **common)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def used_rate(optimizer: Optimizer) -> float:
    """The learning rate that the next step will use."""
    return float(optimizer.param_groups[0]["lr"])


def effective(optimizer: Optimizer) -> dict[str, Any]:
    """Class and hyper-parameters of the live optimiser, as plain values."""
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    plain = {k: v.item() if isinstance(v, torch.Tensor) else v for k, v in group.items()}
    return {"class": f"{type(optimizer).__module__}.{type(optimizer).__qualname__}", **plain}
