"""The settings that act: how two rows differ, and under which hash a run is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from study.settings.arm import GeneratorParams
from study.settings.base import Model, Scalar
from study.settings.study import Row

PROSE = ("asks", "versus", "changes", "seeds")
# Sections that came later: absent from the settings, and so from the hashes, of arms without them.
OPTIONAL = ("survival",)
# Settings that only decide which extra files a run keeps; not hashed.
IDLE = ("survival.traced_seed",)
# When the rule itself changes, its limit has another unit: one factor, not two.
TIED = {"clip.gradient_clip_algorithm": ("clip.gradient_clip_val", "clip.exclude_head")}


def leaves(row: Row) -> dict[str, Scalar]:
    """Every setting that acts, as dotted name -> value; prose and the list of seeds left out."""
    flat: dict[str, Scalar] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, GeneratorParams):
            value = value.flat()
        if isinstance(value, Model):
            value = {key: getattr(value, key) for key in type(value).model_fields}
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        elif prefix not in IDLE:
            flat[prefix] = value

    acting = {k: getattr(row, k) for k in type(row).model_fields if k not in PROSE}
    walk("", {k: v for k, v in acting.items() if v is not None or k not in OPTIONAL})
    return flat


def diff(a: Row, b: Row) -> dict[str, tuple[Scalar, Scalar]]:
    """The factors in which two rows differ: dotted name -> (value in a, value in b).

    A field that only one of them has belongs to the change of name that brings it, and the limit of
    a clip rule belongs to the rule: each is one factor.
    """
    left, right = leaves(a), leaves(b)
    changed = {k: (left[k], right[k]) for k in left if k in right and left[k] != right[k]}
    for rule, tied in TIED.items():
        if rule in changed:
            changed = {key: pair for key, pair in changed.items() if key not in tied}
    return changed


def run_hash(row: Row, seed: int, data_hash: str, fingerprint: str) -> str:
    """Name of a run's live folder: what is trained, on which data, by which behaviour.

    Editing prose or adding a seed does not change the hashes of other runs.
    """
    content = json.dumps([leaves(row), seed, data_hash, fingerprint], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
