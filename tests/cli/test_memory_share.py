"""What one of several runs may hold in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.settings import Arm, UserError
from study.stages import pool


@pytest.mark.parametrize(
    ("places", "seeds", "devices", "share"),
    [(1, 4, 1, 1), (4, 1, 1, 1), (4, 3, 1, 3), (2, 6, 2, 4)],
)
@pytest.mark.slow
def test_runs_side_by_side_share_the_memory(
    places: int,
    seeds: int,
    devices: int,
    share: int,
    control: Arm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(folder: Path, limit_bytes: float) -> None:
        (tmp_path / "asked").open("a").write(f"{limit_bytes}\n")
        raise UserError("far enough")

    monkeypatch.setattr(pool, "load_dataset", load)
    monkeypatch.setattr("study.runs.environment.memory", lambda: 1200)
    jobs = [
        pool.SeedRun(tmp_path, "control", control, seed, tmp_path / f"{seed}", {}, False, devices)
        for seed in range(seeds)
    ]
    with pytest.raises(UserError, match="far enough"):
        pool.run_all(jobs, [None] * places)
    asked = [float(line) for line in (tmp_path / "asked").read_text().split()]
    assert asked == [1200 / 4 / share] * seeds
