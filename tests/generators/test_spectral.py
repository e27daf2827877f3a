"""Laws of the spectral convolution; the oracle is rfft2 and a loop over modes, in float64."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import normal
from torch import Tensor

from study.generators.spectral import SpectralConv2d, mode_columns, mode_rows
from study.settings import UserError

MODE_SETS = ("classic", "centered", "corner")
grids = st.tuples(st.integers(1, 13), st.integers(1, 13))


def frequency(row: int, height: int) -> int:
    """Signed frequency of an FFT row, the Nyquist row counted as negative."""
    return row if 2 * row < height else row - height


def explicit_dft(layer: SpectralConv2d, x: Tensor) -> Tensor:
    """rfft2, every mode of the set that the grid has mixed once, irfft2."""
    height, width = x.shape[2:]
    weight, spectrum = layer.complex_weight(), torch.fft.rfft2(x)
    out = torch.zeros(x.shape[0], weight.shape[3], height, width // 2 + 1, dtype=spectrum.dtype)
    for row in range(height):
        label = row if layer.mode_set == "corner" else frequency(row, height)
        if label not in layer.ky:
            continue
        for column in range(min(width // 2 + 1, len(layer.kx))):
            mix = weight[layer.ky.index(label), column]
            out[:, :, row, column] = spectrum[:, :, row, column] @ mix
    return torch.fft.irfft2(out, s=(height, width))


@pytest.mark.parametrize("mode_set", MODE_SETS)
@settings(max_examples=25, deadline=None)
@given(grid=grids, modes=st.integers(1, 7), cut=st.booleans())
def test_layer_equals_the_explicit_dft_on_any_grid(mode_set, grid, modes, cut):
    layer = SpectralConv2d(3, 2, modes, grid if cut else None, mode_set).double()
    x = normal(2, 3, *grid, dtype=torch.float64)
    torch.testing.assert_close(layer(x), explicit_dft(layer, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode_set", MODE_SETS)
@settings(max_examples=25, deadline=None)
@given(grid=grids, modes=st.integers(1, 7))
def test_only_modes_that_the_grid_has_are_allocated_each_once(mode_set, grid, modes):
    height, width = grid
    layer = SpectralConv2d(2, 2, modes, grid, mode_set)
    rows = [ky % height for ky in layer.ky]
    assert len(set(rows)) == len(rows)
    assert list(layer.kx) == list(range(len(layer.kx)))
    assert len(layer.kx) <= width // 2 + 1
    everything = len(mode_rows(mode_set, 20 * height, height)), width // 2 + 1
    assert everything[0] == height
    assert layer.weight.shape[0] == 2 * len(layer.ky) * len(layer.kx)


@pytest.mark.parametrize(
    ("mode_set", "size", "kept"),
    [
        ("classic", 64, (24, 12)),
        ("classic", 16, (16, 9)),
        ("classic", 8, (8, 5)),
        ("centered", 64, (12, 7)),
        ("centered", 8, (8, 5)),
        ("corner", 64, (12, 12)),
        ("corner", 16, (12, 9)),
        ("corner", 8, (8, 5)),
    ],
)
def test_twelve_modes_keep_what_the_definition_says(mode_set, size, kept):
    assert (len(mode_rows(mode_set, 12, size)), len(mode_columns(mode_set, 12, size))) == kept


@pytest.mark.parametrize(
    ("mode_set", "ky", "passes"),
    [
        ("classic", 2, True),
        ("classic", -3, True),
        ("classic", 3, False),
        ("centered", -1, True),
        ("centered", 1, True),
        ("centered", -2, False),
        ("corner", 2, True),
        ("corner", -1, False),
    ],
)
def test_identity_weights_pass_a_kept_wave_and_stop_any_other(mode_set, ky, passes):
    layer = SpectralConv2d(1, 1, 3, (12, 10), mode_set).double()
    half = layer.weight.shape[0] // 2
    with torch.no_grad():
        layer.weight[:half] = 1
        layer.weight[half:] = 0
    y, x = torch.arange(12.0).double()[:, None], torch.arange(10.0).double()
    wave = torch.cos(2 * math.pi * (ky * y / 12 + 1 * x / 10))[None, None]
    torch.testing.assert_close(layer(wave), wave * passes, rtol=0, atol=1e-12)


def test_corner_has_negative_ky_on_grids_under_2m_rows_alone():
    on_large = {frequency(row, 12) for row in mode_rows("corner", 6, 12)}
    on_small = {frequency(row, 8) for row in mode_rows("corner", 6, 8)}
    assert on_large == {0, 1, 2, 3, 4, 5} and on_small == {0, 1, 2, 3, -4, -3}


def test_classic_equals_the_slices_of_the_fno_paper():
    layer = SpectralConv2d(2, 3, 3, (8, 9)).double()
    x = normal(2, 2, 8, 9, dtype=torch.float64)
    spectrum, weight = torch.fft.rfft2(x), layer.complex_weight()
    out = torch.zeros(2, 3, 8, 5, dtype=spectrum.dtype)
    mix = "bihw,hwio->bohw"
    out[:, :, :3, :3] = torch.einsum(mix, spectrum[:, :, :3, :3], weight[3:])
    out[:, :, -3:, :3] = torch.einsum(mix, spectrum[:, :, -3:, :3], weight[:3])
    expected = torch.fft.irfft2(out, s=(8, 9))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


NEURALOP = np.load(Path(__file__).with_name("neuralop_vectors.npz"))


@pytest.mark.parametrize("case", sorted(k[:-2] for k in NEURALOP.files if k.endswith(".x")))
def test_centered_equals_neuralop(case):
    """Its layer on fixed inputs; neuralop_vectors.py made the numbers."""
    x, weight, y = (torch.from_numpy(NEURALOP[f"{case}.{name}"]) for name in ("x", "weight", "y"))
    modes = int(case.partition("_")[0])
    layer = SpectralConv2d(*weight.shape[:2], modes, mode_set="centered")
    parts = torch.view_as_real(weight.permute(2, 3, 0, 1)).movedim(-1, 0)
    with torch.no_grad():
        layer.weight.copy_(parts.reshape(layer.weight.shape))
    torch.testing.assert_close(layer(x), y, rtol=1e-4, atol=1e-5)


def test_a_layer_without_grid_acts_on_a_small_grid_as_one_allocated_for_it():
    anywhere = SpectralConv2d(2, 3, 6)
    here = SpectralConv2d(2, 3, 6, (7, 8))
    rows = [anywhere.ky.index(ky) for ky in here.ky]
    cut = anywhere.weight.detach().unflatten(0, (2, len(anywhere.ky), len(anywhere.kx)))
    with torch.no_grad():
        here.weight.copy_(cut[:, rows, : len(here.kx)].flatten(0, 2))
    x = normal(1, 2, 7, 8)
    torch.testing.assert_close(anywhere(x), here(x))


@pytest.mark.parametrize("grid", [(4, 5), (3, 4)])
def test_gradients_equal_finite_differences(grid):
    layer = SpectralConv2d(2, 2, 2, grid).double()
    x = normal(1, 2, *grid, dtype=torch.float64).requires_grad_()

    def run(x: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(run, (x, layer.weight))


def test_variance_init_gives_each_part_the_std_one_over_sqrt_2cin():
    weight = SpectralConv2d(32, 16, 12).weight.detach()
    for part in weight.chunk(2):
        assert part.std().item() == pytest.approx(1 / math.sqrt(64), rel=0.05)
        assert abs(part.mean().item()) < 0.01 / math.sqrt(64)


def test_variance_init_keeps_the_variance_of_kept_modes():
    """15 of the 16 columns of modes are kept, and of column 0 the Hermitian half is real."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = SpectralConv2d(64, 64, 8, (16, 16))
    x = normal(4, 64, 16, 16)
    expected = (15 / 16 - 1 / 2 / 16) * x.var().item()
    assert layer(x).var().item() == pytest.approx(expected, rel=0.03)


def test_old_init_is_uniform_up_to_one_over_cin_cout():
    weight = SpectralConv2d(32, 16, 12, init="old").weight.detach() * (32 * 16)
    for part in weight.chunk(2):
        assert part.mean().item() == pytest.approx(1 / 2, rel=0.05)
        assert part.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)
        assert part.min().item() >= 0 and part.max().item() <= 1


def test_units_are_output_channels_over_modes_inputs_and_both_parts():
    layer = SpectralConv2d(3, 5, 2)
    weight = layer.weight
    others = [axis for axis in range(weight.ndim) if axis not in weight.unit_axes]
    expected = layer.complex_weight().abs().square().sum((0, 1, 2)).sqrt()
    torch.testing.assert_close(torch.linalg.vector_norm(weight, dim=others), expected)


def test_unit_marks_survive_moves_and_casts():
    layer = SpectralConv2d(3, 5, 2).double().to(memory_format=torch.channels_last)
    assert layer.weight.unit_axes == (2,)


def test_memory_order_of_the_input_changes_nothing_and_the_result_is_channels_last():
    layer = SpectralConv2d(3, 4, 3)
    x = normal(2, 3, 6, 7)
    packed = layer(x.contiguous(memory_format=torch.channels_last))
    assert packed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x), packed, rtol=0, atol=0)


def test_a_forward_pass_in_inference_mode_leaves_training_possible():
    layer = SpectralConv2d(1, 1, 2)
    x = normal(1, 1, 11, 3)  # a grid that no other test uses, so its matrices are made here
    with torch.inference_mode():
        layer(x)
    layer(x.requires_grad_()).square().sum().backward()
    assert layer.weight.grad is not None and x.grad is not None


def test_autocast_stays_within_bfloat16_of_float32():
    layer = SpectralConv2d(8, 8, 4)
    x = normal(2, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
        rounded.float().square().sum().backward()
    assert rounded.dtype == torch.bfloat16
    exact = layer(x)
    assert ((rounded - exact).norm() / exact.norm()).item() < 0.02
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32


def test_a_checkpoint_holds_the_weight_alone_and_real():
    state = SpectralConv2d(2, 2, 3, (8, 8)).state_dict()
    assert list(state) == ["weight"] and state["weight"].dtype == torch.float32


def test_unknown_settings_are_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'centered'"):
        SpectralConv2d(1, 1, 2, mode_set="centred")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="at least 1"):
        SpectralConv2d(1, 1, 0)
