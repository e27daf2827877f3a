"""How many runs train in parallel on this machine, and which GPU each of them sees.

On a CPU a run takes a core. A GPU takes several runs of such small networks at once, as many as its
memory holds: each is a process of its own, so none can harm another. The estimate of a run's memory
is that of `study.generators.size`, with room for the libraries.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from study.runs import environment
from study.settings import UserError

CONTEXT_BYTES = 1_000_000_000  # what CUDA and its libraries take for a process
MARGIN = 1.5  # the estimate may be 16 % low, and a captured graph keeps its memory for itself
MOST_PER_GPU = 8  # beyond, processes only wait for each other


def slots(run_bytes: int, devices: int, asked: int | None) -> list[int | None]:
    """One entry for every run that may train at once: its GPU, or None.

    `run_bytes`: training memory of one run; `devices`: GPUs (or cores) that each run takes;
    `asked`: the user's own number. Raises UserError when that is below 1, above the cores of the
    machine, or more than one where every run takes several GPUs.
    """
    if asked is not None and not 1 <= asked <= environment.cores():
        raise UserError(
            f"--jobs is {asked}; accepted: 1 to {environment.cores()}, the cores of this machine"
        )
    free = free_gpu_bytes()
    if not free:
        return [None] * (asked or max(1, environment.cores() // devices))
    if devices > 1:  # such a run takes its GPUs by their ranks, the first ones each time
        if asked not in (None, 1):
            raise UserError(
                f"--jobs is {asked} with --devices {devices}: runs that spread over several GPUs "
                "go one after another; leave --jobs out"
            )
        return [None]
    held = per_gpu(free, run_bytes, environment.cores())
    rounds = range(max(held) if asked is None else asked)
    turns = [gpu for turn in rounds for gpu in range(len(free)) if asked or turn < held[gpu]]
    return [*turns[:asked]]


def per_gpu(free: Sequence[int], run_bytes: int, cores: int) -> list[int]:
    """How many runs each GPU takes: by its free memory, the cores there are to feed it, a limit."""
    need = CONTEXT_BYTES + int(MARGIN * run_bytes)
    most = min(MOST_PER_GPU, max(1, cores // len(free)))
    return [max(1, min(most, bytes_ // need)) for bytes_ in free]


def free_gpu_bytes() -> list[int]:
    """Free memory of every GPU that this process sees; empty without one."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count())]


def see_only(gpu: int | None) -> None:
    """Let this process, which has not used CUDA yet, see one GPU of those that it was given."""
    if gpu is None:
        return
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(gpu + 1)]
    os.environ["CUDA_VISIBLE_DEVICES"] = names[gpu]
