"""Whether the patterns agree with each other as well as photon noise lets them.

The search for conventions and scale finds the best of its readings, and faults that none of them
has leave all readings bad: a frame lost, lines in another order, a drift, light that was added. The
misfit of the best one is compared with that of photon noise alone. Simulated scans without a fault
are within twice that noise after `PASSES` passes; those with one are 2.7 times above it and
more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.special
from jaxtyping import Float64

from study.formats.scales import PASSES, misfit_at
from study.formats.trial import Convention, Prepared, Scan, Trial

# Misfit from which on a scan agrees poorly, and how far above that of noise. Measured scans of
# bright light end at about 0.1, far above their photon noise, and are good.
POOR, ABOVE_NOISE = 0.2, 2.3
BETTER = 0.8  # of the misfit: another order of the frames counts as the cause
FAINT = 20.0  # photons; above, the spread of the square root no longer changes
MOST_PHOTONS = 60  # of a pixel with FAINT photons on average: more do not occur


def describe_agreement(scan: Scan, convention: Convention, misfit: float) -> tuple[str, ...]:
    """The warning about patterns that agree poorly; empty where they agree.

    `misfit`: of `study.formats.scales.misfit_at` after `PASSES` passes at the scale that fits best.
    """
    prepared = Trial(scan).prepared(convention)
    if prepared is None:
        return ()
    photons = prepared.amplitude.astype(np.float64) ** 2
    # Pixels in other units than photons do not show their noise.
    whole = np.allclose(photons, np.round(photons), rtol=1e-4, atol=1e-3)
    noise = noise_misfit(prepared) if whole else 0.0
    if not misfit > max(POOR, ABOVE_NOISE * noise):
        return ()
    order = _better_order(scan, convention, misfit)
    hint = (
        f"positions {order[0]} fit better (misfit {order[1]:.3f}): check which frame has which "
        "position"
        if order is not None
        else "check the positions (order, drift, a frame lost or counted twice), the probe, and "
        "whether the pixels are counts without background"
    )
    return (
        f"warning: the patterns agree poorly with each other (misfit {misfit:.3f}; photon noise "
        f"alone leaves {f'{noise:.3f}' if whole else 'an unknown part, as pixels are not whole'}); "
        f"{hint}",
    )


def noise_misfit(prepared: Prepared) -> float:
    """The misfit that photon noise alone leaves, the pixels taken as numbers of photons.

    A pixel counts with its mean over the patterns: single numbers of few photons say little.
    """
    photons = np.mean(prepared.amplitude.astype(np.float64) ** 2, axis=0)
    deviation = len(prepared.amplitude) * float(_deviation(photons)[prepared.known].sum())
    return deviation / max(float(prepared.amplitude.sum(dtype=np.float64)), 1e-300)


def _deviation(photons: Float64[np.ndarray, "m m"]) -> Float64[np.ndarray, "m m"]:
    """Mean |sqrt(N) - sqrt(photons)| of Poisson numbers N with the mean `photons`."""
    means = np.concatenate([np.linspace(0, 1, 41), np.linspace(1, FAINT, 77)[1:]])
    counts = np.arange(MOST_PHOTONS)[:, None]
    chance = np.exp(scipy.special.xlogy(counts, means) - means - scipy.special.gammaln(counts + 1))
    expected = (chance * np.abs(np.sqrt(counts) - np.sqrt(means))).sum(axis=0)
    return np.interp(photons, means, expected)


def _better_order(scan: Scan, convention: Convention, misfit: float) -> tuple[str, float] | None:
    """Another order of the frames that fits clearly better, in words, and its misfit."""
    places = scan.positions_px
    orders = {
        "of the frame before": np.roll(places, 1, axis=0),
        "of the frame after": np.roll(places, -1, axis=0),
        "in the reverse order": places[::-1],
    }
    found: dict[str, float] = {}
    for name, moved in orders.items():
        prepared = Trial(replace(scan, positions_px=moved)).prepared(convention)
        if prepared is not None:
            found[name] = misfit_at(prepared, 1.0, PASSES)
    best = min(found, key=lambda name: found[name], default=None)
    return None if best is None or found[best] >= BETTER * misfit else (best, found[best])
