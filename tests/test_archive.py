"""An arm leaves the study, or changes its name: nothing that was found is lost, and every step
leaves a checkout that can be read."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from study.editing import yaml_file
from study.editing.archive import archive_arm, rename_arm
from study.evidence.claims import load_claims, parse_claims
from study.runs import write_text
from study.settings import UserError, load_study, read_yaml

ROOT = Path(__file__).parent.parent
FIRST_STUDY = ROOT / "tests" / "first_study"


@pytest.fixture
def checkout(tmp_path) -> Path:
    for name in ("params.yaml", "claims.yaml"):
        shutil.copy(FIRST_STUDY / name, tmp_path / name)
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
    assert kept["arms"] == {"agc": read_yaml(FIRST_STUDY / "params.yaml")["arms"]["agc"]}
    book = parse_claims({"claims": kept["claims"]}, done.folder / "arm.yaml")
    assert [claim.id for claim in book.claims] == claims


@pytest.mark.parametrize("change", [archive_arm, lambda root, arm: rename_arm(root, arm, "new")])
@pytest.mark.parametrize(
    "link", ["results", "provenance", "archived", "results/agc", "provenance/agc", "archived/.agc"]
)
def test_a_link_is_refused_before_anything_is_written(checkout, tmp_path, change, link):
    other = tmp_path / "other"
    (other / "agc").mkdir(parents=True)
    (other / "mine.txt").write_text("mine")
    if (checkout / link).exists():
        shutil.rmtree(checkout / link)
    (checkout / link).parent.mkdir(exist_ok=True)
    (checkout / link).symlink_to(other)
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="link"):
        change(checkout, "agc")
    after = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    assert {k: v for k, v in after.items() if k.suffix != ".lock"} == before
    (checkout / link).unlink()
    change(checkout, "agc")
    assert "agc" not in load_study(checkout / "params.yaml").arms


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
        return build(checkout, book, study, previous).content()

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
            (FIRST_STUDY / "params.yaml").read_text().split("\n"),
            lines(checkout / "params.yaml"),
            strict=True,
        )
        if a != b
    ]
    assert all(a.replace("control_no_clip", "unclipped") == b for a, b in changed)


def test_what_takes_settings_from_a_renamed_arm_follows(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    before = load_study(tmp_path / "params.yaml").arms
    rename_arm(tmp_path, "control", "plain")
    after = load_study(tmp_path / "params.yaml").arms
    follow = {n: r.model_copy(update={"versus": "plain"}) for n, r in before.items()
              if r.versus == "control"}  # fmt: skip
    expected = {("plain" if n == "control" else n): r for n, r in {**before, **follow}.items()}
    assert after == expected
    assert "  <<: *control\n" not in (tmp_path / "params.yaml").read_text()


def test_an_arm_that_others_take_settings_from_stays_until_they_are_gone(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    text = text[: text.index("\n  zero_gamma:")]
    whole = read_yaml(ROOT / "params.yaml")["arms"]["agc_tensor"]
    file = tmp_path / "params.yaml"
    # One that is compared with nothing, so that only its settings tie it to the control.
    alone = "    versus: null\n    changes: []\n"
    file.write_text(re.sub(r"    versus: control\n    changes: .*\n", alone, text))
    before = file.read_bytes()
    with pytest.raises(UserError, match=re.escape("'control' (<<:")):
        archive_arm(tmp_path, "control")
    assert file.read_bytes() == before
    done = archive_arm(tmp_path, "agc_tensor")
    kept = read_yaml(done.folder / "arm.yaml")["arms"]["agc_tensor"]
    assert kept == {**whole, "versus": None, "changes": []}, "the record needs no other arm"
    archive_arm(tmp_path, "control_no_clip")
    assert list(load_study(file).arms) == ["control"]


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
        (lambda root: rename_arm(root, "agc", "control"), "already exists"),
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
    shutil.copy(FIRST_STUDY / "params.yaml", below / "params.yaml")
    (below / "dvc.yaml").write_text("stages: {}\n")
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

    monkeypatch.setattr(yaml_file, "write_text", full)
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


# --- cut short --------------------------------------------------------------------------------


def cut_before(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The command ends, as if killed, before it writes the file of this name."""

    def write(path: Path, text: str) -> None:
        if path.name == name:
            raise KeyboardInterrupt
        write_text(path, text)

    monkeypatch.setattr(yaml_file, "write_text", write)


def test_an_arm_edited_after_a_cut_loses_nothing(checkout, monkeypatch):
    claims = on_agc(checkout)
    cut_before(monkeypatch, "params.yaml")
    with pytest.raises(KeyboardInterrupt):
        archive_arm(checkout, "agc")
    monkeypatch.undo()
    assert not on_agc(checkout), "the claims went first"
    text = (checkout / "params.yaml").read_text()
    at = text.index("  agc:")
    edited = text[:at] + text[at:].replace("batch_size: 16", "batch_size: 8", 1)
    assert edited != text
    (checkout / "params.yaml").write_text(edited)
    done = archive_arm(checkout, "agc")
    kept = [read_yaml(file) for file in sorted(checkout.glob("archived/*/arm.yaml"))]
    assert [len(record["claims"]) for record in kept] == [len(claims), 0]
    assert [record["arms"]["agc"]["batch_size"] for record in kept] == [16, 8]
    assert (done.folder / "seeds" / "s1.json").is_file()


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (("rename", "agc", "adaptive"), ("archive", "agc"), "rename agc adaptive"),
        (("archive", "agc"), ("rename", "agc", "adaptive"), "archive agc"),
        (("rename", "agc", "adaptive"), ("rename", "agc", "other"), "rename agc adaptive"),
    ],
)
def test_another_command_does_not_take_over_one_that_was_cut(
    checkout, monkeypatch, first, second, names
):
    acts = {"archive": archive_arm, "rename": rename_arm}

    def cut(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(yaml_file, "write_text", lambda path, text: (path.parent.mkdir(
            parents=True, exist_ok=True), path.write_text(text)))  # fmt: skip
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            acts[first[0]](checkout, *first[1:])
    with pytest.raises(UserError, match=names):
        acts[second[0]](checkout, *second[1:])
    done = acts[first[0]](checkout, *first[1:])
    assert (done.folder / "seeds" / "s1.json").is_file() and not list(checkout.glob("archived/.*"))
    assert read_yaml(done.folder / "arm.yaml").get("renamed") == (first[2:] or (None,))[0]
