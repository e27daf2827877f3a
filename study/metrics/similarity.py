"""Structural similarity with a 7 x 7 uniform window, at one scale and at five.

    SSIM = (2 ma mb + C1) (2 sab + C2) / ((ma^2 + mb^2 + C1) (sa^2 + sb^2 + C2))

with C1 = (0.01 R)^2, C2 = (0.03 R)^2, sample (co)variances (Wang et al., IEEE TIP 13, 600, 2004).
The local map is scikit-image's. Only windows inside image and mask count, so no border rule and no
dark pixel enters a score. The data range R is always the caller's: it decides the score, and the
two metric sets differ above all in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import minimum_filter

from study.metrics.pair import Undefined

WINDOW_PX = 7
INNER = (slice(WINDOW_PX // 2, -(WINDOW_PX // 2)),) * 2
NO_WINDOW = f"no {WINDOW_PX} x {WINDOW_PX} window lies inside image and mask"
# Wang, Simoncelli, Bovik, Asilomar 2003.
LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(
    prediction: Float[np.ndarray, "h w"],
    truth: Float[np.ndarray, "h w"],
    data_range: float,
    mask: Bool[np.ndarray, "h w"],
) -> float:
    """Mean local SSIM over the windows inside the mask; `data_range` in the images' unit.

    Raises Undefined when the range is 0 or when no window fits.
    """
    # Half a second of import that readers of stored scores need not pay.
    from skimage.metrics import structural_similarity

    if data_range <= 0:
        raise Undefined("the data range is 0 (flat images), so SSIM has no scale")
    inside = windows_inside(mask)
    if not inside.any():
        raise Undefined(NO_WINDOW)
    maps = structural_similarity(
        truth, prediction, win_size=WINDOW_PX, data_range=data_range, full=True
    )
    return float(np.asarray(maps[1])[INNER][inside].mean())


def windows_inside(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "rows columns"]:
    """Which window centres, of those inside the image, have all their pixels in the mask."""
    return minimum_filter(mask, size=WINDOW_PX)[INNER]


def ssim_by_level(
    prediction: Float[np.ndarray, "h w"],
    truth: Float[np.ndarray, "h w"],
    data_range: float,
    mask: Bool[np.ndarray, "h w"],
    shrink: Callable[[np.ndarray], np.ndarray],
) -> Iterator[tuple[float, float]]:
    """(weight, full SSIM) of up to five levels; `shrink` makes the next.

    It ends where no window fits: under 7 px, or in what is left of the mask.
    """
    for weight in LEVEL_WEIGHTS:
        if not windows_inside(mask).any():
            return
        yield weight, ssim(prediction, truth, data_range, mask)
        prediction, truth = shrink(prediction), shrink(truth)
        # A shrunk pixel counts when every pixel it was made of counts.
        mask = shrink(mask.astype(float)) == 1
