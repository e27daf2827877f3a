"""Which scores exist: the one rule for "not evaluable", which tables, pages and claims share.

A score of a reconstruction does not exist where the degeneracy gate fails (`study.metrics.gate`: a
constant, or a flat truth), or where the network's phase does not follow the counts. Both are stored
per seed, checkpoint and channel under `gate`, with the reason. A run that failed has no score
either, but nothing was judged: its cell is empty, not "not evaluable".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.arms import block, lookup
from study.evidence.metric_catalog import CHECKPOINTS, find_column

NOT_EVALUABLE = "not evaluable"
ABSENT = "–"
PRIOR = "phase follows a prior"
# A phase that follows the truth correlates with it by at least this much (evidence: 0.99 for
# networks that retrieve phase, below 0.3 for those that copy it).
FOLLOWS = 0.8

Content = Mapping[str, Any]


def follows(correlations: Mapping[str, float | None]) -> bool:
    """Whether a network retrieves phase, by its foreign-phase test.

    Its phase correlates with the truth by at least `FOLLOWS`, and more than with the function of
    the amplitude. No correlation (a constant phase) follows nothing.
    """
    truth, copied = correlations["truth"], correlations["from_amplitude"]
    return truth is not None and truth >= FOLLOWS and (copied is None or truth > copied)


def gate_of(content: Content, checkpoint: str, channel: str) -> Mapping[str, Any] | None:
    """The stored gate of one channel of a reconstruction; None where nothing was scored."""
    return lookup(block(content, checkpoint) or {}, ("gate", channel))


def why_not(content: Content, checkpoint: str, channel: str) -> str | None:
    """Why a channel of one seed's reconstruction has no score; None where it may have one."""
    gate = gate_of(content, checkpoint, channel)
    return None if gate is None or gate["evaluable"] else gate["reason"] or NOT_EVALUABLE


def blanks(content: Content, checkpoint: str) -> dict[str, str]:
    """channel -> why it has no score, of one seed's reconstruction."""
    channels = lookup(block(content, checkpoint) or {}, ("gate",)) or {}
    found = {channel: why_not(content, checkpoint, channel) for channel in channels}
    return {channel: reason for channel, reason in found.items() if reason is not None}


def is_constant(content: Content, checkpoint: str) -> bool:
    """Whether the reconstruction is a constant: its amplitude fails although the truth has one."""
    gate = gate_of(content, checkpoint, "amplitude")
    return gate is not None and not gate["evaluable"] and gate["spread_ratio"] is not None


def degenerate(seeds: Mapping[int, Content]) -> dict[str, dict[str, str]]:
    """checkpoint.channel -> seed -> why it has no score, over the seeds of an arm."""
    found: dict[str, dict[str, str]] = {}
    for checkpoint in CHECKPOINTS:
        for seed, content in seeds.items():
            for channel, reason in blanks(content, checkpoint).items():
                found.setdefault(f"{checkpoint}.{channel}", {})[f"s{seed}"] = reason
    return found


def reasons(path: str, found: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """seed -> why it has no score at `path`; `found`: of the arm, as `degenerate` gives it.

    Empty for numbers of the whole run, as losses. A gap needs both of its scores.
    """
    checkpoint = path.partition(".")[0]
    both = CHECKPOINTS if checkpoint == "gap" else (checkpoint,)
    channel = find_column(path).channel
    return {s: why for one in both for s, why in found.get(f"{one}.{channel}", {}).items()}


def why_absent(content: Content, path: str) -> str:
    """Why one seed has no number at `path`."""
    checkpoint, _, number = path.partition(".")
    reason = lookup(block(content, checkpoint) or {}, ("reasons", number))
    if reason is None and content["cause"]:
        return f"{content['outcome']}: {content['cause']}"
    return str(reason or "the run has no such number")
