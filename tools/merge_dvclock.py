"""Git merge driver for dvc.lock: three-way merge of its stages by name.

    merge_dvclock.py BASE OURS THEIRS       (git's %O %A %B; the result goes to OURS)

The side that changed a stage wins; a stage that both changed differently is left out, and the next
`dvc repro` derives it again. Text merging would join halves of two stages.
"""

import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


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


def main(base: Path, ours: Path, theirs: Path) -> int:
    yaml = YAML(typ="rt")
    yaml.default_flow_style = False
    documents = [yaml.load(path.read_text()) or {} for path in (base, ours, theirs)]
    stages = merge_stages(*(document.get("stages", {}) for document in documents))
    with ours.open("w") as stream:
        yaml.dump({"schema": "2.0", "stages": stages}, stream)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*(Path(argument) for argument in sys.argv[1:4])))
