"""Windows of the object: cut out, put back (the exact adjoint), and stitch into one image.

A position is the top-left corner (y, x) of the window in object pixels. Its integer part shifts the
window, its remainder interpolates bilinearly; `adjoint` transposes both, so iterative methods and
gradients see the same operator.
"""

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor


def integer_corners(
    positions_px: Float[Tensor, "b 2"],
) -> list[tuple[Int[Tensor, "b 2"], Float[Tensor, " b"]]]:
    """The four integer corners of each position with their bilinear weights; zero weights dropped.

    On an integer grid one corner is left, and the cost of interpolation with it.
    """
    base = torch.floor(positions_px)
    part = positions_px - base  # (b, 2) in [0, 1)
    corners = []
    for dy in (0, 1):
        for dx in (0, 1):
            weight_y = part[:, 0] if dy else 1 - part[:, 0]
            weight_x = part[:, 1] if dx else 1 - part[:, 1]
            weight = weight_y * weight_x
            if bool((weight != 0).any()):
                offset = torch.tensor([dy, dx], device=base.device)
                corners.append((base.long() + offset, weight))
    return corners


def _flat_index(corner: Int[Tensor, "b 2"], n: int, shape: tuple[int, int]) -> Int[Tensor, "b n n"]:
    """Index of every window pixel in the flattened object; a pixel past the edge reads the edge.

    Only a corner of weight zero can lie past the edge (positions are checked), so clamping changes
    no value.
    """
    steps = torch.arange(n, device=corner.device)
    rows = (corner[:, 0, None] + steps).clamp(max=shape[0] - 1)  # (b, n)
    columns = (corner[:, 1, None] + steps).clamp(max=shape[1] - 1)
    return rows[:, :, None] * shape[1] + columns[:, None, :]


def window_weights(
    positions_px: Float[Tensor, "b 2"], n: int, shape: tuple[int, int]
) -> list[tuple[Int[Tensor, "b n n"], Float[Tensor, " b"]]]:
    """Index of every window pixel in the flattened object with its bilinear weight, per corner.

    Raises ValueError outside the object.
    """
    check_inside(positions_px, n, shape)
    return [
        (_flat_index(corner, n, shape), weight) for corner, weight in integer_corners(positions_px)
    ]


def check_inside(positions_px: Float[Tensor, "b 2"], n: int, shape: tuple[int, int]) -> None:
    """Raise ValueError unless every window of n x n px lies on an object of `shape`."""
    if len(positions_px) == 0:
        return
    low = positions_px.amin(dim=0).tolist()
    high = positions_px.amax(dim=0).tolist()
    for axis, (name, size) in enumerate(zip(("row", "column"), shape, strict=True)):
        if low[axis] < 0 or high[axis] + n > size:
            raise ValueError(
                f"positions_px span {name}s {low[axis]:g} to {high[axis] + n:g} but the object has "
                f"{size}; enlarge the object or reduce the scan step"
            )


def extract(
    obj: Complex[Tensor, "h w"], positions_px: Float[Tensor, "b 2"], n: int
) -> Complex[Tensor, "b n n"]:
    """Object windows of n x n px at `positions_px`. Raises ValueError outside the object."""
    shape = (obj.shape[0], obj.shape[1])
    check_inside(positions_px, n, shape)
    flat = obj.reshape(-1)
    patch = obj.new_zeros(len(positions_px), n, n)
    for corner, weight in integer_corners(positions_px):
        patch = patch + weight[:, None, None] * flat[_flat_index(corner, n, shape)]
    return patch


def adjoint(
    patch: Complex[Tensor, "b n n"] | Float[Tensor, "b n n"],
    positions_px: Float[Tensor, "b 2"],
    shape: tuple[int, int],
) -> Complex[Tensor, "h w"] | Float[Tensor, "h w"]:
    """Transpose of `extract`: add every patch into an empty object of `shape` at its position."""
    n = patch.shape[-1]
    check_inside(positions_px, n, shape)
    flat = patch.new_zeros(shape[0] * shape[1])
    for corner, weight in integer_corners(positions_px):
        values = (weight[:, None, None] * patch).to(flat.dtype)
        flat.index_add_(0, _flat_index(corner, n, shape).reshape(-1), values.reshape(-1))
    return flat.reshape(shape)


def illumination(
    probe: Complex[Tensor, "n n"],
    positions_px: Float[Tensor, "b 2"],
    shape: tuple[int, int],
) -> Float[Tensor, "h w"]:
    """Summed probe intensity on every object pixel: what the scan has seen."""
    weight = probe.abs().square().expand(len(positions_px), -1, -1)
    return adjoint(weight, positions_px, shape)


def covered(seen: Float[Tensor, "h w"], share: float = 0.1) -> Bool[Tensor, "h w"]:
    """Pixels that received at least `share` of the median illumination of the seen ones."""
    lit = seen[seen > 0]
    return seen >= share * lit.median() if lit.numel() else torch.zeros_like(seen, dtype=torch.bool)


def stitch_weighted(
    patch: Complex[Tensor, "b n n"],
    probe: Complex[Tensor, "n n"],
    positions_px: Float[Tensor, "b 2"],
    shape: tuple[int, int],
) -> Complex[Tensor, "h w"]:
    """Illumination-weighted average of overlapping patches, for any positions; 0 where unseen."""
    weight = probe.abs().square()
    summed = adjoint(weight * patch, positions_px, shape)
    seen = illumination(probe, positions_px, shape)
    # Far tails of the probe divide noise by almost zero: ignore pixels below 1e-6 of the peak.
    floor = 1e-6 * seen.max()
    return torch.where(seen > floor, summed / seen.clamp(min=floor), torch.zeros_like(summed))


def stitch_tiles(
    patch: Complex[Tensor, "rows columns n n"], stride_px: int
) -> Complex[Tensor, "h w"]:
    """Central windows of a raster, tiled as published: (rows * stride, columns * stride).

    The window starts (n - stride) // 2 px inside the patch (27 at n = 64, stride 10).
    """
    rows, columns, n, _ = patch.shape
    border = (n - stride_px) // 2
    window = patch[:, :, border : border + stride_px, border : border + stride_px]
    return window.permute(0, 2, 1, 3).reshape(rows * stride_px, columns * stride_px)
