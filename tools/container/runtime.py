"""Print a requirements file without development packages, for the installation in the image.

    python3 runtime.py requirements.lock development.txt

Standard library only: this runs before anything is installed. An entry is a line that starts with a
name, with the indented lines (hashes) below it.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path


def main() -> int:
    lock, development = (Path(name).read_text() for name in sys.argv[1:3])
    left_out = {name for name in development.split("\n") if name and not name.startswith("#")}
    sys.stdout.write("".join(kept(lock, left_out)))
    return 0


def kept(lock: str, left_out: set[str]) -> Iterator[str]:
    """The lines of `lock` that belong to entries not named in `left_out`."""
    keeping = True
    for line in lock.splitlines(keepends=True):
        if not line[0].isspace():
            keeping = name_of(line) not in left_out
        if keeping:
            yield line


def name_of(line: str) -> str:
    """Normalised name of the package that a requirement line pins; empty for a comment."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


if __name__ == "__main__":
    raise SystemExit(main())
