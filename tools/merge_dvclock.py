"""Git merge driver for dvc.lock: three-way merge of its stages by name.

    merge_dvclock.py BASE OURS THEIRS       (git's %O %A %B; the result goes to OURS)

A stage that one side changed is taken from that side. A stage that both sides changed differently
is omitted, and the next `dvc repro` records it again. A merge by lines could combine parts of two
stages.
"""

from io import StringIO
from pathlib import Path
from typing import Any

from merge_sides import run
from ruamel.yaml import YAML

from study.reading import UserError, parse_yaml, quoted, read_text
from study.runs import write_text


def merge_stages(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> dict[str, Any]:
    """Merged mapping of stages, sorted by name."""
    merged = {}
    for name in sorted({*base, *ours, *theirs}):
        old, left, right = (side.get(name) for side in (base, ours, theirs))
        kept = right if left == old else left if right in (old, left) else None
        if kept is not None:
            merged[name] = kept
    return merged


def stages_of(path: Path) -> dict[str, Any]:
    """The stages of one side; empty for an empty file, which git gives for a side without one.

    Raises UserError for a file that is not a dvc.lock.
    """
    document = parse_yaml(read_text(path), path, typ="rt")
    stages = document.get("stages") if isinstance(document, dict) else document
    if stages is None:
        return {}
    if not isinstance(stages, dict) or not all(isinstance(name, str) for name in stages):
        raise UserError(
            f"{path} holds {quoted(stages)}; accepted: `stages`, a mapping by the name of a stage; "
            "take one side whole (`git checkout --ours` or `--theirs`), then run `dvc repro`"
        )
    return stages


def main(base: Path, ours: Path, theirs: Path) -> int:
    yaml = YAML(typ="rt")
    yaml.default_flow_style = False
    stages = merge_stages(*(stages_of(path) for path in (base, ours, theirs)))
    text = StringIO()
    yaml.dump({"schema": "2.0", "stages": stages}, text)
    write_text(ours, text.getvalue())
    return 0


if __name__ == "__main__":
    run("merge_dvclock", main)
