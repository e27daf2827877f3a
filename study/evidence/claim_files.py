"""The files from which the numbers of a claim were computed, with their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from study.evidence.claim_finding import Evidence
from study.evidence.comparison import Comparison, Side
from study.evidence.metric_catalog import CHECKPOINTS
from study.reading import hash_of_file


def files_behind(comparison: Comparison, root: Path) -> list[Evidence]:
    """Files and hashes: the result of each seed, and the artifacts from which it was computed."""
    return list({item.file: item for item in _files(comparison, root)}.values())


def _files(comparison: Comparison, root: Path) -> Iterator[Evidence]:
    for side in comparison.sides:
        results = side.results
        for seed, content in (results.seeds if results else {}).items():
            if results is None or (seed not in comparison.seeds and not side.has_one_value):
                continue
            file, run = results.files[seed], f"{side.name} s{seed}"
            path = file.relative_to(root).as_posix()
            yield Evidence(run=run, file=path, sha256=hash_of_file(file), in_git=True)
            for artifact, digest in _artifacts(comparison.claim.metric, side, content):
                yield Evidence(run=run, file=artifact, sha256=digest, in_git=False)


def _artifacts(metric: str, side: Side, content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(file, hash) of the artifacts used by the metric; none for a recorded study, whose runs are
    in another folder."""
    checkpoint = "best" if side.is_baseline else metric.partition(".")[0]
    objects = (checkpoint,) if checkpoint in CHECKPOINTS else CHECKPOINTS
    wanted = {"history.csv", *(f"object_{name}.npz" for name in objects)}
    if metric == "training.gradient_ratio":
        wanted.add("gradients.jsonl")
    if "/" in side.name:
        return []
    return [(f, digest) for f, digest in content["evidence"].items() if Path(f).name in wanted]
