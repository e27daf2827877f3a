"""Windows of a whole scan for iterative methods: cut out of an object and added into one, fast.

`optics.extract` and `optics.adjoint` build an index of every pixel for every call and keep what
autograd needs. Here corners and weights are computed once per scan and windows are strided views.
The sums are taken in the same order, so the results are equal to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32, Int, Int64
from torch import Tensor

from study.optics.patches import check_inside, integer_corners

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Corner:
    """One of the four integer corners of every position, and its bilinear weight.

    `places`: (row, column) of each as integers, because slices are cheaper than index tensors for
    few windows. `whole`: every weight is 1. A corner that would lead past the edge is moved inside:
    its weight is zero.
    """

    rows: Int64[Tensor, " J"]
    columns: Int64[Tensor, " J"]
    places: list[tuple[int, int]]
    weight: Float32[Tensor, " J"]
    whole: bool

    def weighted(self, patch: Tensor, chosen: Int64[Tensor, " b"]) -> Tensor:
        """weight * patch; on whole pixels `patch` itself."""
        if self.whole:
            return patch
        weight = self.weight[chosen][:, None, None]
        if not patch.is_complex():
            return weight * patch
        # Real and imaginary part separately: the same product at half the cost.
        return torch.view_as_complex(torch.view_as_real(patch) * weight[..., None])


class Windows:
    """The n x n windows at `positions_px` (J, 2) of an object of `shape`.

    Raises ValueError for windows outside the object.
    """

    def __init__(
        self, positions_px: Float32[Tensor, "J 2"], n: int, shape: tuple[int, int]
    ) -> None:
        check_inside(positions_px, n, shape)
        self.n, self.shape = n, shape
        self._corners = [
            _corner(corner, weight, shape[0] - n, shape[1] - n)
            for corner, weight in integer_corners(positions_px)
        ]

    def box(self, chosen: Int64[Tensor, " b"]) -> Box:
        """Smallest box (y0, x0, y1, x1) that holds the chosen windows."""
        picked = chosen.tolist()
        places = [corner.places[j] for corner in self._corners for j in picked]
        rows, columns = [y for y, _ in places], [x for _, x in places]
        return min(rows), min(columns), max(rows) + self.n, max(columns) + self.n

    def extract(
        self, obj: Complex64[Tensor, "h w"], chosen: Int64[Tensor, " b"]
    ) -> Complex64[Tensor, "b n n"]:
        """The chosen windows of `obj`, as `optics.extract`."""
        n, patch = self.n, obj.new_zeros(len(chosen), self.n, self.n)
        for corner in self._corners:
            if len(chosen) == 1:
                y, x = corner.places[int(chosen)]
                window = obj[None, y : y + n, x : x + n]
            else:
                views = obj.unfold(0, n, 1).unfold(1, n, 1)
                window = views[corner.rows[chosen], corner.columns[chosen]]
            patch += corner.weighted(window, chosen)
        return patch

    def add(
        self,
        target: Tensor,
        origin: tuple[int, int],
        patch: Tensor,
        chosen: Int64[Tensor, " b"],
    ) -> None:
        """Add `patch` (b, n, n) at the chosen places into `target`, in place: `optics.adjoint`.

        `target`: a part of the object whose first pixel is the object's pixel `origin`.
        """
        picked, (top, left) = chosen.tolist(), origin
        for corner in self._corners:
            for j, window in zip(picked, corner.weighted(patch, chosen), strict=True):
                y, x = corner.places[j][0] - top, corner.places[j][1] - left
                target[y : y + self.n, x : x + self.n] += window


def _corner(
    place: Int[Tensor, "J 2"], weight: Float32[Tensor, " J"], last_row: int, last_column: int
) -> _Corner:
    rows, columns = place[:, 0].clamp(max=last_row), place[:, 1].clamp(max=last_column)
    places = list(zip(rows.tolist(), columns.tolist(), strict=True))
    return _Corner(rows, columns, places, weight, bool((weight == 1).all()))
