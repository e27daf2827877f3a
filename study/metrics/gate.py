"""The degeneracy gate: is there anything to score, per channel?

A constant object has an amplitude SSIM of 0.277 on the study's test object, and a flat phase scores
0.84 to 1.00 there. Such numbers describe the truth, not the reconstruction, so this question comes
before every score:
- the truth's channel is flat: nothing could be got wrong;
- the prediction's spread is below 0.05 of the truth's: a constant;
- the generator gives the same output for different inputs, by the same limit. This is asked only
  when outputs are handed in, and channel by channel then. Outputs that are equal as complex numbers
  are equal in both channels; the stored results carry no more than that (one boolean).
Spread is std / mean for amplitude and std, about the mean direction, for phase.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from study.metrics.gauge import angle
from study.metrics.pair import ComparedImages
from study.settings import UserError

SPREAD_LIMIT = 0.05
# What complex64 rounding gives a channel that is flat by design is 1e-7.
FLAT_TRUTH = 1e-6

Values = Complex[np.ndarray, "b m"]


def gate(
    scene: ComparedImages, patches: Complex[np.ndarray, "b n n"] | None = None
) -> dict[str, dict[str, Any]]:
    """{channel: {"evaluable": bool, "reason": str | None, "spread_ratio": float | None}}.

    `spread_ratio` is the prediction's spread over the truth's, None for a flat truth. `patches` are
    the generator's outputs for b different inputs; without them that question is not asked.
    Raises UserError when b < 2.
    """
    if patches is not None and len(patches) < 2:
        raise UserError(
            f"got {len(patches)} patch; outputs for at least two different inputs are needed"
        )
    truth, prediction = scene.truth[scene.mask][None], scene.prediction[scene.mask][None]
    outputs = None if patches is None else patches.astype(np.complex128).reshape(len(patches), -1)
    return {
        channel: _judge(
            channel,
            _spread(channel, truth, axis=1),
            _spread(channel, prediction, axis=1),
            None if outputs is None else _spread(channel, outputs, axis=0),
        )
        for channel in ("amplitude", "phase")
    }


def _judge(channel: str, truth: float, prediction: float, outputs: float | None) -> dict[str, Any]:
    reason, ratio = None, None
    if truth <= FLAT_TRUTH:
        reason = f"flat truth {channel}"
    else:
        ratio = prediction / truth
        if ratio < SPREAD_LIMIT:
            reason = f"constant {channel}"
        elif outputs is not None and outputs < SPREAD_LIMIT * truth:
            reason = f"equal {channel} for different inputs"
    return {"evaluable": reason is None, "reason": reason, "spread_ratio": ratio}


def _spread(channel: str, values: Values, axis: int) -> float:
    """Root mean square over the other axis of the std along `axis`, over the mean for amplitude."""
    image = np.abs(values) if channel == "amplitude" else _centred_phase(values)
    spread = float(np.sqrt(image.var(axis=axis).mean()))
    if channel == "phase" or spread == 0:
        return spread
    return spread / float(image.mean())


def _centred_phase(values: Values) -> Float[np.ndarray, "b m"]:
    return angle(values * np.exp(-1j * np.angle(values.sum())))
