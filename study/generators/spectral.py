"""The one spectral convolution: low Fourier modes, mixed over channels by learned complex weights.

    y = IDFT[ W(k) . DFT[x](k) ],  k in the kept modes, every other mode of y zero
    (Fourier neural operator, Li et al. 2021, arXiv:2010.08895, eq. 4-5)

Design choices
- Few modes are kept, so both transforms are small constant real matrices and the layer is a chain
  of real matrix products on NHWC memory: about twice as fast on a CPU as rfft2 and einsum, and open
  to autocast. No complex tensor exists: complex weights are slow in norms, in Adam, in compilers.
- The result is what `irfft2` defines for real images: on the columns that are their own mirror
  image (kx = 0, and kx = w/2 when w is even) only the part that gives a real image counts, so there
  the imaginary part of W at ky = 0 does nothing. It is computed here explicitly, where FFT
  libraries differ on such input.
- A mode stands once. On an even height the Nyquist row is ky = -h/2, never also +h/2.
- With `grid` only the modes that exist on that grid are allocated: a 12 x 12 layer on 8 x 8 pixels
  holds 40 modes, not 144.

Mode sets, for `modes` = m (physics: section 3), before the grid cuts them
- `classic`: ky = -m..m-1, kx = 0..m-1; both signs of ky, the FNO paper's 2m x m.
- `centered`: ky = -(m//2)..m-m//2-1, kx = 0..m//2; what neuralop keeps for n_modes = (m, m).
- `corner`: the first m rows in FFT order, kx = 0..m-1. Rows past h/2 alias to negative ky, so on
  grids under 2m rows the set holds some of these, on larger ones none.

Initial weights, real and imaginary part drawn alike
- `variance`: normal with std 1/sqrt(2 C_in) each, so a complex weight has std 1/sqrt(C_in) and a
  mode keeps its variance.
- `old`: uniform on [0, 1/(C_in C_out)), as the FNO authors' code draws them: mean 1/(2 C_in C_out)
  and std 1/(sqrt(12) C_in C_out).
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from study.generators.units import mark_units
from study.settings import UserError, nearest

ModeSet = Literal["classic", "centered", "corner"]
SpectralInit = Literal["variance", "old"]
Grid = tuple[int, int]


# --- which modes ------------------------------------------------------------------------------


def mode_rows(mode_set: str, modes: int, height: int | None = None) -> tuple[int, ...]:
    """The ky of a mode set, cut to a grid of `height` rows when one is given.

    `corner` counts rows in FFT order (row r is ky = r or, aliased, r - height); the other sets are
    signed frequencies in cycles per image.
    """
    if mode_set == "corner":
        return tuple(range(modes if height is None else min(modes, height)))
    down = modes if mode_set == "classic" else modes // 2
    up = modes if mode_set == "classic" else modes - modes // 2
    if height is not None:
        down, up = min(down, height // 2), min(up, (height + 1) // 2)
    return tuple(range(-down, up))


def mode_columns(mode_set: str, modes: int, width: int | None = None) -> tuple[int, ...]:
    """The kx >= 0 of a mode set, cut to a grid of `width` columns when one is given."""
    count = modes // 2 + 1 if mode_set == "centered" else modes
    return tuple(range(count if width is None else min(count, width // 2 + 1)))


# --- the transforms as matrices ---------------------------------------------------------------


class Transforms(NamedTuple):
    """Truncated real DFT of images (h, w) and its inverse as constant real matrices.

    Rows or columns run over (part, frequency) for spectra and (pixel row, part) between the stages,
    part being real, imaginary; the inverse carries 1/(h w) and the weight 2 of the columns whose
    mirror image is not stored.
    """

    to_kx: Float[Tensor, "two_kx w"]
    to_ky: Float[Tensor, "two_ky two_h"]
    from_ky: Float[Tensor, "two_h two_ky"]
    from_kx: Float[Tensor, "w two_kx"]


@functools.cache
def transforms(
    grid: Grid,
    ky: tuple[int, ...],
    kx: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Transforms:
    """The matrices for one grid, set of modes, dtype and device: made in float64, kept for good.

    Kept outside the modules: layers on one grid share them, and no checkpoint holds them.
    """
    height, width = grid
    # A tensor made in inference mode could not be saved for a later backward pass, and one made
    # under another default device (meta, to count parameters) has no values.
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        cos_x, sin_x = _waves(kx, width)
        cos_y, sin_y = _waves(ky, height)
        own_mirror = torch.tensor([2 * k % width == 0 for k in kx])
        weight = torch.where(own_mirror, 1.0, 2.0).double() / (height * width)
        from_real = torch.stack([cos_y, sin_y], -1).flatten(1)  # (ky, 2h): cos - i sin on (re, im)
        from_imag = torch.stack([-sin_y, cos_y], -1).flatten(1)
        to_ky = torch.cat([from_real, from_imag])
        matrices = (
            torch.cat([cos_x, -sin_x]),
            to_ky,
            to_ky.T,  # the conjugate transpose, in real form the transpose
            (torch.cat([cos_x, -sin_x]) * weight.repeat(2)[:, None]).T,
        )
        return Transforms(*(m.to(device=device, dtype=dtype).contiguous() for m in matrices))


def _waves(k: tuple[int, ...], size: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi k x / size, (len(k), size) in float64."""
    # Reduced modulo size before the product with pi: exact for any k and x.
    steps = torch.outer(torch.tensor(k), torch.arange(size)) % size
    angle = steps.double() * (2 * math.pi / size)
    return angle.cos(), angle.sin()


# --- the layer --------------------------------------------------------------------------------


class SpectralConv2d(nn.Module):
    """Spectral convolution of real images, (b, C_in, h, w) -> (b, C_out, h, w).

    `weight` is real, (2 K, C_in, C_out): the real parts of the K modes, row-major over (`ky`,
    `kx`), then their imaginary parts. Its unit axis is the last (`unit_axes`).

    Raises UserError for an unknown mode set or initial scale and for sizes below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: int,
        grid: Grid | None = None,
        mode_set: str = "classic",
        init: str = "variance",
    ) -> None:
        super().__init__()
        _check("mode_set", mode_set, get_args(ModeSet))
        _check("init", init, get_args(SpectralInit))
        if min(in_channels, out_channels, modes, *(grid or ())) < 1:
            raise UserError(
                "a spectral convolution needs channels, modes and grid of at least 1; got "
                f"{in_channels} -> {out_channels} channels, {modes} modes, grid {grid}"
            )
        self.mode_set, self.modes, self.init = mode_set, modes, init
        height, width = grid or (None, None)
        self.ky = mode_rows(mode_set, modes, height)
        self.kx = mode_columns(mode_set, modes, width)
        self.weight = nn.Parameter(
            torch.empty(2 * len(self.ky) * len(self.kx), in_channels, out_channels)
        )
        mark_units(self.weight, (2,))
        self.reset_parameters()

    @property
    def in_channels(self) -> int:
        return self.weight.shape[1]

    @property
    def out_channels(self) -> int:
        return self.weight.shape[2]

    def reset_parameters(self) -> None:
        """Draw the weights again, from torch's global generator; see the module docstring."""
        with torch.no_grad():
            if self.init == "variance":
                self.weight.normal_(std=1 / math.sqrt(2 * self.in_channels))
            else:
                self.weight.uniform_(0, 1 / (self.in_channels * self.out_channels))

    def complex_weight(self) -> Complex[Tensor, "ky kx i o"]:
        """The weights as complex numbers, for inspection."""
        shape = (2, len(self.ky), len(self.kx), self.in_channels, self.out_channels)
        return torch.complex(*self.weight.view(shape).unbind(0))

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """x in any memory format, channels_last without a copy; the result is channels_last."""
        ky, kx, weight = self._on_grid((x.shape[2], x.shape[3]))
        stages = transforms((x.shape[2], x.shape[3]), ky, kx, x.dtype, x.device)
        spectrum = _analyse(x.permute(0, 2, 3, 1).contiguous(), stages, len(kx))
        weight = weight.to(spectrum.dtype)  # autocast casts for matrix products, not for Functions
        image = _synthesise(_ModeProduct.apply(spectrum, weight), stages, len(kx))
        return image.permute(0, 3, 1, 2)

    def _on_grid(self, grid: Grid) -> tuple[tuple[int, ...], tuple[int, ...], Tensor]:
        """The allocated modes that the input's grid has, and their weights."""
        here = set(mode_rows(self.mode_set, self.modes, grid[0]))
        ky = tuple(k for k in self.ky if k in here)
        kx = self.kx[: grid[1] // 2 + 1]
        if ky == self.ky and kx == self.kx:
            return ky, kx, self.weight
        all_modes = self.weight.unflatten(0, (2, len(self.ky), len(self.kx)))
        rows = torch.tensor([k in here for k in self.ky], device=self.weight.device)
        return ky, kx, all_modes[:, rows, : len(kx)].flatten(0, 2)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, modes={self.modes}, "
            f"mode_set={self.mode_set}, kept={len(self.ky)}x{len(self.kx)}"
        )


def _analyse(
    x: Float[Tensor, "b h w c"], stages: Transforms, columns: int
) -> Float[Tensor, "b 2 k c"]:
    """Truncated DFT: real and imaginary part of each kept mode."""
    b, h, w, c = x.shape
    rows = torch.bmm(stages.to_kx.expand(b * h, -1, -1), x.view(b * h, w, c))
    rows = rows.view(b, 2 * h, columns * c)  # (h, part) x (kx, c)
    return _columns(stages.to_ky, rows).view(b, 2, -1, c)  # (part, ky) x (kx, c)


def _columns(matrix: Float[Tensor, "k h"], x: Float[Tensor, "b h w"]) -> Float[Tensor, "b k w"]:
    """matrix @ x for every image.

    On a CPU as a convolution of width 1, which is the same product by oneDNN: MKL, behind `bmm`,
    leaves half of the machine idle on processors of another maker.
    """
    if x.device.type == "cpu":
        return F.conv1d(x, matrix[:, :, None])
    return torch.bmm(matrix.expand(len(x), -1, -1), x)


class _ModeProduct(torch.autograd.Function):
    """y = x W, per mode a complex product of channels and weights, in real storage.

    x (b, 2, k, i), W (2 k, i, o), y (b, 2, k, o). Its gradients, gx = g conj(W)^T and
    gW = conj(x)^T g, are written out: autograd would copy the halves of W and y several times.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        real, imag = weight.chunk(2)
        return _add_i_times(_per_mode(x, real).contiguous(), _per_mode(x, imag), 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (x, weight), g = ctx.saved_tensors, grads[0].contiguous()
        real, imag = weight.chunk(2)
        gx = _add_i_times(_per_mode(g, real.mT).contiguous(), _per_mode(g, imag.mT), -1)
        g_over_i = torch.stack([g[:, 1], -g[:, 0]], dim=1)
        gw = torch.empty_like(weight)
        for part, out in zip((g, g_over_i), gw.chunk(2), strict=True):
            torch.bmm(_by_mode(x).mT, _by_mode(part), out=out)
        return gx, gw


def _by_mode(x: Tensor) -> Tensor:
    """(b, 2, k, c) as (k, 2 b, c), without a copy."""
    return x.flatten(0, 1).transpose(0, 1)


def _per_mode(x: Tensor, weight: Tensor) -> Tensor:
    """Real product per mode, (b, 2, k, i) with (k, i, o) to (b, 2, k, o)."""
    return torch.bmm(_by_mode(x), weight).transpose(0, 1).unflatten(0, (-1, 2))


def _add_i_times(y: Tensor, z: Tensor, sign: int) -> Tensor:
    """y + sign i z in place of y, both (b, 2, k, c)."""
    y[:, 0].sub_(z[:, 1], alpha=sign)
    y[:, 1].add_(z[:, 0], alpha=sign)
    return y


def _synthesise(
    y: Float[Tensor, "b 2 k o"], stages: Transforms, columns: int
) -> Float[Tensor, "b h w o"]:
    """Inverse of the truncated DFT: the real image with these modes only."""
    b, o = y.shape[0], y.shape[3]
    h, w = stages.from_ky.shape[0] // 2, stages.from_kx.shape[0]
    rows = _columns(stages.from_ky, y.view(b, -1, columns * o))
    rows = rows.view(b * h, 2 * columns, o)
    return torch.bmm(stages.from_kx.expand(b * h, -1, -1), rows).view(b, h, w, o)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name} {value!r} is unknown{nearest(value, known)}")
