"""Which scores exist: the single rule for "not evaluable", shared by tables, pages and claims.

A reconstruction has no score if the degeneracy gate fails (`study.metrics.gate`: a constant
reconstruction, or a flat true object), or if the phase of the network does not follow the counts.
Both are stored per seed, checkpoint and channel in `gate`, with the reason. A failed run has no
score either, but since there was nothing to evaluate, its cell is empty, not "not evaluable".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.arms import block, lookup
from study.evidence.metric_catalog import CHECKPOINTS, find_column

NOT_EVALUABLE = "not evaluable"
ABSENT = "–"
PRIOR = "phase follows a prior"
# Smallest correlation of a retrieved phase with the true one (observed: 0.99 for networks that
# retrieve the phase, below 0.3 for networks that copy it from the amplitude).
FOLLOWS = 0.8

Content = Mapping[str, Any]


def follows(correlations: Mapping[str, float | None]) -> bool:
    """Whether a network retrieves the phase, by its foreign-phase test.

    The correlation of its phase with the true one must be at least `FOLLOWS`, and larger than that
    with the function of the amplitude. A missing correlation (constant phase) fails the test.
    """
    truth, copied = correlations["truth"], correlations["from_amplitude"]
    return truth is not None and truth >= FOLLOWS and (copied is None or truth > copied)


def gate_of(content: Content, checkpoint: str, channel: str) -> Mapping[str, Any] | None:
    """The stored gate of one channel of a reconstruction; None if nothing was scored."""
    return lookup(block(content, checkpoint) or {}, ("gate", channel))


def why_not(content: Content, checkpoint: str, channel: str) -> str | None:
    """Why a channel of a reconstruction is not evaluable; None if it is or was not scored."""
    gate = gate_of(content, checkpoint, channel)
    return None if gate is None or gate["evaluable"] else gate["reason"] or NOT_EVALUABLE


def blanks(content: Content, checkpoint: str) -> dict[str, str]:
    """Channel -> why it has no score, for the reconstruction of one seed."""
    channels = lookup(block(content, checkpoint) or {}, ("gate",)) or {}
    found = {channel: why_not(content, checkpoint, channel) for channel in channels}
    return {channel: reason for channel, reason in found.items() if reason is not None}


def is_constant(content: Content, checkpoint: str) -> bool:
    """Whether the reconstruction is constant: its amplitude fails the gate, but the true one is not
    flat."""
    gate = gate_of(content, checkpoint, "amplitude")
    return gate is not None and not gate["evaluable"] and gate["spread_ratio"] is not None


def degenerate(seeds: Mapping[int, Content]) -> dict[str, dict[str, str]]:
    """checkpoint.channel -> s<seed> -> why it has no score, over the seeds of an arm."""
    found: dict[str, dict[str, str]] = {}
    for checkpoint in CHECKPOINTS:
        for seed, content in seeds.items():
            for channel, reason in blanks(content, checkpoint).items():
                found.setdefault(f"{checkpoint}.{channel}", {})[f"s{seed}"] = reason
    return found


def reasons(path: str, found: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """s<seed> -> why it has no score at `path`. `found`: result of `degenerate` for the arm.

    Empty for numbers without a channel, such as losses. A gap needs both of its scores.
    """
    checkpoint = path.partition(".")[0]
    both = CHECKPOINTS if checkpoint == "gap" else (checkpoint,)
    channel = find_column(path).channel
    return {s: why for one in both for s, why in found.get(f"{one}.{channel}", {}).items()}


def why_absent(content: Content, path: str) -> str:
    """Why a seed has no number at `path`."""
    checkpoint, _, number = path.partition(".")
    reason = lookup(block(content, checkpoint) or {}, ("reasons", number))
    if reason is None and content["cause"]:
        return f"{content['outcome']}: {content['cause']}"
    return str(reason or "the run has no such number")
