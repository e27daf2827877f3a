"""Measured amplitudes of one split, and the positions at which they were measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import (
    Bool,
    Float,
    Int,
    Integer,
    Num,
)
from torch import Tensor

from study.optics.counts import amplitude_from_counts


@dataclass(frozen=True)
class Scan:
    """Positions of the patterns of one split.

    `positions_px`: corner (y, x) of each window in object px. `image_index`: which of the `images`
    objects a pattern belongs to. `object_shape`: (h, w) in px. `stride_px`: step of a regular
    raster in row-major order per image, or None for any other scan. `n`: side of a pattern in px.
    """

    positions_px: Float[Tensor, "J c 2"]
    image_index: Int[Tensor, " J"]
    images: int
    object_shape: tuple[int, int]
    stride_px: int | None
    n: int

    @property
    def tiled(self) -> bool:
        """Whether the published tiling applies: a raster of single patterns without gaps."""
        groups = self.positions_px.shape[1]
        return self.stride_px is not None and groups == 1 and self.stride_px <= self.n

    def of(self, image: int) -> Bool[Tensor, " J"]:
        """Mask of the patterns of one object."""
        return self.image_index == image

    def only(self, chosen: Bool[Tensor, " J"]) -> Scan:
        """The scan of the chosen patterns only, which is no longer treated as a raster."""
        return replace(
            self,
            positions_px=self.positions_px[chosen],
            image_index=self.image_index[chosen],
            stride_px=None,
        )


@runtime_checkable
class Recorded(Protocol):
    """Interface of a stored split; counts are in photons."""

    @property
    def positions_px(self) -> Float[np.ndarray, "J c 2"]: ...

    @property
    def image_index(self) -> Integer[np.ndarray, " J"]: ...

    @property
    def object_shape(self) -> tuple[int, int]: ...

    @property
    def stride_px(self) -> int | None: ...

    @property
    def mask(self) -> Bool[np.ndarray, "n n"] | None: ...

    def all_counts(self) -> Num[np.ndarray, "J c n n"]: ...


@dataclass(frozen=True)
class Measurement:
    """Measured amplitudes X (dimensionless, sqrt(photons) / photon scale) and their scan.

    `known`: mask of the detector pixels that were measured, None for all.
    """

    amplitude: Float[Tensor, "J c n n"]
    scan: Scan
    known: Bool[Tensor, "n n"] | None = None

    @classmethod
    def of(cls, split: Recorded, photon_scale: float, device: torch.device) -> Measurement:
        """All patterns of a stored split, on `device`. `photon_scale`: scale S of the amplitude."""
        photons = torch.tensor(split.all_counts().astype(np.float32), device=device)
        scan = Scan(
            positions_px=torch.tensor(split.positions_px, device=device),
            image_index=torch.tensor(split.image_index, device=device).long(),
            images=int(split.image_index.max()) + 1,
            object_shape=split.object_shape,
            stride_px=split.stride_px,
            n=photons.shape[-1],
        )
        known = None if split.mask is None else torch.tensor(split.mask, device=device)
        return cls(amplitude_from_counts(photons, photon_scale), scan, known)

    def only(self, chosen: Bool[Tensor, " J"]) -> Measurement:
        """The chosen patterns only."""
        return Measurement(self.amplitude[chosen], self.scan.only(chosen), self.known)

    def at(self, positions_px: Float[Tensor, "J c 2"]) -> Measurement:
        """The same patterns at other positions (px), which are not treated as a raster."""
        return replace(self, scan=replace(self.scan, positions_px=positions_px, stride_px=None))

    def and_then(self, other: Measurement) -> Measurement:
        """Concatenate two scans of the same objects, this one first.

        The mask and the shape of this one are used for both.
        """
        scan = replace(
            self.scan,
            positions_px=torch.cat([self.scan.positions_px, other.scan.positions_px]),
            image_index=torch.cat([self.scan.image_index, other.scan.image_index]),
            stride_px=None,
        )
        return Measurement(torch.cat([self.amplitude, other.amplitude]), scan, self.known)

    def light(self, chosen: Tensor) -> Float[Tensor, " b"]:
        """Sum of X over the known pixels, for each of the chosen patterns (indices or mask)."""
        return self.judged(self.amplitude[chosen]).sum(dim=(1, 2, 3), dtype=torch.float64)

    def judged(self, values: Float[Tensor, "b c n n"]) -> Float[Tensor, "b c n n"]:
        """`values` of detector pixels, set to zero at pixels that were not measured."""
        return values if self.known is None else values * self.known
