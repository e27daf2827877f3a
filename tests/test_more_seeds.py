"""More seeds for an arm: its own line of params.yaml, no other arm, and never a seed twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pipeline.toy import PARAMS
from study.editing.seeds import fresh_seeds, more_seeds
from study.settings import Arm, UserError, load_study

ROOT = Path(__file__).parent.parent
FILES = ("studies/params.yaml", "full/params.yaml", "params.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_only_that_arm_has_more_seeds_and_other_lines_stay(file: str, tmp_path: Path) -> None:
    text = (ROOT / file).read_text()
    study = load_study(ROOT / file)
    networks = {name: row for name, row in study.arms.items() if isinstance(row, Arm)}
    done = 0
    for name in [next(iter(networks)), *list(networks)[5::30]]:
        (tmp_path / "params.yaml").write_text(text)
        try:
            seeds = fresh_seeds((ROOT / file).parent, study, name, 2)
        except UserError as error:
            assert "Add seeds to the data set" in str(error)
            continue
        more_seeds(tmp_path, name, seeds)
        done += 1
        after = load_study(tmp_path / "params.yaml")
        row = networks[name]
        longer = row.model_copy(update={"seeds": (*row.seeds, *seeds)})
        assert after.arms == {**study.arms, name: longer}
        lines = (tmp_path / "params.yaml").read_text().splitlines()
        lost = [line for line in text.splitlines() if line not in lines]
        assert len(lost) <= 1 and all("seeds:" in line for line in lost)
    assert done


def test_a_seed_that_is_there_and_an_arm_without_seeds_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "studies/params.yaml").read_text())
    before = file.read_bytes()
    with pytest.raises(UserError, match="already"):
        more_seeds(tmp_path, "control", (108, 200))
    with pytest.raises(UserError, match="not a network"):
        more_seeds(tmp_path, "flat", (200,))
    with pytest.raises(UserError, match="no arm"):
        more_seeds(tmp_path, "nobody", (200,))
    assert file.read_bytes() == before


def test_seeds_without_claims_go_on_after_the_largest(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    study = load_study(tmp_path / "params.yaml")
    row = study.arms["control"]
    assert fresh_seeds(tmp_path, study, "control", 2) == (max(row.seeds) + 1, max(row.seeds) + 2)


def test_they_are_committed_alone_and_not_with_other_edits(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words)
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    file = tmp_path / "params.yaml"
    file.write_text(PARAMS)
    git("init", "-q")
    for key, value in (("user.name", "a"), ("user.email", "a@b.c")):
        git("config", key, value)
    git("add", ".")
    git("commit", "-qm", "first")
    made = more_seeds(tmp_path, "control", (50, 51), commits=True)
    assert made == git("rev-parse", "--short", "HEAD")
    assert git("status", "--porcelain", "params.yaml") == ""
    file.write_text(f"{file.read_text()}# a note\n")
    with pytest.raises(UserError, match="uncommitted"):
        more_seeds(tmp_path, "control", (52,), commits=True)
    assert 52 not in load_study(file).arms["control"].seeds


def test_the_command_tells_the_price_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from study.cli.answers import answer

    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    before = (tmp_path / "params.yaml").read_bytes()
    found = answer(["arms", "extend", "control", "-n", "3", "--dry-run", "--json"])
    assert found["code"] == 0, found["err"]
    output = json.loads(found["out"])
    assert len(output["seeds"]) == 3 and output["minutes"] is None
    assert (tmp_path / "params.yaml").read_bytes() == before
    assert answer(["arms", "extend", "control"])["code"] == 2, "what writes is not answered"
