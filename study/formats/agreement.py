"""Whether the patterns agree with each other, and with the stored probe.

The search for conventions and scale finds the best of its readings, and faults that none of them
has leave all readings bad: a frame lost, lines in another order, a drift, light that was added. The
misfit of the best one is compared with that of photon noise alone. Simulated scans without a fault
are within twice that noise after `PASSES` passes; those with one have 2.7 times that and more.

The same fit refines the probe. On simulated scans it finds the true one whatever defocus the stored
one had, up to its noise: 1 - correlation is 0.001 with 10^6 photons per pattern, 0.02 with 3,000,
0.03 with 1,000. A larger distance is the error of the stored probe. From 0.006 on, an
object reconstructed with the stored probe held has more than three times the error.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.special
from jaxtyping import Float64

from study.formats.conventions import similarity
from study.formats.scales import PASSES, fit_at, misfit_at
from study.formats.trial import Convention, Prepared, Trial, TrialScan

# Misfit from which on a scan agrees poorly, and how far above that of noise. Measured scans of
# bright light end at about 0.1, far above their photon noise, and are good.
POOR, ABOVE_NOISE = 0.2, 2.3
BETTER = 0.8  # of the misfit: another order of the frames counts as the cause
# 1 - correlation of the stored probe with the fitted one, from which on it is another probe: the
# first, and the second over the photons per pattern.
OTHER_PROBE, OF_NOISE = 0.005, 60.0
MOST_OF_NOISE = 0.1  # also where pixels are not photons, and their noise is unknown
FAINT = 20.0  # photons; above, the spread of the square root no longer changes
MOST_PHOTONS = 60  # of a pixel with FAINT photons on average: more do not occur


def describe_fit(scan: TrialScan, convention: Convention) -> tuple[str, ...]:
    """Sentences on the fit of the scan as `convention` reads it, warnings where it is poor.

    Whether the stored probe explains the patterns, and whether they agree with each other. Empty
    where nothing can be compared.
    """
    prepared = Trial(scan).prepared(convention)
    if prepared is None:
        return ()
    misfit, fitted = fit_at(prepared, 1.0, PASSES)
    if not np.isfinite(misfit):
        return ()
    photons = prepared.amplitude.astype(np.float64) ** 2
    # Pixels in other units than photons do not show their noise.
    whole = np.allclose(photons, np.round(photons), rtol=3e-7, atol=1e-3)
    brightness = float(photons.sum(axis=(1, 2)).mean()) if whole else None
    probe = _probe(similarity(prepared.probe, fitted), brightness)
    noise = noise_misfit(prepared) if whole else None
    if not misfit > max(POOR, ABOVE_NOISE * (noise or 0.0)):
        return probe
    order = _better_order(scan, convention, misfit)
    hint = (
        f"positions {order[0]} fit better (misfit {order[1]:.3f}): check which frame has which "
        "position"
        if order is not None
        else "check the positions (order, drift, a frame lost or counted twice), the probe, and "
        "whether the pixels are counts without background"
    )
    left = "an unknown part, as pixels are not whole" if noise is None else f"{noise:.3f}"
    return (
        *probe,
        f"warning: the patterns agree poorly with each other (misfit {misfit:.3f}; photon noise "
        f"alone leaves {left}); {hint}",
    )


def _probe(same: float, photons: float | None) -> tuple[str, ...]:
    """The sentence on a stored probe whose correlation with the fitted one is `same`.

    `photons`: per pattern; None where pixels are in other units.
    """
    noise = MOST_OF_NOISE if photons is None else min(OF_NOISE / photons, MOST_OF_NOISE)
    if not 1 - same > OTHER_PROBE + noise:
        return (f"probe: agrees with the patterns (correlation with a fitted one {same:.3f})",)
    return (
        f"warning: the patterns fit a probe other than the stored one (correlation {same:.3f}); "
        "check its defocus and pixel size. `study reconstruct rpie` refines it by default; its "
        "output given by `--probe` replaces the stored one, which networks use",
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


def _better_order(
    scan: TrialScan, convention: Convention, misfit: float
) -> tuple[str, float] | None:
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
