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

    `stride_px`: step of a regular raster, rows x columns in row-major order per image, else None.
    `image_index`: which of the `images` objects a pattern belongs to.
    """

    positions_px: Float[Tensor, "J c 2"]
    image_index: Int[Tensor, " J"]
    images: int
    object_shape: tuple[int, int]
    stride_px: int | None
    n: int

    @property
    def tiled(self) -> bool:
        """Whether the published tiling applies."""
        groups = self.positions_px.shape[1]
        return self.stride_px is not None and groups == 1 and self.stride_px <= self.n

    def of(self, image: int) -> Bool[Tensor, " J"]:
        return self.image_index == image

    def only(self, chosen: Bool[Tensor, " J"]) -> Scan:
        """The chosen patterns; a part of a raster is no raster."""
        return replace(
            self,
            positions_px=self.positions_px[chosen],
            image_index=self.image_index[chosen],
            stride_px=None,
        )


@runtime_checkable
class Recorded(Protocol):
    """Data of one split; counts in photons."""

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
    """Measured amplitudes (dimensionless, X) and where they were measured.

    `known`: pixels of the detector that were measured, None for all.
    """

    amplitude: Float[Tensor, "J c n n"]
    scan: Scan
    known: Bool[Tensor, "n n"] | None = None

    @classmethod
    def of(cls, split: Recorded, photon_scale: float, device: torch.device) -> Measurement:
        """A split of a data set, whole, on `device`."""
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
        return Measurement(self.amplitude[chosen], self.scan.only(chosen), self.known)

    def at(self, positions_px: Float[Tensor, "J c 2"]) -> Measurement:
        """The same patterns at other places; a part of a raster is no raster."""
        return replace(self, scan=replace(self.scan, positions_px=positions_px, stride_px=None))

    def and_then(self, other: Measurement) -> Measurement:
        """Both scans of one object as one, this one first."""
        scan = replace(
            self.scan,
            positions_px=torch.cat([self.scan.positions_px, other.scan.positions_px]),
            image_index=torch.cat([self.scan.image_index, other.scan.image_index]),
            stride_px=None,
        )
        return Measurement(torch.cat([self.amplitude, other.amplitude]), scan, self.known)

    def light(self, chosen: Tensor) -> Float[Tensor, " b"]:
        """Sum of X over the known pixels of each of the chosen patterns, float64."""
        return self.judged(self.amplitude[chosen]).sum(dim=(1, 2, 3), dtype=torch.float64)

    def judged(self, values: Float[Tensor, "b c n n"]) -> Float[Tensor, "b c n n"]:
        """`values` of detector pixels, zero at those that are not known."""
        return values if self.known is None else values * self.known
