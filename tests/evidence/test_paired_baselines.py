"""Baselines on data with objects per seed: one value per seed, paired with a network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stored
from stored import CONTROL, SEEDS, WORSE, book_of, claim, found, store

from study.evidence import statistics
from study.settings import DataParams, Study

RPIE = {"name": "rpie", "passes": 2, "alpha": 0.1, "update_probe": False, "seed": 0}


@pytest.fixture
def seeded(tiny_params: DataParams) -> Study:
    data = {**tiny_params.model_dump(mode="json"), "phase": "independent", "seeds": list(SEEDS)}
    return stored.study_of(data, control=stored.arm(), rpie=stored.reference(RPIE))


def judged(root: Path, study: Study, **objects: Any) -> Any:
    """The claim "rPIE against control" with a value per seed on both sides; `objects`: the hash of
    the object of each seed of rPIE, those of control being s0, s1, ..."""
    for name, values in (("control", WORSE), ("rpie", CONTROL)):
        files = store(root, study, name, values)
        for i, (seed, file) in enumerate(files.items()):
            own = objects.get("hashes", {}).get(seed, f"s{i}") if name == "rpie" else f"s{i}"
            facts = {"path": "data/tiny", "sha256": "d" * 64, "kind": "simulated"}
            row = study.arms[name]
            content = stored.seed_json(
                name, row, seed, values[i], data={**facts, "seed_sha256": own}
            )
            file.write_text(stored.json.dumps(content))
    asked = claim(
        arms={"treatment": "rpie", "control": "control"},
        direction="lower",
        changes=["method"],
        needed_seeds=6,
    )
    return found(root, book_of(root, A_1=asked), study)["claims"]["A-1"]


def test_a_baseline_has_the_seeds_of_its_data(seeded: Study) -> None:
    assert seeded.arms["rpie"].seeds == SEEDS


def test_a_baseline_per_seed_is_paired(tmp_path: Path, seeded: Study) -> None:
    verdict = judged(tmp_path, seeded)
    differences = [a - b for a, b in zip(CONTROL, WORSE, strict=True)]
    assert verdict["pairing"] == "seed" and verdict["effect"]["n"] == len(SEEDS)
    assert verdict["effect"]["estimate"] == pytest.approx(sum(differences) / len(differences))
    assert verdict["test"]["p"] == pytest.approx(statistics.paired_p(differences))


def test_runs_of_a_seed_on_two_objects_are_not_compared(tmp_path: Path, seeded: Study) -> None:
    verdict = judged(tmp_path, seeded, hashes={3: "another"})
    gate = next(g for g in verdict["gates"] if g["name"] == "same data")
    assert not gate["passed"] and "3" in gate["reason"]
