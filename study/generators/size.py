"""How large a network is, before anything is allocated.

The network is built on torch's meta device, which knows shapes and has no memory, and one pattern
is sent through it. Counted are
- the stored real numbers of its weights;
- the tensors that autograd keeps for the backward pass, each storage once, weights left out: this
  part grows with the batch;
- the largest of these tensors, for the temporaries that the backward pass holds at once.

Training memory = 4 x weights (weight, gradient and Adam's two moments)
                + batch x (kept for backward + 3 x the largest kept tensor).
Not in it: data, the loss (its FFTs are of pattern size), the work space of convolution libraries
and what the process takes by itself; SGD with momentum needs one moment less. The growth of peak
resident memory measured on a CPU (n = 64, default widths, batch 16 and 64) is 1 to 16 % below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from study.generators.base import Generator, Options, count

WEIGHT_COPIES = 4
TEMPORARIES = 3


@dataclass(frozen=True)
class Size:
    """Size of a network at one n and group size; bytes are of float32."""

    parameters: int  # stored real numbers, a complex weight is two
    weight_bytes: int
    kept_bytes: int  # for the backward pass, per pattern
    largest_bytes: int  # of a single kept tensor, per pattern
    channels_per_level: tuple[int, ...]

    def training_bytes(self, batch_size: int) -> int:
        """Estimated memory of a training step with Adam; see the module docstring."""
        activations = self.kept_bytes + TEMPORARIES * self.largest_bytes
        return WEIGHT_COPIES * self.weight_bytes + batch_size * activations


def measure(cls: type[Generator], options: Options, n: int, channels: int) -> Size:
    """Size of the network that these options give. Raises UserError for an impossible geometry."""
    cls.check_geometry(options, n)
    with torch.device("meta"):
        network = cls.from_options(options, n=n, channels=channels)
        amplitude = torch.empty(1, channels, n, n)
    # Stands for the known probe, which no shape depends on.
    network.back_project = lambda given: given.to(torch.complex64)
    if network.wants_probe:
        network.learn_probe(torch.empty(n, n, dtype=torch.complex64, device="meta"), None)
    kept = kept_for_backward(network, amplitude)
    return Size(
        parameters=count(network.parameters()),
        weight_bytes=sum(p.nbytes for p in network.parameters()),
        kept_bytes=sum(kept),
        largest_bytes=max(kept),
        channels_per_level=tuple(network.channels_per_level()),
    )


def kept_for_backward(network: Generator, amplitude: Tensor) -> list[int]:
    """Bytes of every storage that a forward pass keeps for the backward pass, weights left out."""
    weights = {_storage(p) for p in network.parameters()}
    kept: dict[StorageWeakRef, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # a node that keeps its own output as it is would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(amplitude)
    del output  # alive until here, so that no storage is freed and counted as another
    return list(kept.values())


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())
