"""A split of a data set as batches on the device, in the order of each epoch.

Design choices
- A split in memory lies on the device as one large batch: a batch is one `index_select`, there are
  no loader workers.
- A split left on disk is read batch by batch, a few batches ahead in the background. The same lines
  make a batch of it and the large one, on the CPU, so the two are equal to the bit.
- The order of an epoch depends on (order seed, epoch) only, so a resumed run needs no generator
  state to see the same batches.
- The last batch of an epoch may be a partial one; it is kept.
- Counts and true patches take memory, so they are there only for the losses that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float, Float32, Int64
from torch import Tensor

from study.formats.dataset import Dataset, Split
from study.optics import extract
from study.optics.counts import amplitude_from_counts, to_network_units
from study.settings import BatchOrder, UserError
from study.training.prefetch import prefetch

COUNTS, PATCH_TRUTH, CORNERS = "counts", "patch_truth", "corners"
AHEAD = 4  # batches read before they are used

Places = slice | Int64[np.ndarray, " b"]


@dataclass(frozen=True)
class Batch:
    """Inputs of a step: the amplitude X (dimensionless), and quantities that only some losses need.

    `counts` in photons, `patch_truth` in network units, `index` the patterns' place in the split.
    `corners`: top-left corners in px on the `canvas` (h, w), all objects of the split one below the
    other. `known`: measured pixels of the detector, the same for all patterns; None for all.
    """

    amplitude: Float32[Tensor, "b c n n"]
    counts: Float32[Tensor, "b c n n"] | None
    patch_truth: Complex64[Tensor, "b c n n"] | None
    index: Int64[Tensor, " b"]
    corners: Float32[Tensor, "b c 2"] | None = None
    canvas: tuple[int, int] | None = None
    known: Bool[Tensor, "n n"] | None = None

    def judged(self, values: Float[Tensor, "b c n n"]) -> Float[Tensor, "b c n n"]:
        """`values` of detector pixels, zero at those that are not known."""
        return values if self.known is None else values * self.known

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same change to every tensor of patterns that is there."""
        return Batch(
            amplitude=change(self.amplitude),
            counts=None if self.counts is None else change(self.counts),
            patch_truth=None if self.patch_truth is None else change(self.patch_truth),
            index=change(self.index),
            corners=None if self.corners is None else change(self.corners),
            canvas=self.canvas,
            known=self.known,
        )


class TruePatches:
    """Y exp(i phi) of the patterns of a split, in network units, on the CPU, cut out on demand.

    Raises UserError for measured data, whose object is unknown.
    """

    def __init__(self, split: Split, n: int, object_norm: float) -> None:
        if split.obj is None:
            raise UserError(
                "the data set is a measurement without a true object; a supervised loss needs the "
                "true patches: choose the loss mae or poisson, or a simulated data set"
            )
        self._objects = torch.tensor(split.obj)  # (I, H, W)
        self._split, self._n, self._norm = split, n, object_norm

    def __getitem__(self, places: Places) -> Complex64[Tensor, "b c n n"]:
        positions_px = torch.tensor(self._split.positions_px[places])  # (b, c, 2)
        images = torch.tensor(self._split.image_index[places])
        patches = torch.empty(*positions_px.shape[:2], self._n, self._n, dtype=torch.complex64)
        for image in images.unique():
            chosen = images == image
            corners = positions_px[chosen].flatten(0, 1)
            windows = to_network_units(extract(self._objects[image], corners, self._n), self._norm)
            patches[chosen] = windows.unflatten(0, (-1, positions_px.shape[1]))
        return patches


def corners_of(split: Split) -> Float32[Tensor, "J c 2"]:
    """positions_px on one canvas that holds all objects of the split, one below the other."""
    below = torch.tensor(split.image_index).float() * split.object_shape[0]
    return torch.tensor(split.positions_px) + torch.stack([below, 0 * below], dim=1)[:, None]


def canvas_of(split: Split) -> tuple[int, int]:
    height, width = split.object_shape
    return (int(split.image_index.max()) + 1) * height, width


class TrainData:
    """One split, ready for a device. `needs`: which of `COUNTS`, `PATCH_TRUTH`, `CORNERS` the loss
    reads.

    `whole`: all patterns as one batch on the device; None for a split that was left on disk.
    `known`: its measured pixels, on the device; None for all.
    Raises UserError when the true patches are needed and there are none.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        device: torch.device,
        needs: frozenset[str] = frozenset(),
    ) -> None:
        self._split, manifest = dataset.splits[split], dataset.manifest
        self._photon_scale = manifest.photon_scale
        self._keeps_counts = COUNTS in needs
        self._corners = corners_of(self._split) if CORNERS in needs else None
        self._truth = None
        if PATCH_TRUTH in needs:
            self._truth = TruePatches(self._split, manifest.n, manifest.object_norm[split])
        mask = self._split.mask
        self.known = None if mask is None else torch.tensor(mask, device=device)
        self._device = device
        in_memory = isinstance(self._split.counts, np.ndarray)
        self.whole = self._on_device(self._cut(slice(None))) if in_memory else None

    def __len__(self) -> int:
        return len(self._split.counts)

    @property
    def held(self) -> Literal["memory", "disk"]:
        """Where the batches come from."""
        return "disk" if self.whole is None else "memory"

    def select(self, index: Int64[Tensor, " b"]) -> Batch:
        """The patterns at `index`, as a batch on the device.

        Raises UserError when the file of a split on disk cannot be read.
        """
        if self.whole is None:
            return self._on_device(self._cut(index.cpu().numpy()))
        place = index.to(self._device)
        return self.whole.map(lambda values: values.index_select(0, place))

    def each(self, chunks: Sequence[Tensor]) -> Iterator[Batch]:
        """`select` of every chunk in order; from disk a few chunks ahead, by other threads."""
        if self.whole is not None:
            return (self.select(chunk) for chunk in chunks)
        return (self._on_device(batch) for batch in prefetch(self._prepared, chunks, AHEAD))

    def in_order(self, batch_size: int) -> Batches:
        """Every pattern once, as stored."""
        return Batches(self, torch.arange(len(self)), batch_size)

    def shuffled(
        self, batch_size: int, order_seed: int, epoch: int, kind: BatchOrder = "shuffled"
    ) -> Batches:
        """Every pattern once, in the order that belongs to (order_seed, epoch)."""
        if kind == "shuffled":
            return Batches(self, epoch_order(len(self), order_seed, epoch), batch_size)
        corners = corners_of(self._split).numpy()[:, 0]
        order = neighbour_order(corners, batch_size, order_seed, epoch)
        return Batches(self, order, batch_size)

    def place(self, order: Int64[Tensor, " J"]) -> Int64[Tensor, " J"]:
        """Indices where `select` takes them without a copy."""
        return order if self.whole is None else order.to(self._device)

    def _cut(self, places: Places) -> Batch:
        """A batch on the CPU."""
        counts = torch.from_numpy(self._split.counts[places].astype(np.float32))
        if isinstance(places, slice):
            places = np.arange(*places.indices(len(self)))
        return Batch(
            amplitude=amplitude_from_counts(counts, self._photon_scale),
            counts=counts if self._keeps_counts else None,
            patch_truth=None if self._truth is None else self._truth[places],
            index=torch.from_numpy(places),
            corners=None if self._corners is None else self._corners[places],
            canvas=None if self._corners is None else canvas_of(self._split),
            known=self.known,
        )

    def _prepared(self, chunk: Int64[Tensor, " b"]) -> Batch:
        """A batch on the CPU, for CUDA in pinned memory, which is copied while a step runs."""
        batch = self._cut(chunk.numpy())
        return batch.map(Tensor.pin_memory) if self._device.type == "cuda" else batch

    def _on_device(self, batch: Batch) -> Batch:
        return batch.map(lambda values: values.to(self._device, non_blocking=True))


class Batches:
    """The batches of one epoch; `after(k)` leaves out the first k, for a run that resumes."""

    def __init__(self, data: TrainData, order: Int64[Tensor, " J"], batch_size: int) -> None:
        self._data = data
        self._chunks = [*data.place(order).split(batch_size)]

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Batch]:
        return self._data.each(self._chunks)

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


def neighbour_order(
    corners: Float32[np.ndarray, "J 2"], batch_size: int, order_seed: int, epoch: int
) -> Int64[Tensor, " J"]:
    """One permutation per (seed, epoch) in which about `batch_size` neighbours follow one another.

    The scan, closed to a torus and shifted at random, is cut into cells of `batch_size` patterns in
    the mean; cells and the patterns within them come in random order. On a square raster whose
    side is a multiple of sqrt(batch_size) every batch is one cell; elsewhere cells hold more or
    less, so a batch may begin in one cell and end in another.
    """
    rng = np.random.default_rng([order_seed, epoch])
    span = corners.max(axis=0) - corners.min(axis=0)
    step = np.sqrt(np.prod(np.maximum(span, 1.0)) / len(corners))
    extent = span + np.maximum(step, _spacing(corners))
    cells = np.maximum(1, np.round(extent / (step * np.sqrt(batch_size)))).astype(int)
    shift = rng.random(2)
    place = ((corners - corners.min(axis=0)) / extent + shift) % 1.0
    row, column = (np.minimum(place * cells, cells - 1)).astype(int).T
    cell = rng.permutation(int(cells.prod()))[row * cells[1] + column]
    return torch.from_numpy(np.lexsort((rng.random(len(corners)), cell)))


def _spacing(corners: Float32[np.ndarray, "J 2"]) -> Float[np.ndarray, " 2"]:
    """Step between neighbouring rows and columns of a raster; of any scan, the mean over them."""
    sides = (np.unique(corners[:, axis]) for axis in (0, 1))
    return np.array([np.ptp(side) / max(1, len(side) - 1) for side in sides])
