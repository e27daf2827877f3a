"""Git merge driver for provenance/: of two records of the same outputs, keep the earlier one.

    merge_provenance.py BASE OURS THEIRS    (git's %O %A %B; the result goes to OURS)

If two clones compute the same run, their records describe equal outputs with different machines and
dates. The record of the run that ended first is kept. Records of different outputs are a conflict,
like the results themselves.
"""

import json
import sys
from pathlib import Path
from typing import Any

from merge_sides import run

from study.reading import UserError, read_mapping
from study.runs import write_json
from study.runs.provenance import read_provenance


def merge(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any] | None:
    """The earlier record; None if the two describe different outputs."""
    if ours["outputs"] != theirs["outputs"]:
        return None
    return min(ours, theirs, key=_order)


def _order(record: dict[str, Any]) -> tuple[str, str]:
    """Key for the order: dates are ISO 8601 in UTC; a record without a date counts as the later
    one."""
    return record.get("ended") or "~", json.dumps(record, sort_keys=True)


def side(path: Path) -> dict[str, Any]:
    """The record of one side. Raises UserError unless it is a whole record."""
    content = read_mapping(path)
    if content is None or read_provenance(path) is None:
        raise UserError(f"{path} does not exist; accepted: a file of provenance/")
    return content


def main(_base: Path, ours: Path, theirs: Path) -> int:
    merged = merge(side(ours), side(theirs))
    if merged is None:
        print(
            "provenance: the records describe different outputs; keep the file that belongs to the "
            "results you keep",
            file=sys.stderr,
        )
        return 1
    write_json(ours, merged)
    return 0


if __name__ == "__main__":
    run("merge_provenance", main)
