"""Scores of a reconstructed object against the truth, by named metric sets.

Design choices
- Pure functions of arrays: numpy, scipy and scikit-image, no torch.
- A set is one file and one line in `METRIC_SETS`; a metric is one function and one line in its
  set's table.
- The gate is asked before any score and is in every result. It blanks `standard`; `published`
  prints its numbers beside it.
- A number or null, never NaN, never a string; every null has its sentence in `reasons`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from study.metrics.gate import gate
from study.metrics.pair import (
    ComparedImages,
    MetricSet,
    Pair,
    Undefined,
    amplitude_scale,
    checked_scene,
)
from study.metrics.published import PUBLISHED
from study.metrics.standard import STANDARD
from study.settings import UserError, nearest

METRIC_SETS: Mapping[str, MetricSet] = {"published": PUBLISHED, "standard": STANDARD}


def score(
    prediction: np.ndarray,
    truth: np.ndarray,
    metrics: str,
    mask: np.ndarray | None = None,
    remove_ramp: bool = False,
    patches: np.ndarray | None = None,
) -> dict[str, Any]:
    """Scores of a complex (h, w) prediction against the truth, both in object units.

    `metrics` names the set. `mask` (h, w) bool selects the illuminated pixels and `remove_ramp`
    removes a phase ramp (set `standard` only). `patches` (b, n, n) complex are the generator's
    outputs for different inputs, for the gate.

    Gives {"amplitude": {metric: number or None}, "phase": {...}, "gate": {channel: {"evaluable",
    "reason", "spread_ratio"}}, "extra": {...}, "reasons": {"channel.metric": sentence}}, with a
    reason for every None. Amplitude errors are in object units, phase errors in rad, PSNR in dB,
    frc50 in rings (`published`) or 1/px (`standard`).

    Raises UserError for an unknown set, images that are not complex, two-dimensional, finite, of
    one shape and at least 11 x 11 px, and options that the set does not have.
    """
    if metrics not in METRIC_SETS:
        raise UserError(f"no metric set {metrics!r}{nearest(metrics, METRIC_SETS)}")
    chosen = METRIC_SETS[metrics]
    scene, removed = chosen.align(checked_scene(prediction, truth, mask), remove_ramp)
    verdicts = gate(scene, patches)
    reasons: dict[str, str] = {}
    scale = _value(amplitude_scale, scene, "extra.amplitude_scale", reasons)
    channels = {
        channel: _channel(chosen, channel, scene, verdicts[channel]["reason"], reasons)
        for channel in chosen.channels
    }
    extra = {"amplitude_scale": scale, **removed}
    return {**channels, "gate": verdicts, "extra": extra, "reasons": reasons}


def _channel(
    chosen: MetricSet,
    channel: str,
    scene: ComparedImages,
    degenerate: str | None,
    reasons: dict[str, str],
) -> dict[str, float | None]:
    """Every metric of one channel, or nulls when the gate or the channel itself forbids it."""
    try:
        if chosen.gate_blanks and degenerate:
            raise Undefined(f"not evaluable: {degenerate}")
        pair = chosen.channels[channel](scene)
    except Undefined as reason:
        reasons.update({f"{channel}.{name}": str(reason) for name in chosen.metrics})
        return dict.fromkeys(chosen.metrics)
    return {
        name: _value(metric, pair, f"{channel}.{name}", reasons)
        for name, metric in chosen.metrics.items()
    }


def _value(
    function: Callable[[Any], float],
    given: Pair | ComparedImages,
    key: str,
    reasons: dict[str, str],
) -> float | None:
    try:
        value = float(function(given))
    except Undefined as reason:
        reasons[key] = str(reason)
        return None
    if math.isfinite(value):
        return value
    reasons[key] = f"the value is {value}: the images are too large or too small for it"
    return None
