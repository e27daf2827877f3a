"""What one of several runs may hold in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.params import Arm, UserError
from study.runs import RunFolder
from study.stages import train


@pytest.mark.parametrize(("cores", "seeds", "runs"), [(1, 4, 1), (4, 1, 1), (4, 3, 3), (2, 6, 2)])
def test_runs_side_by_side_share_the_memory(
    cores: int,
    seeds: int,
    runs: int,
    control: Arm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def load(folder: Path, limit_bytes: float) -> None:
        asked.append(limit_bytes)
        raise UserError("far enough")

    monkeypatch.setattr(train, "load_dataset", load)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("study.environment.cores", lambda: cores)
    monkeypatch.setattr("study.environment.memory", lambda: 1200)
    row = control.model_copy(update={"seeds": tuple(range(seeds))})
    job = train.Job(tmp_path, "control", row, 0, tmp_path / "run", {}, diagnose=False)
    with pytest.raises(UserError, match="far enough"):
        train.compute(job, RunFolder(job.folder))
    assert asked == [1200 / 4 / runs]
