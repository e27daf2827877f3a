"""Windows: extract, its exact adjoint, and stitching."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.optics import (
    adjoint,
    covered,
    extract,
    illumination,
    stitch_tiles,
    stitch_weighted,
)

laws = settings(deadline=None, max_examples=25)
COMPLEX = torch.complex128


@st.composite
def scans(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, int, tuple[int, int]]:
    """An object of any shape, windows of any size, positions on and between pixels."""
    n = draw(st.integers(1, 6))
    shape = (draw(st.integers(n, 12)), draw(st.integers(n, 12)))
    step = draw(st.sampled_from([1.0, 0.5, 0.01]))
    last = [size - n for size in shape]
    positions = [
        [draw(st.integers(0, int(edge / step))) * step for edge in last]
        for _ in range(draw(st.integers(1, 4)))
    ]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    obj = torch.randn(*shape, dtype=COMPLEX, generator=generator)
    limits = torch.tensor(last, dtype=torch.float32)
    return obj, torch.minimum(torch.tensor(positions, dtype=torch.float32), limits), n, shape


@laws
@given(scans(), st.integers(0, 2**31))
def test_adjoint_transposes_extract_on_and_between_pixels(scan: tuple, seed: int) -> None:
    obj, positions, n, shape = scan
    generator = torch.Generator().manual_seed(seed)
    patch = torch.randn(len(positions), n, n, dtype=COMPLEX, generator=generator)
    left = torch.vdot(extract(obj, positions, n).flatten(), patch.flatten())
    right = torch.vdot(obj.flatten(), adjoint(patch, positions, shape).flatten())
    assert torch.allclose(left, right)


@laws
@given(scans())
def test_extract_interpolates_bilinearly(scan: tuple) -> None:
    obj, positions, n, _ = scan
    image = obj.numpy()
    for patch, (y, x) in zip(extract(obj, positions, n), positions.tolist(), strict=True):
        rows, columns = np.arange(n) + y, np.arange(n) + x
        along = np.stack(
            [
                np.interp(columns, np.arange(image.shape[1]), row.real)
                + 1j * np.interp(columns, np.arange(image.shape[1]), row.imag)
                for row in image
            ]
        )
        expected = np.stack(
            [
                np.interp(rows, np.arange(image.shape[0]), column.real)
                + 1j * np.interp(rows, np.arange(image.shape[0]), column.imag)
                for column in along.T
            ],
            axis=1,
        )
        assert np.allclose(patch.numpy(), expected, atol=1e-5)


def test_whole_positions_cut_plain_windows() -> None:
    obj = torch.arange(30.0).reshape(5, 6).to(COMPLEX)
    patch = extract(obj, torch.tensor([[2.0, 3.0]]), 3)
    assert torch.equal(patch[0], obj[2:5, 3:6])


def test_single_precision_patches_keep_their_type_at_any_position_type() -> None:
    patch = torch.ones(1, 2, 2, dtype=torch.complex64)
    for kind in (torch.float32, torch.float64):
        back = adjoint(patch, torch.tensor([[0.5, 0.25]], dtype=kind), (4, 4))
        assert back.dtype == torch.complex64
        assert back.sum().real == pytest.approx(4.0)


def test_windows_outside_the_object_are_refused_with_the_numbers() -> None:
    obj = torch.zeros(10, 12, dtype=COMPLEX)
    with pytest.raises(ValueError, match="rows 0 to 11 but the object has 10"):
        extract(obj, torch.tensor([[0.0, 0.0], [7.0, 0.0]]), 4)
    with pytest.raises(ValueError, match=r"columns -0.5 to 3.5 but the object has 12"):
        adjoint(torch.ones(1, 4, 4), torch.tensor([[0.0, -0.5]]), (10, 12))


def test_gradients_of_extract_and_adjoint_are_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    obj = torch.randn(5, 6, dtype=COMPLEX, generator=generator).requires_grad_()
    positions = torch.tensor([[0.0, 1.0], [0.5, 1.75]])
    assert torch.autograd.gradcheck(lambda o: extract(o, positions, 4), (obj,))
    patch = torch.randn(2, 4, 4, dtype=COMPLEX, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: adjoint(p, positions, (5, 6)), (patch,))


def test_illumination_holds_all_light_of_the_scan() -> None:
    probe = torch.randn(4, 4, dtype=COMPLEX, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[0.0, 0.0], [1.5, 2.5], [3.0, 0.25]])
    seen = illumination(probe, positions, (8, 9))
    assert seen.sum().item() == pytest.approx(3 * probe.abs().square().sum().item())


def raster(size: int, n: int, stride: int) -> torch.Tensor:
    steps = torch.arange(0.0, size - n + 1, stride)
    return torch.cartesian_prod(steps, steps)


def test_true_patches_stitch_to_the_object_where_it_is_seen() -> None:
    obj = torch.randn(16, 16, dtype=COMPLEX, generator=torch.Generator().manual_seed(0))
    positions = raster(16, 6, 3)
    probe = torch.full((6, 6), 0.5 + 0.5j, dtype=COMPLEX)
    image = stitch_weighted(extract(obj, positions, 6), probe, positions, (18, 18))
    assert torch.allclose(image[:15, :15], obj[:15, :15])
    assert not image[15:].any()
    assert not image[:, 15:].any()


@pytest.mark.parametrize(("n", "stride"), [(8, 4), (7, 3), (8, 3)])
def test_tiles_of_true_patches_are_the_object_inside_the_border(n: int, stride: int) -> None:
    obj = torch.randn(24, 24, dtype=COMPLEX, generator=torch.Generator().manual_seed(0))
    positions = raster(24, n, stride)
    side = round(len(positions) ** 0.5)
    tiles = stitch_tiles(extract(obj, positions, n).reshape(side, side, n, n), stride)
    border = (n - stride) // 2
    inside = slice(border, border + side * stride)
    assert torch.equal(tiles, obj[inside, inside])


def test_published_tiling_is_330_px_from_pixel_27() -> None:
    patch = torch.zeros(33, 33, 64, 64, dtype=torch.complex64)
    patch[0, 0, 27, 27] = 1
    tiles = stitch_tiles(patch, 10)
    assert tiles.shape == (330, 330)
    assert tiles[0, 0] == 1


def test_covered_leaves_out_what_the_scan_hardly_saw() -> None:
    seen = torch.tensor([[0.0, 0.05, 1.0], [1.0, 2.0, 0.2]])
    assert covered(seen).tolist() == [[False, False, True], [True, True, True]]
    assert not covered(torch.zeros(2, 2)).any()
