"""The Cramer-Rao bound: how small the errors of any unbiased method can be at the given dose.

Counts are Poisson with the expected intensity I = A^2, A = |F[P O]| in sqrt(photons). A parameter t
of the object then has the Fisher information

    J(t, u) = sum (dI/dt) (dI/du) / I = 4 sum (dA/dt) (dA/du)

over all pixels of all patterns. The parameters are log|O| and arg O of the unknown object pixels:
with O_r -> O_r (1 + a_r + i phi_r), u = F[P O] / |F[P O]|, and g_r = F[P O_r at r alone],

    dA/da_r = Re(conj(u) g_r),      dA/dphi_r = -Im(conj(u) g_r)

No pattern determines the global phase, the direction phi = constant; it is projected out, as
scoring removes it. The inverse of J on the rest is the smallest covariance of an unbiased method.

What the numbers mean
- Unknown are the pixels that receive at least a tenth of what the brightest pixel of one pattern
  receives, summed over the patterns. The others count as known: a bound from fewer unknowns is
  lower, so it still is a bound.
- Directions that the patterns do not tell at all (information below 1e-9 of the largest; one
  pattern may leave some) have no finite bound. Their number is reported, and the standard
  deviations are those of the other directions alone: too small, never too large.
- A method with prior knowledge is biased and may be better: a network that has learned what objects
  look like, or any smooth start that is stopped early.
- Between pixels the window is interpolated as in the forward model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int64
from torch import Tensor

from study.formats.dataset import Dataset
from study.iterative.task import measured
from study.optics import extract, far_field, illumination
from study.optics.counts import to_network_units, to_object_units
from study.optics.patches import integer_corners
from study.settings import UserError

LIT = 0.1  # of the brightest pixel of one pattern: unknown, and judged
NO_INFORMATION = 1e-9  # of the largest eigenvalue: not determined by the patterns
MOST_UNKNOWNS = 2500  # pixels; their matrix has 200 MB and takes about a minute
MEAN_ABSOLUTE = math.sqrt(2 / math.pi)  # of a normal error with standard deviation 1


@dataclass(frozen=True)
class Limit:
    """The bound for some patterns, as means over the lit pixels.

    `amplitude`: standard deviation of |O|, in the units of the object given; `phase_rad`: of arg O.
    `undetermined`: directions without information, the global phase not counted.
    """

    patterns: int
    pixels: int
    amplitude: float
    phase_rad: float
    undetermined: int

    @property
    def amplitude_mae(self) -> float:
        """Expected mean absolute error of normal errors this small, as the table has it."""
        return MEAN_ABSOLUTE * self.amplitude

    @property
    def phase_mae(self) -> float:
        return MEAN_ABSOLUTE * self.phase_rad


def limit(
    obj: Complex[Tensor, "h w"],
    probe: Complex[Tensor, "n n"],
    positions_px: Float[Tensor, "J 2"],
    judged: Bool[Tensor, "h w"] | None = None,
) -> Limit:
    """The bound for the object `obj` from the patterns at `positions_px`.

    `probe` in sqrt(photons) for an object in network units: the dose. `judged`: pixels to average
    over, those of them that are lit; None: all lit ones.

    Raises UserError for more than 2500 unknown pixels, an object that is zero where it is lit, and
    when no pixel is both lit and judged; ValueError for windows outside the object.
    """
    unknown = lit(probe, positions_px, (obj.shape[0], obj.shape[1]))
    wanted = (unknown if judged is None else unknown & judged)[unknown].numpy()
    if not wanted.any():
        raise UserError("no pixel is both lit and judged, so there is no bound; choose others")
    count = int(unknown.sum())
    if count > MOST_UNKNOWNS:
        raise UserError(
            f"the patterns light {count} object pixels, and the bound is computed for at most "
            f"{MOST_UNKNOWNS}; choose fewer patterns"
        )
    size = obj[unknown].abs().numpy().astype(np.float64)
    if not size.min() > 0:
        raise UserError("the object is zero where it is lit, so its phase there has no bound")
    variance, undetermined = _variance(information(obj, probe, positions_px, unknown))
    deviation = np.sqrt(variance)
    return Limit(
        patterns=len(positions_px),
        pixels=int(wanted.sum()),
        amplitude=float((size * deviation[:count])[wanted].mean()),
        phase_rad=float(deviation[count:][wanted].mean()),
        undetermined=undetermined,
    )


def lit(
    probe: Complex[Tensor, "n n"], positions_px: Float[Tensor, "J 2"], shape: tuple[int, int]
) -> Bool[Tensor, "h w"]:
    """Pixels that receive a tenth of what the brightest pixel of one pattern receives."""
    seen = illumination(probe, positions_px, shape)
    return seen >= LIT * probe.abs().square().max()


def information(
    obj: Complex[Tensor, "h w"],
    probe: Complex[Tensor, "n n"],
    positions_px: Float[Tensor, "J 2"],
    unknown: Bool[Tensor, "h w"],
) -> Float[np.ndarray, "m m"]:
    """Fisher information of (log|O|, arg O) of the k unknown pixels, row-major; float64."""
    count = int(unknown.sum())
    total = torch.zeros(2 * count, 2 * count, dtype=torch.float64)
    for place in positions_px.split(1):
        derivative, columns = jacobian(obj, probe, place, unknown)
        total[columns[:, None], columns] += 4 * derivative.T @ derivative
    return total.numpy()


def jacobian(
    obj: Complex[Tensor, "h w"],
    probe: Complex[Tensor, "n n"],
    place: Float[Tensor, "1 2"],
    unknown: Bool[Tensor, "h w"],
) -> tuple[Float[Tensor, "pixels columns"], Int64[Tensor, " columns"]]:
    """dA/d(log|O|, arg O) of one pattern for the m unknown pixels of its window, and their columns.

    Columns count all k unknown pixels of the object: log|O| first, then arg O. In float64.
    """
    n, shape = probe.shape[-1], (obj.shape[0], obj.shape[1])
    obj, probe = obj.to(torch.complex128), probe.to(torch.complex128)
    y0, x0 = (int(edge) for edge in place[0].floor())
    y1, x1 = min(y0 + n + 1, shape[0]), min(x0 + n + 1, shape[1])
    inside = torch.zeros_like(unknown)
    inside[y0:y1, x0:x1] = unknown[y0:y1, x0:x1]
    pixels = inside.nonzero()
    local = place - torch.tensor([[y0, x0]])
    field = far_field(probe * extract(obj[y0:y1, x0:x1], local, n)[0])
    turned = torch.where(field.abs() > 0, field.conj() / field.abs(), 0)
    # What each pixel alone puts into the window, interpolated as `extract` does.
    window = torch.zeros(len(pixels), n, n, dtype=torch.complex128)
    every, value = torch.arange(len(pixels)), obj[inside]
    for corner, weight in integer_corners(local):
        y, x = (pixels - torch.tensor([y0, x0]) - corner).unbind(dim=1)
        there = (y >= 0) & (y < n) & (x >= 0) & (x < n)
        window[every[there], y[there], x[there]] += weight * value[there]
    columns = (turned * far_field(probe * window)).flatten(1).T
    order = torch.full(shape, -1)
    order[unknown] = torch.arange(int(unknown.sum()))
    here = order[inside]
    places = torch.cat([here, here + int(unknown.sum())])
    return torch.cat([columns.real, -columns.imag], dim=1), places


def _variance(fisher: Float[np.ndarray, "m m"]) -> tuple[Float[np.ndarray, " m"], int]:
    """Diagonal of the inverse without the global phase, and how many directions have none."""
    count = len(fisher) // 2
    constant = np.zeros(2 * count)
    constant[count:] = 1 / math.sqrt(count)
    free = np.eye(2 * count) - np.outer(constant, constant)
    value, vector = np.linalg.eigh(free @ fisher @ free)
    seen = value > NO_INFORMATION * value.max()
    variance = (vector[:, seen] ** 2 / value[seen]).sum(axis=1)
    return variance, 2 * count - 1 - int(seen.sum())


# --- of a data set ----------------------------------------------------------------------------


def limits(
    dataset: Dataset, split: str = "test", patterns: Sequence[int] = (1, 4, 9)
) -> list[Limit]:
    """The bound for the patterns nearest to the middle of a scan: one, a group, a window of it.

    Amplitudes in object units. All rows are judged on the lit spot of the first pattern, so they
    differ in the patterns alone. A window whose patterns light everything around that spot stands
    for the whole scan: patterns further away do not see it.

    Raises UserError for a measurement, whose object nobody knows, for more patterns than the scan
    has, and for more pixels than `limit` takes.
    """
    truth = dataset.splits[split].obj
    if truth is None:
        raise UserError(
            f"data set {dataset.manifest.name} is a measurement without a true object, so it has "
            "no bound; choose a simulated data set"
        )
    scan = measured(dataset, split).scan
    corners = scan.positions_px[scan.of(0)].flatten(0, 1)
    wrong = [count for count in patterns if not 1 <= count <= len(corners)]
    if wrong:
        raise UserError(
            f"{wrong[0]} patterns are asked for; the scan has {len(corners)}, so choose 1 to "
            f"{len(corners)}"
        )
    norm = dataset.manifest.object_norm[split]
    obj = to_network_units(torch.tensor(truth[0]), norm)
    probe = torch.tensor(dataset.probe) * dataset.manifest.photon_scale
    middle = (corners.amin(dim=0) + corners.amax(dim=0)) / 2
    nearest = (corners - middle).square().sum(dim=1).argsort(stable=True)
    spot = lit(probe, corners[nearest[:1]], (obj.shape[0], obj.shape[1]))
    found = [limit(obj, probe, corners[nearest[:count]], spot) for count in patterns]
    return [replace(one, amplitude=float(to_object_units(one.amplitude, norm))) for one in found]
