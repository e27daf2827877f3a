"""All arms trained ahead of their stages: the same runs, found by each stage, trained once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.checkouts import assert_equal_runs, settings_alone
from study.cli import app
from study.formats.dataset import save_dataset
from study.runs import RunFolder
from study.settings import UserError, load_study
from study.simulate import simulate
from study.stages import pool
from study.stages.fingerprint import update
from study.stages.train import train_all, train_arm

pytestmark = pytest.mark.slow
ARMS = ("first", "second", "pair")


def prepared(root: Path) -> Path:
    """Settings with four short runs, their data and fingerprints."""
    settings_alone(root)
    file = root / "params.yaml"
    file.write_text(file.read_text().replace("epochs: 40", "epochs: 2"))
    study = load_study(file)
    save_dataset(simulate("toy", study.data["toy"]), root / "data" / "toy")
    update(study, root / "fingerprints", study.arms)
    return root


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything trained ahead."""
    root = prepared(tmp_path_factory.mktemp("ahead"))
    assert train_all(root) == 4
    return root


def live(root: Path) -> dict[tuple[str, int], RunFolder]:
    runs = [RunFolder(file.parent) for file in root.glob("work/*/status.json")]
    return {(run.status()["arm"], run.status()["seed"]): run for run in runs}


def test_what_was_trained_ahead_is_what_the_stages_train(ahead: Path, tmp_path: Path):
    alone = prepared(tmp_path)
    for arm in ARMS:
        train_arm(alone, arm)
    assert set(live(ahead)) == set(live(alone)) == {
        ("first", 1), ("second", 1), ("pair", 1), ("pair", 2),
    }  # fmt: skip
    for key, run in live(ahead).items():
        assert run.path.name == live(alone)[key].path.name
        assert_equal_runs(run.path, live(alone)[key].path)


def test_a_stage_finds_its_runs_and_starts_no_process(ahead: Path, monkeypatch: pytest.MonkeyPatch):
    assert train_all(ahead) == 0
    monkeypatch.setenv("DVC_STAGE", "train@pair")
    monkeypatch.setattr("study.stages.train.run_all", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr("study.stages.train.check_row", lambda *_: pytest.fail("not needed"))
    found = train_arm(ahead, "pair")
    assert [run.path.parent.name for run in found] == ["work", "work"]
    for seed in (1, 2):
        assert_equal_runs(ahead / "runs/pair" / f"s{seed}", live(ahead)["pair", seed].path)


def test_a_run_that_breaks_is_named_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root, compute = prepared(tmp_path), pool.compute

    def breaking(job: pool.SeedRun, run: RunFolder, limit_bytes: float) -> None:
        if (job.arm, job.seed) == ("pair", 2):
            run.start(job.arm, job.seed, 2, job.origin)
            raise UserError("the disk went away")
        compute(job, run, limit_bytes)

    monkeypatch.setattr(pool, "compute", breaking)
    with pytest.raises(UserError, match=r"arm 'pair' did not finish .seed 2: the disk went away"):
        train_all(root)
    settled = {key for key, run in live(root).items() if run.settled}
    assert settled == {("first", 1), ("second", 1), ("pair", 1)}


def test_what_a_killed_writer_left_is_swept_when_its_run_goes_on(ahead: Path):
    run = live(ahead)["first", 1]
    for left in (run.path / ".history.csv.77.88.tmp", run.path / "diagnostics/.x.csv.7.8.tmp"):
        left.parent.mkdir(exist_ok=True)
        left.write_text("half a li")
    before = {file.name for file in run.path.iterdir()} - {".history.csv.77.88.tmp"}
    run.update_status(state="stopped")
    shutil.rmtree(ahead / "runs/first", ignore_errors=True)
    assert train_all(ahead) == 1
    assert not list(run.path.rglob(".*.tmp"))
    assert {file.name for file in run.path.iterdir()} >= before - {"diagnostics"}


@pytest.mark.parametrize(
    "words", [[], ["--all", "--arm", "first"], ["--all", "--seed", "1"], ["--all", "--diagnose"]]
)
def test_all_and_one_exclude_each_other(words: list[str]):
    assert CliRunner().invoke(app, ["train", *words]).exit_code == 2
