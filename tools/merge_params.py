"""Git merge driver for params.yaml and claims.yaml: their entries merged by name, comments kept.

    merge_params.py BASE OURS THEIRS        (git's %O %A %B; the result goes to OURS)

Two arms that start from the same one share most of their lines. Merging by lines joins halves of
them into one entry with every key twice (`merge=union` did so without a word), so whole entries are
merged: `arms.control` is one, with the comment above it, and so is a claim. An entry that both
sides changed differently gets git's usual marks, in the whole file.
"""

import re
import subprocess
import sys
from pathlib import Path

Key = tuple[str, str]  # section and entry; "" for what stands before them
SECTION = re.compile(r"([A-Za-z_][\w.-]*):")
ENTRY = re.compile(r"  ([A-Za-z_][\w.-]*):")


class Conflict(Exception):
    """An entry was changed on both sides."""


def blocks(text: str) -> dict[Key, str]:
    """The text cut into entries, in order; blank lines and comments belong to what follows."""
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
    """The side that changed; ends of blocks differ by blank lines when something follows."""
    old, left, right = (None if text is None else text.strip("\n") for text in (base, ours, theirs))
    if left == old and right != old:
        return theirs
    if right in (old, left):
        return ours
    raise Conflict


def _order(ours: list[Key], theirs: list[Key]) -> list[Key]:
    """Our order; what only they have comes at the end of its section, or of the file."""
    order = list(ours)
    for key in theirs:
        if key not in order:
            same = [at for at, other in enumerate(order) if other[0] == key[0]]
            order.insert(same[-1] + 1 if same else len(order), key)
    return order


def main(base: Path, ours: Path, theirs: Path) -> int:
    try:
        text = merge(*(path.read_text() for path in (base, ours, theirs)))
    except Conflict:
        return subprocess.run(("git", "merge-file", ours, base, theirs), check=False).returncode
    ours.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*(Path(argument) for argument in sys.argv[1:4])))
