"""A split of a data set as tensors on the device, and the batches of one epoch.

Design choices
- The whole split lies on the device: a batch is one `index_select`, there are no loader workers.
- The order of an epoch depends on (order seed, epoch) alone, so a resumed run needs no generator
  state to see the same batches.
- The last batch of an epoch may be a partial one; it is kept.
- Counts and true patches take memory, so they are there only for the losses that need them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Complex64, Float32, Int64
from torch import Tensor

from study.formats.dataset import Dataset, Split
from study.optics import extract
from study.optics.counts import amplitude_from_counts, to_network_units
from study.params import UserError

COUNTS, PATCH_TRUTH = "counts", "patch_truth"


@dataclass(frozen=True)
class Batch:
    """What a step sees: the amplitude X (dimensionless), and what only some losses need.

    `counts` in photons, `patch_truth` in network units, `index` the patterns' place in the split.
    """

    amplitude: Float32[Tensor, "b c n n"]
    counts: Float32[Tensor, "b c n n"] | None
    patch_truth: Complex64[Tensor, "b c n n"] | None
    index: Int64[Tensor, " b"]


def true_patches(split: Split, n: int, object_norm: float) -> Complex64[Tensor, "J c n n"]:
    """Y exp(i phi) of every pattern, in network units, on the CPU.

    Raises UserError for a measurement, whose object nobody knows.
    """
    if split.obj is None:
        raise UserError(
            "the data set is a measurement without a true object; a supervised loss needs the true "
            "patches: choose the loss mae or poisson, or a simulated data set"
        )
    positions_px = torch.tensor(split.positions_px)  # (J, c, 2)
    patches = torch.empty(*positions_px.shape[:2], n, n, dtype=torch.complex64)
    for image, obj in enumerate(split.obj):
        chosen = torch.tensor(split.image_index == image)
        windows = extract(torch.tensor(obj), positions_px[chosen].flatten(0, 1), n)
        patches[chosen] = to_network_units(windows, object_norm).unflatten(
            0, (-1, positions_px.shape[1])
        )
    return patches


class TrainData:
    """One split on the device. `needs`: which of `COUNTS`, `PATCH_TRUTH` the loss reads.

    Raises UserError when the true patches are needed and there are none.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        device: torch.device,
        needs: frozenset[str] = frozenset(),
    ) -> None:
        scan, manifest = dataset.splits[split], dataset.manifest
        counts = torch.from_numpy(scan.counts.astype(np.float32))
        self.amplitude = amplitude_from_counts(counts, manifest.photon_scale).to(device)
        self.counts = counts.to(device) if COUNTS in needs else None
        self.patch_truth = None
        if PATCH_TRUTH in needs:
            norm = manifest.object_norm[split]
            self.patch_truth = true_patches(scan, manifest.n, norm).to(device)

    def __len__(self) -> int:
        return len(self.amplitude)

    def select(self, index: Int64[Tensor, " b"]) -> Batch:
        """The patterns at `index` (on the device), as a batch."""

        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.index_select(0, index)

        return Batch(
            amplitude=self.amplitude.index_select(0, index),
            counts=pick(self.counts),
            patch_truth=pick(self.patch_truth),
            index=index,
        )

    def in_order(self, batch_size: int) -> Batches:
        """Every pattern once, as stored."""
        return Batches(self, torch.arange(len(self)), batch_size)

    def shuffled(self, batch_size: int, order_seed: int, epoch: int) -> Batches:
        """Every pattern once, in the order that belongs to (order_seed, epoch)."""
        return Batches(self, epoch_order(len(self), order_seed, epoch), batch_size)


class Batches:
    """The batches of one epoch; `after(k)` leaves out the first k, for a run that resumes."""

    def __init__(self, data: TrainData, order: Int64[Tensor, " J"], batch_size: int) -> None:
        self._data = data
        self._chunks = [*order.to(data.amplitude.device).split(batch_size)]

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Batch]:
        return (self._data.select(chunk) for chunk in self._chunks)

    def in_groups(self, size: int) -> Groups:
        """The same batches, `size` at a time."""
        return Groups(self, size)

    def after(self, done: int) -> Batches:
        rest = Batches.__new__(Batches)
        rest._data, rest._chunks = self._data, self._chunks[done:]
        return rest

    def share(self, rank: int, of: int) -> Batches:
        """Piece `rank` of every batch. Pieces differ by one pattern at most and may be empty."""
        share = self.after(0)
        share._chunks = [chunk.tensor_split(of)[rank] for chunk in self._chunks]
        return share


class Groups:
    """Lists of up to `size` batches: what one call of a training loop works through."""

    def __init__(self, batches: Batches, size: int) -> None:
        self._batches, self._size = batches, size

    def __len__(self) -> int:
        return -(-len(self._batches) // self._size)

    def __iter__(self) -> Iterator[list[Batch]]:
        batches = iter(self._batches)
        while group := list(islice(batches, self._size)):
            yield group


def epoch_order(count: int, order_seed: int, epoch: int) -> Int64[Tensor, " count"]:
    """One permutation of 0..count-1 per (seed, epoch), the same on every machine."""
    return torch.from_numpy(np.random.default_rng([order_seed, epoch]).permutation(count))
