"""`study record`: the small results of another pipeline, as plain files in git for the findings."""

import shutil
from pathlib import Path

from study.evidence.regimes import load_regimes, recorded
from study.params import UserError
from study.runs import write_json


def record_results(pipeline: Path, out: Path) -> list[str]:
    """Copy results/ARM (json, csv) and each run's environment.json to `out`/NAME/ARM.

    A regime map goes to `out`/NAME/regimes.json, with its sentences. Returns a line per arm.
    Raises UserError when `pipeline` has no results.
    """
    arms = sorted(path for path in (pipeline / "results").glob("*") if path.is_dir())
    if not arms:
        raise UserError(
            f"{pipeline / 'results'} holds no results; run the pipeline first: "
            f"cd {pipeline} && dvc repro"
        )
    lines = []
    place = out / pipeline.resolve().name
    for arm in arms:
        target = place / arm.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(arm, target)
        for file in sorted((pipeline / "runs" / arm.name).glob("s*/environment.json")):
            (target / "environment").mkdir(exist_ok=True)
            shutil.copy(file, target / "environment" / f"{file.parent.name}.json")
        lines.append(f"{target}: {len(list((target / 'seeds').glob('*.json')))} seeds")
    regimes = pipeline / "results" / "regimes.json"
    if regimes.is_file():
        write_json(place / "regimes.json", recorded(load_regimes(regimes)))
        lines.append(f"{place / 'regimes.json'}: the regime map")
    return lines
