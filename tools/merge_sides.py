"""What the git merge drivers of this folder share: their arguments, and errors as sentences."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from study.reading import UserError
from study.terminal import cleaned_output, plain_errors


def run(program: str, main: Callable[[Path, Path, Path], int]) -> NoReturn:
    """Call `main` with BASE OURS THEIRS and end with its exit code; 2 after an error, which leaves
    OURS as it was. For git, every code but 0 is a conflict.
    """
    with cleaned_output(), plain_errors(program):
        given = sys.argv[1:]
        if len(given) < 3:
            raise UserError(
                f"{len(given)} arguments; accepted: the files BASE OURS THEIRS, git's %O %A %B"
            )
        base, ours, theirs = map(Path, given[:3])
        raise SystemExit(main(base, ours, theirs))
