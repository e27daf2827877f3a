"""Git merge driver for findings.json: our file with the verdict histories of both sides.

    merge_findings.py BASE OURS THEIRS      (git's %O %A %B; the result goes to OURS)

findings.json is computed; only the history of each claim is not stored anywhere else. The merge of
dvc.lock omits the stage that both sides ran, so that the next `dvc repro` computes everything else
again from the merged results.
"""

import sys
from pathlib import Path
from typing import Any

from merge_sides import run

from study.evidence.model import parse
from study.evidence.packing import packed, text_of, unpacked
from study.reading import read_mapping
from study.runs import write_text


def merge(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """`ours` with the claims that are only in `theirs`, and both histories of each claim."""
    merged = dict(ours)
    for part in ("claims", "superseded"):
        left, right = ours.get(part, {}), theirs.get(part, {})
        merged[part] = {
            name: _joined(left.get(name), right.get(name))
            for name in dict.fromkeys([*left, *right])
        }
    for name in merged["claims"]:
        merged["superseded"].pop(name, None)
    return merged


def _joined(ours: Any, theirs: Any) -> Any:
    if ours is None or theirs is None:
        return ours or theirs
    return {**ours, "history": _history(ours.get("history", []), theirs.get("history", []))}


def _history(ours: list[Any], theirs: list[Any]) -> list[Any]:
    """All verdicts of both sides without repetitions, by date; our current one remains last."""
    lost = [verdict for verdict in theirs if verdict not in ours]
    if not lost:
        return ours
    earlier = sorted([*ours[:-1], *lost], key=lambda verdict: str(verdict.get("date")))
    return [*earlier, *ours[-1:]]


def side(path: Path) -> dict[str, Any]:
    """The content of one side. Raises UserError unless it is a whole findings.json."""
    content = unpacked(read_mapping(path) or {}, str(path))
    parse(content, path)
    return content


def main(_base: Path, ours: Path, theirs: Path) -> int:
    left, right = side(ours), side(theirs)
    write_text(ours, text_of(packed(parse(merge(left, right), ours))))
    print("findings.json: histories merged; run `dvc repro` to update it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run("merge_findings", main)
