"""What `study record` leaves under recorded/."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.runs import read_json, write_json
from study.stages import record
from study.stages.record import record_results


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    made = tmp_path / "studies"
    for seed in (1, 2):
        write_json(made / "results" / "control" / "seeds" / f"s{seed}.json", {"seed": seed})
        write_json(made / "runs" / "control" / f"s{seed}" / "environment.json", {"commit": "c"})
    return made


def files(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def test_results_and_environments_are_recorded_and_what_left_the_arm_leaves(pipeline: Path) -> None:
    out = pipeline.parent / "recorded"
    record_results(pipeline, out)
    for old in (
        pipeline / "results" / "control" / "seeds" / "s2.json",
        pipeline / "runs" / "control" / "s2" / "environment.json",
    ):
        old.unlink()
    record_results(pipeline, out)
    assert files(out) == ["studies/control/environment/s1.json", "studies/control/seeds/s1.json"]


def test_environments_of_runs_that_were_not_pulled_stay(pipeline: Path) -> None:
    out = pipeline.parent / "recorded"
    record_results(pipeline, out)
    (pipeline / "runs").rename(pipeline / "elsewhere")
    record_results(pipeline, out)
    assert read_json(out / "studies" / "control" / "environment" / "s2.json") == {"commit": "c"}


def test_a_stop_leaves_the_arm_as_it_was_and_nothing_that_is_read_as_one(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pipeline.parent / "recorded"
    record_results(pipeline, out)
    before = files(out)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(record.shutil, "copy", stop)
    with pytest.raises(KeyboardInterrupt):
        record_results(pipeline, out)
    assert files(out) == before
