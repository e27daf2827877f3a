"""Git merge driver for dvc.lock: three-way merge of its stages by name.

    merge_dvclock.py BASE OURS THEIRS       (git's %O %A %B; the result goes to OURS)

A stage that one side changed is taken from that side. A stage that both sides changed differently
is omitted, and the next `dvc repro` records it again. A merge by lines could combine parts of two
stages.
"""

import sys
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from study.reading import read_text
from study.runs import write_text
from study.terminal import plain_errors


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
    documents = [yaml.load(read_text(path)) or {} for path in (base, ours, theirs)]
    stages = merge_stages(*(document.get("stages", {}) for document in documents))
    text = StringIO()
    yaml.dump({"schema": "2.0", "stages": stages}, text)
    write_text(ours, text.getvalue())
    return 0


if __name__ == "__main__":
    with plain_errors("merge_dvclock"):
        raise SystemExit(main(*(Path(argument) for argument in sys.argv[1:4])))
