"""Several devices for one run: who takes which patterns, and what is made equal.

Every device has a process, its rank. All ranks hold the whole data set and the same weights; each
takes its piece of every batch, and the gradients are averaged by DistributedDataParallel, which
Lightning puts around the module. N ranks train the same function as one:

    batch B = B_1 + ... + B_N, pieces in the order of the batch, sizes that differ by at most one
    loss    = sum_r error(B_r) / sum_r scale(B_r)           a ratio of sums, see `losses`
    rank r    backpropagates N error(B_r) / sum_r scale(B_r)
    mean over r of these gradients = gradient of the loss of B, up to rounding

Design choices
- The batch size of an arm is that of the joint batch. The number of devices is not a setting of
  the arm: a run may stop on one device and continue on two.
- The sums that a step needs travel together, five numbers before the backward pass. So the recorded
  loss and the std of A_pred are those of the joint batch, on every rank.
- The clip and the optimiser see the averaged gradient: the same on every rank, so weights stay
  equal without being sent. A checksum of them is compared at the end of every epoch.
- Every rank validates the whole split; what steers the run is what rank 0 found.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Float64
from torch import Tensor, nn

from study.runs import environment
from study.settings import UserError
from study.training.data import Batch
from study.training.step import TrainStep

Value = TypeVar("Value")
ScalarTensor = Float[Tensor, ""]


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one run; rank 0 alone writes.

    Communication needs a process group (`ddp_workers.together`) once `size` is over 1.
    """

    rank: int = 0
    size: int = 1

    @property
    def several(self) -> bool:
        return self.size > 1

    @property
    def backend(self) -> str:
        return "nccl" if torch.cuda.is_available() else "gloo"

    @property
    def device(self) -> torch.device:
        """GPU number `rank`, or the CPU without a GPU."""
        cuda = torch.cuda.is_available()
        return torch.device("cuda", self.rank) if cuda else torch.device("cpu")

    def total(self, parts: Float64[Tensor, " k"]) -> Float64[Tensor, " k"]:
        """Sum over the ranks, the same bits on each."""
        if self.several:
            dist.all_reduce(parts)
        return parts

    def agree(self, value: Value) -> Value:
        """The value of rank 0, on every rank."""
        if not self.several:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def agree_on_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Tensors and plain values of rank 0, on the CPU of every rank."""
        packed = io.BytesIO()
        torch.save(state, packed)
        received = io.BytesIO(self.agree(packed.getvalue()))
        return torch.load(received, map_location="cpu", weights_only=True)

    def compare(self, network: nn.Module, epoch: int) -> None:
        """Raise UserError when the weights of the ranks are not equal to the bit.

        Per parameter the sum of its bit patterns is compared, its largest over the ranks with its
        smallest. NaN counts as zero: a run that diverged is judged by its loss.
        """
        if not self.several:
            return
        sums = torch.stack([bit_sum(value) for value in network.parameters()])
        extremes = torch.stack([sums, -sums])
        dist.all_reduce(extremes, dist.ReduceOp.MAX)
        same = (extremes[0] == -extremes[1]).tolist()
        names = [name for name, _ in network.named_parameters()]
        differing = [name for name, equal in zip(names, same, strict=True) if not equal]
        if differing:
            raise UserError(
                f"the {self.size} devices hold different weights after epoch {epoch} "
                f"({len(differing)} parameters, first {differing[0]}), so what they train is no "
                "run of this arm; remove its folder and train with --devices 1"
            )


ALONE = Ranks()


def bit_sum(value: Tensor) -> Tensor:
    """Sum of the float32 bit patterns as integers (int64); NaN counts as zero."""
    return value.detach().float().nan_to_num().flatten().view(torch.int32).sum()


def check_devices(devices: int, batch_size: int) -> None:
    """Raise UserError when a run cannot be spread over that many devices of this machine."""
    if devices == 1:
        return
    if torch.cuda.is_available():
        present, what = torch.cuda.device_count(), "GPUs"
    else:
        present, what = environment.cores(), "cores and no GPU"
    if not 1 <= devices <= present:
        raise UserError(
            f"--devices is {devices}, but this machine has {present} {what}; accepted: 1 to "
            f"{present}"
        )
    if devices > batch_size:
        raise UserError(
            f"--devices is {devices}, but a batch of this arm has {batch_size} patterns, so "
            f"{devices - batch_size} of them would never get one; accepted: 1 to {batch_size}"
        )


class SharedStep(TrainStep):
    """The step of one rank: its piece of the batch, the loss and the gradient of all.

    `backpropagate` is the module's `manual_backward`, through which DistributedDataParallel hears
    that gradients are to be averaged.
    """

    backpropagate: Callable[[Tensor], None]

    def __init__(self, ranks: Ranks, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.ranks = ranks

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Leave the averaged gradient in `.grad`; loss and std of A_pred of the joint batch."""
        self.optimizer.zero_grad(set_to_none=True)
        own_error, own_parts = self.parts(batch)
        error, scale, sum_, squares, count = self.ranks.total(own_parts).unbind()
        self.backpropagate(own_error * (self.ranks.size / scale).to(own_error.dtype))
        variance = (squares - sum_.square() / count) / (count - 1)
        return error / scale, variance.clamp(min=0.0).sqrt()

    def parts(self, batch: Batch) -> tuple[ScalarTensor, Float64[Tensor, " 5"]]:
        """The summed error with its graph; then error, scale, sum A, sum A^2, pixels as numbers.

        A piece without patterns adds zero to everything. Its graph reaches every parameter all the
        same, because DistributedDataParallel waits for each of them.
        """
        if len(batch.index) == 0:
            nothing = [
                (value * torch.zeros_like(value)).sum() for value in self.generator.parameters()
            ]
            return torch.stack(nothing).sum(), torch.zeros(
                5, dtype=torch.float64, device=self.probe.device
            )
        prediction = self.forward(batch)
        error, scale = self.loss.terms(prediction, batch, self.photon_scale)
        amplitude = prediction.amplitude.detach().double()
        pixels = torch.full_like(amplitude.sum(), amplitude.numel())
        numbers = (error.detach(), scale, amplitude.sum(), amplitude.square().sum(), pixels)
        return error, torch.stack([number.double() for number in numbers])
