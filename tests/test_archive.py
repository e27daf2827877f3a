"""An arm leaves the study, or changes its name: nothing that was found is lost, and every step
leaves a checkout that can be read."""

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from study import archive
from study.archive import archive_arm, rename_arm
from study.evidence.claims import load_claims, parse_claims
from study.params import UserError, load_study, read_yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path) -> Path:
    for name in ("params.yaml", "claims.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    seeds = tmp_path / "results" / "agc" / "seeds"
    seeds.mkdir(parents=True)
    (seeds / "s1.json").write_text("{}\n")
    (seeds.parent / "history.csv").write_text("seed,epoch\n")
    return tmp_path


def lines(file: Path) -> list[str]:
    return file.read_text().split("\n")


def on_agc(root: Path) -> list[str]:
    found = load_claims(root / "claims.yaml").claims
    return [c.id for c in found if "agc" in (c.arms.treatment, c.arms.control)]


def test_an_archived_arm_is_gone_and_kept(checkout):
    before, claims = load_study(checkout / "params.yaml"), on_agc(checkout)
    done = archive_arm(checkout, "agc")
    after = load_study(checkout / "params.yaml")
    assert after.arms == {k: v for k, v in before.arms.items() if k != "agc"}
    assert list(done.claims) == claims and claims and not on_agc(checkout)
    assert (done.folder / "seeds" / "s1.json").is_file() and (done.folder / "history.csv").is_file()
    assert not (checkout / "results" / "agc").exists()
    kept = read_yaml(done.folder / "arm.yaml")
    assert kept["arms"] == {"agc": read_yaml(ROOT / "params.yaml")["arms"]["agc"]}
    book = parse_claims({"claims": kept["claims"]}, done.folder / "arm.yaml")
    assert [claim.id for claim in book.claims] == claims


@pytest.mark.parametrize("file", ["params.yaml", "claims.yaml"])
def test_every_line_that_stays_stays_as_it_was(checkout, file):
    before = lines(checkout / file)
    archive_arm(checkout, "agc")
    after = lines(checkout / file)
    rest = iter(before)
    assert all(line in rest for line in after), "a line was changed or moved"
    assert not any(a == b == "" for a, b in itertools.pairwise(after))


@pytest.mark.slow
def test_claims_that_went_stand_under_superseded(checkout):
    from study.evidence.findings import build

    study = load_study(checkout / "params.yaml")
    (checkout / "results" / "agc" / "seeds" / "s1.json").unlink()

    def findings(previous):
        book = load_claims(checkout / "claims.yaml")
        own = tuple(c for c in book.claims if "/" not in c.arms.treatment)
        book = type(book)(book.path, own)
        return build(checkout / "results", checkout / "recorded", book, study, previous)

    before = findings(None)
    done = archive_arm(checkout, "agc")
    study = load_study(checkout / "params.yaml")
    after = findings(before)
    assert set(after["superseded"]) == set(done.claims)
    for claim in done.claims:
        assert after["superseded"][claim]["history"] == before["claims"][claim]["history"]


def test_a_renamed_arm_keeps_its_block_and_everyone_follows(checkout):
    before = load_study(checkout / "params.yaml")
    rename_arm(checkout, "control_no_clip", "unclipped")
    after = load_study(checkout / "params.yaml")
    assert after.arms["unclipped"] == before.arms["control_no_clip"]
    assert after.arms["stable"].versus == "unclipped"
    changed = [
        (a, b)
        for a, b in zip(
            (ROOT / "params.yaml").read_text().split("\n"),
            lines(checkout / "params.yaml"),
            strict=True,
        )
        if a != b
    ]
    assert all(a.replace("control_no_clip", "unclipped") == b for a, b in changed)


@pytest.mark.slow
def test_questions_and_regimes_follow_a_new_name(tmp_path):
    shutil.copy(ROOT / "studies" / "params.yaml", tmp_path / "params.yaml")
    before = load_study(tmp_path / "params.yaml")
    rename_arm(tmp_path, "control", "plain")
    after = load_study(tmp_path / "params.yaml")
    for name, question in before.studies.items():
        expected = tuple("plain" if arm == "control" else arm for arm in question.arms)
        assert after.studies[name].arms == expected
    assert {row.versus for row in before.arms.values() if row.versus == "control"}
    assert "control" not in {row.versus for row in after.arms.values()}


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda root: archive_arm(root, "contrl"), "did you mean 'control'"),
        (lambda root: archive_arm(root, "control"), "compared with 'control'"),
        (lambda root: rename_arm(root, "agc", "control"), "exists already"),
        (lambda root: rename_arm(root, "agc", "../x"), "is not a name"),
        (lambda root: rename_arm(root, "nothing", "x"), "no arm 'nothing'"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_changed(checkout, act, says):
    before = {file: file.read_bytes() for file in checkout.rglob("*") if file.is_file()}
    with pytest.raises(UserError, match=says):
        act(checkout)
    files = [file for file in checkout.rglob("*") if file.is_file() and file.suffix != ".lock"]
    assert {file: file.read_bytes() for file in files} == before


@pytest.mark.parametrize("act", [archive_arm, lambda root, name: rename_arm(root, name, "new")])
def test_an_arm_that_claims_of_the_checkout_name_stays(checkout, act):
    """They stand in the file of another folder: nothing would take them along."""
    subprocess.run(("git", "init", "-q"), cwd=checkout, check=True)
    below = checkout / "studies"
    below.mkdir()
    shutil.copy(ROOT / "params.yaml", below / "params.yaml")
    before = (below / "params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"\.\./claims\.yaml names 'studies/agc' in .*SILVER-LOSS"):
        act(below, "agc")
    assert (below / "params.yaml").read_bytes() == before and not (below / "archived").exists()
    (checkout / "claims.yaml").write_text("claims: {}\n")
    act(below, "agc")
    assert "agc" not in load_study(below / "params.yaml").arms


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.slow
def test_a_full_disk_on_the_way_leaves_a_checkout_that_can_be_read(checkout, monkeypatch, failing):
    written = []

    def full(path, text):
        written.append(path)
        if len(written) == failing:
            raise OSError(28, "No space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    monkeypatch.setattr(archive, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        archive_arm(checkout, "agc")
    study = load_study(checkout / "params.yaml")
    from study.evidence.claims import check_arms

    own = [c for c in load_claims(checkout / "claims.yaml").claims if "/" not in c.arms.treatment]
    check_arms(
        type(load_claims(checkout / "claims.yaml"))(checkout / "claims.yaml", tuple(own)), study
    )
    monkeypatch.undo()
    archive_arm(checkout, "agc")
    assert "agc" not in load_study(checkout / "params.yaml").arms
