"""`study.load(run)`: network, arrays and metrics of one run folder, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from study.reading import real_path
from study.runs import RunFolder
from study.settings import UserError


@dataclass(frozen=True)
class Loaded:
    """One run. Every attribute is read from disk on first access.

    `status`, `settings` (effective), `history` (a data frame), `reconstruction("best" | "last")`,
    `metrics` (the scored JSON, None before `study evaluate`), `network("best" | "last")`.
    """

    folder: Path

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder)

    @cached_property
    def status(self) -> dict[str, Any]:
        return self.run.status()

    @cached_property
    def settings(self) -> Any:
        from study.settings import read_yaml

        return read_yaml(self.folder / "params.yaml")

    @cached_property
    def history(self) -> Any:
        return self.run.history()

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        from study.evidence.arms import read_seed

        root, arm, seed = self.folder.parents[2], self.folder.parent.name, self.folder.name
        file = root / "results" / arm / "seeds" / f"{seed}.json"
        return {**read_seed(file)} if file.is_file() else None

    def reconstruction(self, checkpoint: str = "last") -> Any:
        """The stored `Reconstruction`: object, region, R-factor per pattern, probe."""
        from study.formats.reconstruction import load_reconstruction

        return load_reconstruction(self.run.object_file(checkpoint))

    def network(self, checkpoint: str = "last") -> Any:
        """The trained network, in evaluation mode, with the weights of a checkpoint."""
        from study.training.reconstruct import load_generator

        return load_generator(self.run, checkpoint)


def load(run: str | Path) -> Loaded:
    """One run folder, such as runs/control/s1. Raises UserError for any other folder."""
    folder = real_path(Path(run))
    if not (folder / "status.json").is_file():
        raise UserError(f"{run} is not a run folder: it has no status.json; try runs/ARM/sSEED")
    return Loaded(folder)
