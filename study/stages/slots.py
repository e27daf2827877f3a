"""How many runs train in parallel on this machine, and which GPU each of them uses.

On a CPU each run uses one core. A GPU runs several of these small networks at once, as many as fit
in its memory, each in a separate process. The memory of a run is estimated by
`study.generators.size`, with an allowance for the libraries.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from study.runs import environment
from study.settings import UserError

CONTEXT_BYTES = 1_000_000_000  # memory of CUDA and its libraries per process
MARGIN = 1.5  # the estimate may be 16 % too low, and a captured graph keeps its own memory
MOST_PER_GPU = 8  # more processes only wait for each other


def slots(run_bytes: int, devices: int, asked: int | None) -> list[int | None]:
    """One entry per run that may train at the same time: its GPU, or None.

    `run_bytes`: training memory of one run; `devices`: GPUs (or cores) per run; `asked`: the number
    of parallel runs requested by the user. Raises UserError if this is below 1, above the number of
    cores, or more than one although each run uses several GPUs.
    """
    if asked is not None and not 1 <= asked <= environment.cores():
        raise UserError(
            f"--jobs is {asked}; accepted: 1 to {environment.cores()}, the cores of this machine"
        )
    free = free_gpu_bytes()
    if not free:
        return [None] * (asked or max(1, environment.cores() // devices))
    if devices > 1:  # such a run always uses the first GPUs, one per rank
        if asked not in (None, 1):
            raise UserError(
                f"--jobs is {asked} with --devices {devices}: runs on several GPUs train one after "
                "another; omit --jobs"
            )
        return [None]
    held = per_gpu(free, run_bytes, environment.cores())
    rounds = range(max(held) if asked is None else asked)
    turns = [gpu for turn in rounds for gpu in range(len(free)) if asked or turn < held[gpu]]
    return [*turns[:asked]]


def per_gpu(free: Sequence[int], run_bytes: int, cores: int) -> list[int]:
    """Runs per GPU, limited by its free memory, the cores per GPU, and MOST_PER_GPU; at least 1."""
    need = CONTEXT_BYTES + int(MARGIN * run_bytes)
    most = min(MOST_PER_GPU, max(1, cores // len(free)))
    return [max(1, min(most, bytes_ // need)) for bytes_ in free]


def free_gpu_bytes() -> list[int]:
    """Free memory of each GPU visible to this process; empty without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count())]


def see_only(gpu: int | None) -> None:
    """Restrict this process to one of its visible GPUs; must be called before CUDA is used."""
    if gpu is None:
        return
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(gpu + 1)]
    os.environ["CUDA_VISIBLE_DEVICES"] = names[gpu]
