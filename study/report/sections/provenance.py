"""Where it all comes from: commits, data, environments, versions, hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.environment import version
from study.evidence.arms import sha256
from study.evidence.wording import counted, listed
from study.report.document import Block, Bullets, Code, Heading, Line, Table, paragraph, said
from study.report.gather import NAMED, STUDIES, Inputs

PACKAGES = ("armature", "numpy", "scipy", "pandas", "matplotlib", "fpdf2", "pypdf", "rocrate")
WIDTHS = (52, 24, 20, 40, 60)


def provenance(inputs: Inputs) -> list[Block]:
    return [
        Heading(2, "Provenance"),
        Bullets((*_commits(inputs), *_data(inputs), *_files(inputs))),
        *_environments(inputs.environments()),
        paragraph(
            f"Written by {listed(versions())}. Every input that was read lies beside this page "
            "under inputs/, with its hash in ro-crate-metadata.json. All numbers again: ",
            Code(_everything(inputs.findings)),
            ", then ",
            Code("make report"),
            ".",
        ),
    ]


def _everything(findings: Mapping[str, Any]) -> str:
    """What computes every number again: `dvc repro` takes recorded studies as they are."""
    recorded = any(name.startswith(f"{STUDIES}/") for name in findings["arms"])
    return "make repro-all" if recorded else findings["reproduce"]


def versions() -> list[str]:
    return [f"{name} {found}" for name in PACKAGES if (found := version(name))]


def _commits(inputs: Inputs) -> list[Line]:
    """Commits of the runs, with how many runs each has."""
    counts: dict[str, int] = {}
    for arm in inputs.arms.values():
        for content in arm.seeds.values():
            commit = content["code"]["commit"] or "no commit"
            counts[commit] = counts.get(commit, 0) + 1
    told = [(f"{counted(n, 'run')} of commit ", Code(commit)) for commit, n in counts.items()]
    return [(*line, ".") for line in told]


def _data(inputs: Inputs) -> list[Line]:
    return [
        (
            f"Data {listed(fence['paths'])}, sha256 ",
            Code(fence["sha256"] or "different in one arm"),
            f": {counted(len(fence['arms']), 'arm')}.",
        )
        for fence in inputs.findings["fences"]
    ]


def _files(inputs: Inputs) -> list[Line]:
    there = [name for name in NAMED if (inputs.root / name).is_file()]
    return [(f"{name}, sha256 ", Code(sha256(inputs.root / name)), ".") for name in there]


def _environments(found: Sequence[tuple[Mapping[str, Any], list[str]]]) -> list[Block]:
    if not found:
        return [said("Environments of the runs: not stored here; `study pull`.")]
    heads = ("runs", "device", "Python", "machine", "versions")
    rows = tuple(_row(environment, runs) for environment, runs in found)
    caption = f"Environments of n = {sum(len(runs) for _, runs in found)} runs."
    return [Table((caption,), heads, rows, WIDTHS, words=(0, 1, 2, 3, 4))]


def _row(environment: Mapping[str, Any], runs: Sequence[str]) -> tuple[Line, ...]:
    places = f"{runs[0]} to {runs[-1]}" if runs[1:] else runs[0]
    packages = environment.get("versions") or {}
    machine = f"{environment.get('processor')}, {environment.get('cores')} cores"
    return (
        (f"{counted(len(runs), 'run')}: {places}",),
        (str(environment.get("device") or "–"),),
        (str(environment.get("python")),),
        (f"{machine}; {environment.get('platform')}",),
        (listed(f"{name} {number}" for name, number in packages.items() if number),),
    )
