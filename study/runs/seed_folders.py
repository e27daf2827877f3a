"""Where the data of one run are, in a set that draws objects per seed and in one that does not.

    data/quick/manifest.json, train.cxi, ...        one set of objects, for all runs
    data/seeded/s1/manifest.json, train.cxi, ...    one set of objects per seed of a run

Arms name data/seeded in both cases. Nothing here reads a file.
"""

from __future__ import annotations

import re
from pathlib import Path

from study.reading import UserError
from study.settings import seeds_text

SEED_FOLDER = re.compile(r"s(\d{1,10})")


def held_seeds(folder: Path) -> tuple[int, ...]:
    """Seeds that the set in `folder` holds objects for; none where all runs share one object."""
    found = (SEED_FOLDER.fullmatch(file.parent.name) for file in folder.glob("s*/manifest.json"))
    return tuple(sorted(int(match[1]) for match in found if match))


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the data of run `seed` are: `folder`/s<seed> in a set with objects per seed, else
    `folder` itself.

    Raises UserError for a seed that the set does not hold.
    """
    held = held_seeds(folder)
    if not held or (folder / "manifest.json").is_file():
        return folder
    if seed not in held:
        raise UserError(
            f"{folder} holds objects for seeds {seeds_text(held)}, not for {seed}; add it to the "
            "seeds of the data set in params.yaml and simulate it, or choose one of them"
        )
    return folder / f"s{seed}"


def dataset_folders(folder: Path) -> list[Path]:
    """The data sets in `folder`: one per seed that it holds, else `folder` itself."""
    return [seed_folder(folder, seed) for seed in held_seeds(folder)] or [folder]
