"""rPIE: the iterative reconstruction that a user would pick instead of a network, on equal counts.

    patch -> exit wave -> far field -> modulus becomes sqrt(counts) -> exit wave' -> object, probe

A. Maiden, D. Johnson & P. Li, Optica 4, 736 (2017): the object moves by

    conj(P) (exit' - exit) / ((1 - alpha) |P|^2 + alpha max |P|^2)

and the probe likewise, with the object in the place of P.

Design choices
- Patterns go in batches of 16, not one by one: numerators and |P|^2 are summed over the batch at
  their places in the object (the textbook step for a batch of one and for windows that do not
  overlap). On one core that is ten times faster at n = 32 with nearly the same fit (R after 100
  passes: 0.0038 against 0.0032). On the measured Siemens star it is twice as fast and fits better,
  because single noisy patterns no longer shake the object (R of held-out patterns after 10 passes
  at alpha 0.2: 0.167 against 0.202). `update` chooses: one by one, batches of 16, or all patterns
  at once.
- Sub-pixel positions use the exact adjoint of `optics.patches`. Bilinear weights sum to 1, so the
  summed |P|^2 is the row sum of the normal operator: a step at alpha = 0 already cannot overshoot.
- The order of patterns is drawn again for every pass, from (seed, pass index).
- The probe's own regularisation is 1, the gentlest step; smaller ones gained nothing.
- With the probe unknown the gauge is fixed after every pass (`iterative.gauge`).
- Pixels that are not `known` are unmeasured, not dark: the field keeps its own modulus there, and
  they enter neither R nor the first object.
- Patterns stay in the pixel order of the transform (zero frequency first) from the first pass to
  the last: no pattern is shifted inside the loop.
- A probe of several modes, (m, n, n), is an incoherent sum: the modulus that is replaced is that of
  all modes together, the object moves by the sum of what each mode asks for, and after every pass
  the modes are made orthogonal (`iterative.modes`). One mode, (n, n), takes the path that it always
  took, to the bit.
- Positions can be refined (`iterative.shifts`): shifts gathered over a pass act in the next.
- One thread up to n = 256, whatever torch is set to: a batch is too small to be split, and two
  threads on a busy machine wait for each other (measured star, 473 patterns of 128 x 128, one pass:
  0.9 s of CPU with one thread, 19 s with two). So the result does not depend on that setting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float32, Int64
from torch import Tensor

from study.iterative.gauge import fix_gauge
from study.iterative.modes import amplitude_of, orthogonal
from study.iterative.shifts import START_SHARE, moved, shift_step
from study.iterative.windows import Windows
from study.optics import covered, diffract, illumination
from study.optics.back_projection import modulus_change, regularised
from study.settings import RpieUpdate, UserError

BATCH = 16
CHUNK = 256  # patterns held at once when all of them make one update
PROBE_ALPHA = 1.0
ONE_THREAD_UP_TO = 256  # px of a window's side

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Stop:
    """Stop once R has changed by less than `change` of itself over the last `over` passes."""

    change: float
    over: int

    def reached(self, r_factor: Sequence[float]) -> bool:
        """Whether a run with these R-factors, one a pass, has converged."""
        if len(r_factor) <= self.over:
            return False
        before, now = r_factor[-1 - self.over], r_factor[-1]
        return abs(before - now) < self.change * before


@dataclass(frozen=True)
class Result:
    """`obj` (h, w) dimensionless (network units), `probe` (n, n) or modes, in sqrt(photons).

    `r_factor`: one number a pass, sum |sqrt(counts) - |far field|| / sum sqrt(counts), each pattern
    judged when the pass came to it, before its own update. `converged`: a stop rule was met.
    `positions_px`: those of the last pass where they were refined, else None.
    """

    obj: Complex64[Tensor, "h w"]
    probe: Complex64[Tensor, "*m n n"]
    r_factor: tuple[float, ...]
    converged: bool = False
    positions_px: Float32[Tensor, "J 2"] | None = None


@dataclass(frozen=True)
class RpieOptions:
    """Settings of rPIE.

    `passes` over the scan, at most. `alpha` in (0, 1]: how much the object's step is damped where
    the probe is dark. `update`: how many patterns make one update (see the module). `stop`: when to
    stop before `passes`. `refine_positions`: also find the shift of each position, px.
    """

    passes: int
    alpha: float
    update_probe: bool
    seed: int
    update: RpieUpdate = "batches"
    stop: Stop | None = None
    refine_positions: bool = False


def rpie(
    counts: Float32[Tensor, "J n n"],
    probe: Complex64[Tensor, "*m n n"],
    positions_px: Float32[Tensor, "J 2"],
    object_shape: tuple[int, int],
    options: RpieOptions,
    *,
    start: Complex64[Tensor, "h w"] | None = None,
    known: Bool[Tensor, "n n"] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Object, and probe when it is updated, from `counts` in photons (Maiden et al. 2017).

    `probe` in sqrt(photons), so that the object comes in network units; (m, n, n): modes.
    `positions_px`: top-left corners of the windows in an object of `object_shape` px. `start`:
    first object, else the constant that fits best. `known`: measured detector pixels, None for all.
    `progress(passes done, R-factor)` is called after every pass.

    Raises UserError when no photon or no probe is there, ValueError for windows outside the object.
    """
    with few_threads(probe.shape[-1]):
        amplitude = counts.sqrt()
        judged = amplitude if known is None else amplitude * known
        total = float(judged.sum(dtype=torch.float64))
        if total == 0 or not bool(probe.abs().max() > 0):
            dark = "patterns hold no photon" if total == 0 else "probe is zero everywhere"
            raise UserError(f"the {dark}, so there is nothing to reconstruct from; check the data")
        first = flat_object(judged, probe, object_shape, known) if start is None else start
        engine = _Engine(
            torch.fft.ifftshift(amplitude, dim=(-2, -1)),
            Windows(positions_px, probe.shape[-1], object_shape),
            options.alpha,
            options.update_probe,
            None if known is None else torch.fft.ifftshift(known),
        )
        given, r_factor = probe, list[float]()
        obj = first.clone()
        lit = covered(illumination(amplitude_of(probe), positions_px, object_shape))
        size = {"sequential": 1, "batches": BATCH, "synchronous": len(counts)}[options.update]
        converged = False
        while len(r_factor) < options.passes and not converged:
            if options.refine_positions and len(r_factor) == options.passes // START_SHARE:
                engine = replace(engine, shift_px=torch.zeros_like(positions_px))
            error = 0.0
            for chosen in pass_order(len(counts), options.seed, len(r_factor)).split(size):
                probe, wrong = engine.step(obj, probe, chosen)
                error += wrong
            if options.update_probe:
                probe = probe if probe.ndim == 2 else orthogonal(probe)
                obj, probe = fix_gauge(obj, probe, given, lit)
            if engine.shift_px is not None:
                engine = engine.moved(positions_px, object_shape)
            r_factor.append(error / total)
            converged = options.stop is not None and options.stop.reached(r_factor)
            if progress is not None:
                progress(len(r_factor), r_factor[-1])
        refined = None
        if engine.shift_px is not None:
            refined = engine.positions_px(positions_px, object_shape)
        return Result(obj, probe, tuple(r_factor), converged, refined)


@contextlib.contextmanager
def few_threads(n: int) -> Iterator[None]:
    """One thread for torch while the block works on windows of n <= 256 px."""
    before = torch.get_num_threads()
    if n > ONE_THREAD_UP_TO or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pass_order(count: int, seed: int, index: int) -> Int64[Tensor, " count"]:
    """One permutation of the patterns per (seed, pass index), the same on every machine."""
    return torch.from_numpy(np.random.default_rng([seed, index]).permutation(count))


# --- the first object -------------------------------------------------------------------------


def best_constant(
    amplitude: Float32[Tensor, "J n n"],
    probe: Complex64[Tensor, "*m n n"],
    known: Bool[Tensor, "n n"] | None = None,
) -> float:
    """The constant object a whose patterns fit the measured amplitudes best, by least squares.

    a = sum X B / sum B^2 over all known pixels of all patterns, B = |far_field(probe)|.
    """
    flat = torch.ones(probe.shape[-2:], dtype=probe.dtype)
    pattern = diffract(probe, flat).double()
    pattern = pattern if known is None else pattern * known
    mean = amplitude.mean(dim=0, dtype=torch.float64)
    return float((mean * pattern).sum() / pattern.square().sum())


def flat_object(
    amplitude: Float32[Tensor, "J n n"],
    probe: Complex64[Tensor, "*m n n"],
    shape: tuple[int, int],
    known: Bool[Tensor, "n n"] | None = None,
) -> Complex64[Tensor, "h w"]:
    """The best constant as an object of `shape`."""
    return torch.full(shape, best_constant(amplitude, probe, known), dtype=torch.complex64)


# --- one step ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Engine:
    """What stays the same in a pass; `amplitude` and `known`: zero frequency first.

    `shift_px`: where positions are refined, the shift of each, which grows in place.
    """

    amplitude: Float32[Tensor, "J n n"]
    windows: Windows
    alpha: float
    update_probe: bool
    known: Bool[Tensor, "n n"] | None = None
    shift_px: Float32[Tensor, "J 2"] | None = None

    def positions_px(
        self, given: Float32[Tensor, "J 2"], shape: tuple[int, int]
    ) -> Float32[Tensor, "J 2"]:
        """`given` with the shifts found; their mean stays zero, since it belongs to the object."""
        assert self.shift_px is not None, "positions are refined"
        free = self.shift_px - self.shift_px.mean(dim=0)
        return moved(given, free, self.windows.n, shape)

    def moved(self, given: Float32[Tensor, "J 2"], shape: tuple[int, int]) -> _Engine:
        """The same with its windows where the shifts say."""
        return replace(
            self, windows=Windows(self.positions_px(given, shape), self.windows.n, shape)
        )

    def step(
        self,
        obj: Complex64[Tensor, "h w"],
        probe: Complex64[Tensor, "*m n n"],
        chosen: Int64[Tensor, " b"],
    ) -> tuple[Complex64[Tensor, "*m n n"], float]:
        """One update from the chosen patterns: `obj` in place; the new probe, sum |X - A_pred|.

        Object and probe each move from the object and the probe before the step.
        """
        # Several patterns light most of the object; the whole of it keeps old results to the bit.
        y0, x0, y1, x1 = self.windows.box(chosen) if len(chosen) == 1 else (0, 0, *obj.shape)
        here = obj[y0:y1, x0:x1]
        move, seen = torch.zeros_like(here), torch.zeros(here.shape)
        intensity = _summed(probe.abs().square(), 0, probe)
        probe_move, patch_seen = torch.zeros_like(probe), torch.zeros(probe.shape[-2:])
        error = 0.0
        for some in chosen.split(CHUNK):
            patch = self.windows.extract(obj, some)
            correction, wrong = self._correction(probe, patch, some)
            error += wrong
            self.windows.add(move, (y0, x0), _summed(probe.conj() * correction, 1, probe), some)
            self.windows.add(seen, (y0, x0), intensity.expand(len(some), -1, -1), some)
            if self.update_probe:
                pull = _for_modes(patch, probe).conj() * correction
                probe_move = probe_move + pull.sum(dim=0)
                patch_seen = patch_seen + patch.abs().square().sum(dim=0)
            if self.shift_px is not None:
                self.shift_px[some] += shift_step(probe, patch, correction)
        here += move / regularised(seen, self.alpha)
        if self.update_probe:
            probe = probe + probe_move / regularised(patch_seen, PROBE_ALPHA)
        return probe, error

    def _correction(
        self,
        probe: Complex64[Tensor, "*m n n"],
        patch: Complex64[Tensor, "b n n"],
        chosen: Int64[Tensor, " b"],
    ) -> tuple[Complex64[Tensor, "b *m n n"], float]:
        """exit' - exit as `optics.back_projection.replace_modulus`, and the sum |X - A_pred|."""
        amplitude = self.amplitude[chosen]
        # Contiguous: a probe whose columns are contiguous hands its layout on to the transform.
        wave = probe * _for_modes(patch, probe)
        field = torch.fft.fft2(wave, norm="ortho").contiguous()
        together = field if probe.ndim == 2 else field.abs().square().sum(dim=1).sqrt() + 0j
        change, modulus = modulus_change(together, amplitude, self.known)
        torch.view_as_real(field).mul_(_for_modes(change, probe)[..., None])
        # Summed in the order of the detector's pixels: the last digit of R depends on it.
        wrong = torch.fft.fftshift((modulus - amplitude).abs(), dim=(-2, -1))
        wrong = wrong if self.known is None else wrong * torch.fft.fftshift(self.known)
        return torch.fft.ifft2(field, norm="ortho"), float(wrong.sum(dtype=torch.float64))


def _for_modes(each: Tensor, probe: Complex64[Tensor, "*m n n"]) -> Tensor:
    """One array per pattern (b, n, n), ready to meet every mode of the probe."""
    return each if probe.ndim == 2 else each[:, None]


def _summed(each: Tensor, axis: int, probe: Complex64[Tensor, "*m n n"]) -> Tensor:
    """The sum over the axis of the modes, where the probe has one."""
    return each if probe.ndim == 2 else each.sum(dim=axis)
