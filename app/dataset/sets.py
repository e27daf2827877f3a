"""The data sets that the checkout contains or declares, and their names in the URL.

quick               data/quick of the root pipeline
imported/siemens    a measured scan of the root pipeline
studies/dose_1e3    a data set of the pipeline in the folder studies
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from app import load
from study.formats.dataset import Manifest
from study.runs.seed_folders import held_seeds
from study.settings import NAME, DataParams, Study, UserError

ROOMS = ("data", "imported")
MOST_IMAGES = 1000  # offered for selection


@dataclass(frozen=True)
class Entry:
    """One data set: the folder of its pipeline ("" for the root pipeline) and its path there.

    `asked`: its parameters in params.yaml; None for a measured data set and for one that
    params.yaml does not declare. `seed`: if objects are drawn per seed (`seeds`), the seed whose
    objects are shown, otherwise None.
    """

    pipeline: str
    path: str
    asked: DataParams | None
    seed: int | None = None

    @property
    def id(self) -> str:
        name = self.path.removeprefix("data/")
        return f"{self.pipeline}/{name}" if self.pipeline else name

    @property
    def folder(self) -> Path:
        folder = load.ROOT / self.pipeline / self.path
        return folder if self.seed is None else folder / f"s{self.seed}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds whose objects are stored here."""
        return held_seeds(load.ROOT / self.pipeline / self.path)

    @property
    def here(self) -> bool:
        return (self.folder / "manifest.json").is_file()

    @property
    def measured(self) -> bool:
        return self.path.startswith("imported/")

    @property
    def how_to_get(self) -> str:
        """The commands that provide a missing data set, as a clause."""
        inside = f"cd {self.pipeline} && " if self.pipeline else ""
        if self.measured:
            pull = f"{self.path}" if not self.pipeline else f"{self.pipeline}/{self.path}"
            return f"`study pull {pull}`, or import the scan again with `{inside}study import`"
        brought = f"{self.pipeline}/data" if self.pipeline else "data"
        return f"`{inside}dvc repro data.dvc` simulates it; `study pull {brought}` downloads it"


def images_of(manifest: Manifest) -> int:
    """Objects per split according to the request, at most `MOST_IMAGES`; 1 if not stated."""
    stated = manifest.request.get("images_per_split")
    return min(max(stated, 1), MOST_IMAGES) if isinstance(stated, int) else 1


def entries() -> dict[str, Entry]:
    """All data sets by id, whether declared in a params.yaml or found on disk."""
    found: dict[str, Entry] = {}
    for pipeline in load.pipeline_names():
        study = _study(pipeline)
        declared = study.data if study else {}
        paths = dict.fromkeys([*(f"data/{name}" for name in declared), *_on_disk(pipeline)])
        paths |= dict.fromkeys(row.data for row in (study.arms.values() if study else ()))
        for path in paths:
            entry = Entry(pipeline, path, declared.get(path.removeprefix("data/")))
            entry = replace(entry, seed=next(iter(entry.seeds), None))
            found[entry.id] = entry
    return found


def _on_disk(pipeline: str) -> list[str]:
    """Paths of data sets that are stored here or have a .dvc file here, sorted."""
    folder = load.ROOT / pipeline
    held = [file.parent for room in ROOMS for file in folder.glob(f"{room}/*/manifest.json")]
    held += [file.parents[1] for file in folder.glob("data/*/s*/manifest.json")]
    tracked = [file.with_suffix("") for file in folder.glob("imported/*.dvc")]
    names = sorted({*held, *tracked})
    return [f"{place.parent.name}/{place.name}" for place in names if NAME.fullmatch(place.name)]


def study_of(entry: Entry) -> Study | None:
    """The study of the data set's pipeline, or None if its params.yaml cannot be read."""
    return _study(entry.pipeline)


def _study(pipeline: str) -> Study | None:
    """None if params.yaml cannot be read, which `load.problems` reports above the page."""
    try:
        return load.pipeline_study(pipeline)
    except UserError:
        return None
