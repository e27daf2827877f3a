"""A training step as one CUDA graph: recorded once, then started by a single call.

A step of these networks is some 340 short kernels, and starting them one by one takes several times
as long as running them. A graph holds forward, loss, backward, clip and optimiser with their
addresses; the host copies a batch to where the graph reads it and starts the whole.

Design choices
- What is recorded is `TrainStep` itself, the object that a CPU calls: there is one step.
- The steps before the recording are training steps too: they run on a stream of their own, as CUDA
  asks for (libraries choose their algorithms, the optimiser makes its state), and count.
- Shapes are fixed, so the partial last batch of an epoch takes the same step without the graph.
- The learning rate is a tensor that the graph reads, so schedules act.
- Every graph is recorded on a stream of its own. Torch keeps the workspace of matrix products by
  stream: graphs of one stream would share it, which is wrong when they run in parallel, and the
  end of one takes it from the others (pytorch/pytorch issue 193402).
- Where there is no graph, `why_eager` says why; a run notes it in its status.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from study.training.data import Batch
from study.training.ranks import ALONE, Ranks
from study.training.step import TrainStep

WARM_UP = 3
FIELDS = ("amplitude", "counts", "patch_truth", "index")


class GraphedStep:
    """Calls `step`, by a CUDA graph wherever that is possible.

    `why_eager`: None while a graph is used or will be, else the reason in words.
    """

    def __init__(self, step: TrainStep, batch_size: int, ranks: Ranks = ALONE) -> None:
        self.step = step
        self.batch_size = batch_size
        self.why_eager = reason_against(step, ranks)
        self.forget()

    def forget(self) -> None:
        """Start again: what a graph reads and writes (the optimiser's state) has been replaced."""
        self._warm = 0
        self._side: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """One training step; returns what `TrainStep` returns."""
        if self.why_eager is not None or len(batch.amplitude) != self.batch_size:
            return self.step(batch)
        if self._warm < WARM_UP:
            self._warm += 1
            return self._aside(batch)
        if self._graph is None and not self._record(batch):
            return self.step(batch)
        return self._replay(batch)

    def _aside(self, batch: Batch) -> Tensor:
        """A step on another stream than the default one, which cannot be recorded."""
        self._side = self._side or torch.cuda.Stream()
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            record = self.step(batch)
        torch.cuda.current_stream().wait_stream(self._side)
        return record

    def _record(self, batch: Batch) -> bool:
        """Record the step on a copy of `batch`; False, and the reason kept, where that fails."""
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        self._batch = _copy(batch)
        # Other threads (the heartbeat) may continue with what they do meanwhile.
        recording = torch.cuda.graph(
            graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"
        )
        try:
            with capturable(self.step.optimizer), recording:
                self._result = self.step(self._batch)
        except RuntimeError as error:
            # A recording that breaks off leaves its stream as the current one.
            torch.cuda.set_stream(before)
            torch.cuda.synchronize()
            cause = _first(error)
            if not isinstance(cause, RuntimeError):
                raise cause from None  # no failure of the recording: a stop, or a mistake of ours
            self.why_eager = f"recording the graph failed: {str(cause).splitlines()[0]}"
            return False
        self._graph = graph
        return True

    def _replay(self, batch: Batch) -> Tensor:
        assert self._graph is not None
        for name in FIELDS:
            target, source = getattr(self._batch, name), getattr(batch, name)
            if target is not None:
                target.copy_(source)
        self._graph.replay()
        return self._result.clone()


def reason_against(step: TrainStep, ranks: Ranks) -> str | None:
    """Why a step cannot be a graph; None when it can."""
    device = step.probe.device
    if ranks.several:
        return f"{ranks.size} devices average their gradients within the step"
    if device.type != "cuda":
        return f"the device is {device.type}; graphs are CUDA's"
    if step.loss.overlap_weight > 0:
        return "the overlap of a batch is looked up on the host"
    return None


def _first(error: BaseException) -> BaseException:
    """The first error: after an error within a recording, its end raises another one."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@contextlib.contextmanager
def capturable(optimizer: Optimizer) -> Iterator[None]:
    """Torch lets Adam be recorded under this flag only, and warns of it outside a recording.

    The fused kernels, whose state lies on the device, are the same with and without it.
    """
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def _copy(batch: Batch) -> Batch:
    given = {name: getattr(batch, name) for name in FIELDS}
    copies: Any = {name: None if x is None else x.clone() for name, x in given.items()}
    return Batch(**copies, known=batch.known)  # the same tensor for all batches of a split
