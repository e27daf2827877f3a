"""Windows of a whole scan for iterative methods: cut out of an object and added into one, fast.

`optics.extract` and `optics.adjoint` build an index of every pixel for every call and keep what
autograd needs. Here corners and weights are computed once per scan and windows are strided views.
The sums are taken in the same order, so the results are equal to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32, Int64
from torch import Tensor

from study.optics.patches import check_inside, integer_corners

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Corner:
    """One of the four integer corners of every position, and its bilinear weight.

    A corner that would lead past the edge is moved inside: its weight is zero.
    """

    rows: Int64[Tensor, " J"]
    columns: Int64[Tensor, " J"]
    weight: Float32[Tensor, " J"]


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
            _Corner(
                corner[:, 0].clamp(max=shape[0] - n), corner[:, 1].clamp(max=shape[1] - n), weight
            )
            for corner, weight in integer_corners(positions_px)
        ]

    def box(self, chosen: Int64[Tensor, " b"]) -> Box:
        """Smallest box (y0, x0, y1, x1) that holds the chosen windows."""
        rows = [corner.rows[chosen] for corner in self._corners]
        columns = [corner.columns[chosen] for corner in self._corners]
        return (
            min(int(some.min()) for some in rows),
            min(int(some.min()) for some in columns),
            max(int(some.max()) for some in rows) + self.n,
            max(int(some.max()) for some in columns) + self.n,
        )

    def extract(
        self, obj: Complex64[Tensor, "h w"], chosen: Int64[Tensor, " b"]
    ) -> Complex64[Tensor, "b n n"]:
        """The chosen windows of `obj`, as `optics.extract`."""
        views = obj.unfold(0, self.n, 1).unfold(1, self.n, 1)
        patch = obj.new_zeros(len(chosen), self.n, self.n)
        for corner in self._corners:
            window = views[corner.rows[chosen], corner.columns[chosen]]
            patch += _scaled(window, corner.weight[chosen])
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
        for corner in self._corners:
            rows = (corner.rows[chosen] - origin[0]).tolist()
            columns = (corner.columns[chosen] - origin[1]).tolist()
            for y, x, window in zip(
                rows, columns, _scaled(patch, corner.weight[chosen]), strict=True
            ):
                target[y : y + self.n, x : x + self.n] += window


def _scaled(patch: Tensor, weight: Float32[Tensor, " b"]) -> Tensor:
    """weight * patch; on whole pixels, where every weight is 1, `patch` itself."""
    if bool((weight == 1).all()):
        return patch
    if not patch.is_complex():
        return weight[:, None, None] * patch
    # Multiplying real and imaginary part is what the complex product comes to, at half the cost.
    return torch.view_as_complex(torch.view_as_real(patch) * weight[:, None, None, None])
