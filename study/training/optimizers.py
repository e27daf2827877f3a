"""Optimisers by name, fused: one kernel for all parameters, on CPU and CUDA alike.

On CUDA the learning rate is a tensor, so it can change without capturing the step's graph again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from study import settings

# name -> builder(parameters, settings, keywords of every optimiser)
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": lambda parameters, given, **common: Adam(parameters, **common),
    "adamw": lambda parameters, given, **common: AdamW(
        parameters, weight_decay=given.weight_decay, **common
    ),
    "sgd": lambda parameters, given, **common: SGD(parameters, momentum=given.momentum, **common),
}


def build_optimizer(
    params: settings.Optimizer, parameters: Iterable[nn.Parameter], device: torch.device
) -> Optimizer:
    """The optimiser of an arm over `parameters`, which lie on `device`."""
    common: dict[str, Any] = {"lr": params.lr, "fused": True}
    if device.type == "cuda":
        common["lr"] = torch.tensor(params.lr, device=device)
    return OPTIMIZERS[params.name](list(parameters), params, **common)


# Entries of a parameter group that belong to this machine: rate, kernel choice, graph capture.
MACHINE_KEYS = ("lr", "fused", "capturable")


def set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def used_rate(optimizer: Optimizer) -> float:
    """The learning rate that the next step will use."""
    return _plain(optimizer.param_groups[0]["lr"])


def _plain(value: Any) -> Any:
    """A float32 scalar tensor as the shortest decimal that rounds to it (0.001 remains 0.001)."""
    return float(str(np.float32(value.item()))) if isinstance(value, torch.Tensor) else value


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Continue from a stored state, but keep this optimiser's kernels and rate tensor.

    A captured graph reads the rate from that tensor.
    """
    own = [
        {key: group[key] for key in MACHINE_KEYS if key in group}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, before in zip(optimizer.param_groups, own, strict=True):
        rate = _plain(group["lr"])
        group.update(before)
        set_rate(optimizer, rate)
        for parameter in group["params"]:
            known = optimizer.state[parameter]
            if "step" in known:
                known["step"] = known["step"].to(parameter.device)


def effective(optimizer: Optimizer) -> dict[str, Any]:
    """Class and hyper-parameters of the live optimiser, as plain values."""
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    plain = {key: _plain(value) for key, value in group.items()}
    return {"class": f"{type(optimizer).__module__}.{type(optimizer).__qualname__}", **plain}
