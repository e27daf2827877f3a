"""One step of an arm with its gradients scaled up, as plain numbers: what a clip rule really does.

At tiny size gradients seldom reach a limit. Scaled by a thousand they do, so a change in a rule, a
limit or the excluded parameters moves these numbers.
"""

from __future__ import annotations

import torch

from study.formats.dataset import Dataset
from study.settings import Arm
from study.training.setup import build_run


def scaled_step(arm: Arm, dataset: Dataset, seed: int, factor: float) -> dict[str, list[float]]:
    """The first step of a run on the CPU, every gradient times `factor` before the clip.

    `clip`: gradient norm before and after, clipped share. `gradients`, `changes`: per parameter,
    the norm of the clipped gradient and of what the optimiser then changed.
    """
    module = build_run(arm, dataset, seed, torch.device("cpu")).module
    step = module.step
    parameters = list(module.generator.parameters())
    before = [value.detach().clone() for value in parameters]
    step.backward(next(iter(module.train_dataloader()))[0])
    for value in parameters:
        if value.grad is not None:
            value.grad.mul_(factor)
    clipped = step.clip()
    step.optimizer.step()
    facts = (clipped.norm_before, clipped.norm_after, clipped.fraction)
    gradients = [torch.zeros(()) if v.grad is None else v.grad.norm() for v in parameters]
    changes = [(now.detach() - old).norm() for now, old in zip(parameters, before, strict=True)]
    return {
        "clip": [float(value) for value in facts],
        "gradients": [float(value) for value in gradients],
        "changes": [float(value) for value in changes],
    }
