"""`study record`: the small results of another pipeline, as plain files in git for the findings."""

import shutil
from pathlib import Path

from study.params import UserError


def record_results(pipeline: Path, recorded: Path) -> list[str]:
    """Copy results/ (json, csv) and each run's environment.json to recorded/NAME/ARM.

    Returns a line per arm. Raises UserError when `pipeline` has no results.
    """
    arms = sorted(path for path in (pipeline / "results").glob("*") if path.is_dir())
    if not arms:
        raise UserError(
            f"{pipeline / 'results'} holds no results; run the pipeline first: "
            f"cd {pipeline} && dvc repro"
        )
    lines = []
    for arm in arms:
        target = recorded / pipeline.resolve().name / arm.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(arm, target)
        for file in sorted((pipeline / "runs" / arm.name).glob("s*/environment.json")):
            (target / "environment").mkdir(exist_ok=True)
            shutil.copy(file, target / "environment" / f"{file.parent.name}.json")
        lines.append(f"{target}: {len(list((target / 'seeds').glob('*.json')))} seeds")
    return lines
