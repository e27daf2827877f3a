"""Git merge driver for params.yaml and claims.yaml: their entries merged by name, comments kept.

    merge_params.py BASE OURS THEIRS        (git's %O %A %B; the result goes to OURS)

Two arms derived from the same arm share most of their lines. A merge by lines could combine parts
of them into one entry with duplicate keys (`merge=union` does so without a warning). Therefore
whole entries are merged, such as `arms.control` with the comment above it, or a claim. If both
sides changed an entry differently, the whole file gets git's conflict markers.

An arm that is written as `<<: *control` follows the merged control. Arms with settings that neither
side had are reported. A file in which an alias has lost its anchor must be corrected manually.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merge_sides import run

from study.reading import UserError, parse_yaml, read_yaml_text
from study.runs import write_text

Key = tuple[str, str]  # section and entry; "" for lines before the first one
SECTION = re.compile(r"([A-Za-z_][\w.-]*):")
ENTRY = re.compile(r"  ([A-Za-z_][\w.-]*):")


class Conflict(Exception):
    """An entry was changed on both sides."""


def blocks(text: str) -> dict[Key, str]:
    """The entries of a text in order; blank lines and comments belong to the entry below them."""
    found: dict[Key, list[str]] = {("", ""): []}
    key, waiting = ("", ""), []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            waiting.append(line)
            continue
        if match := SECTION.match(line):
            key = (match[1], "")
        elif (match := ENTRY.match(line)) and key[0]:
            key = (key[0], match[1])
        found.setdefault(key, []).extend([*waiting, line])
        waiting = []
    found[key].extend(waiting)
    return {name: "\n".join(lines) for name, lines in found.items()}


def merge(base: str, ours: str, theirs: str) -> str:
    """The merged text. Raises Conflict for an entry that both sides changed differently."""
    old, left, right = blocks(base), blocks(ours), blocks(theirs)
    merged = []
    for key in _order(list(left), list(right)):
        texts = [side.get(key) for side in (old, left, right)]
        kept = _kept(*texts)
        if kept is not None:
            merged.append(kept)
    return "\n".join(block for block in merged if block).strip("\n") + "\n"


def _kept(base: str | None, ours: str | None, theirs: str | None) -> str | None:
    """The side that changed an entry. Raises Conflict if both changed it differently.

    Blank lines at the ends of an entry are ignored, since they depend on its neighbours.
    """
    old, left, right = (None if text is None else text.strip("\n") for text in (base, ours, theirs))
    if left == old and right != old:
        return theirs
    if right in (old, left):
        return ours
    raise Conflict


def _order(ours: list[Key], theirs: list[Key]) -> list[Key]:
    """Our order; entries that are only in `theirs` are added at the end of their section or of the
    file."""
    order = list(ours)
    for key in theirs:
        if key not in order:
            same = [at for at, other in enumerate(order) if other[0] == key[0]]
            order.insert(same[-1] + 1 if same else len(order), key)
    return order


def followers(merged: str, sides: Mapping[Path, str]) -> list[str]:
    """Arms of the merged file with settings that neither side has. Raises UserError if the merged
    text or a side is not valid YAML, such as an alias without its anchor.
    """
    now = _arms(merged, "the merged file")
    before = [_arms(text, path) for path, text in sides.items()]
    return [name for name, arm in now.items() if all(old.get(name) != arm for old in before)]


def _arms(text: str, where: Path | str) -> dict[str, Any]:
    document = parse_yaml(text, where)
    arms = document.get("arms") if isinstance(document, dict) else None
    return arms if isinstance(arms, dict) else {}


def main(base: Path, ours: Path, theirs: Path) -> int:
    before = [read_yaml_text(path) for path in (base, ours, theirs)]
    try:
        text = merge(*before)
    except Conflict:
        return subprocess.run(("git", "merge-file", ours, base, theirs), check=False).returncode
    write_text(ours, text)
    try:
        changed = followers(text, {ours: before[1], theirs: before[2]})
    except UserError as error:
        print(f"merge_params: {error}; correct it, then `git add` the file", file=sys.stderr)
        return 1
    if changed:
        print(
            f"merge_params: {', '.join(map(str, changed))} follow the merged settings",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    run("merge_params", main)
