"""What a command asks of a scan file: one object from the command line to the import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.formats.dataset import Dataset
from study.formats.importing import import_scan
from study.formats.positions import Beside


@dataclass(frozen=True)
class ScanRequest:
    """What a user states about a scan.

    `overrides`: fields of `import_options.Overrides`; `probe`: a file whose probe replaces that of
    the scan; `beside`: what the file does not hold itself.
    """

    overrides: Mapping[str, Any] = field(default_factory=dict)
    probe: Path | None = None
    beside: Beside | None = None

    def given(self) -> list[str]:
        """Names of all that is not left to the file and the search."""
        more = {} if self.beside is None else vars(self.beside)
        every = {**self.overrides, **more, "probe": self.probe}
        return [name for name, value in every.items() if value is not None]

    def read(self, path: Path, name: str) -> Dataset:
        """The file as a data set in memory. Raises UserError as `import_scan`."""
        return import_scan(path, name, probe=self.probe, beside=self.beside, **self.overrides)
