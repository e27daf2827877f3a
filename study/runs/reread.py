"""Parse a file once per state of the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

Parsed = TypeVar("Parsed")


class Reread(Generic[Parsed]):
    """The result of `parse` for a file, computed once per state of the file.

        study_of = Reread(load_study)
        study_of(Path("params.yaml"))

    A state is modification time (ns), size and inode, so that a replaced file is detected even
    within the resolution of the clock. An error of `parse` is not cached.
    """

    def __init__(self, parse: Callable[[Any], Parsed]) -> None:
        self._parse = parse
        self._known: dict[str, tuple[tuple[int, int, int], Parsed]] = {}

    def __call__(self, path: Path | str) -> Parsed:
        """The parsed file. Raises OSError if the file is absent, and the errors of `parse`."""
        name = os.fspath(path)
        try:
            facts = os.stat(name)  # noqa: PTH116  (the page Runs asks for ten thousand files)
        except OSError:
            self._known.pop(name, None)
            raise
        state = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        known = self._known.get(name)
        if known is None or known[0] != state:
            known = self._known[name] = (state, self._parse(path))
        return known[1]
