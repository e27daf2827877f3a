"""An arm and its claim are written together, in the style of the files, or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from study.editing import yaml_file
from study.editing.arms import Draft
from study.editing.claiming import ClaimDraft, add
from study.evidence.claims import load_claims
from study.settings import UserError, load_study

ROOT = Path(__file__).parent.parent
FIRST_STUDY = ROOT / "tests" / "first_study"
DRAFT = Draft("loose", "control", ("clip.gradient_clip_val=2.0",))
CLAIM = ClaimDraft(
    id="LOOSE-001",
    text="A looser clip: it's no worse, by $0.02 at most.",
    metric="last.standard.amplitude.mae",
    direction="equal",
    margin=0.02,
    family="loose",
    needed_seeds=8,
)


@pytest.fixture
def root(tmp_path) -> Path:
    for name in ("params.yaml", "claims.yaml"):
        shutil.copy(FIRST_STUDY / name, tmp_path / name)
    return tmp_path


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in ("params.yaml", "claims.yaml")}


def test_the_claim_names_the_arm_its_base_and_what_changed(root):
    before = (root / "claims.yaml").read_text()
    add(root, DRAFT, CLAIM)
    claim = load_claims(root / "claims.yaml").claims[-1]
    assert (claim.arms.treatment, claim.arms.control) == ("loose", "control")
    assert claim.changes == load_study(root / "params.yaml").arms["loose"].changes
    assert (claim.text, claim.kind, claim.margin.unit) == (
        CLAIM.text,
        "confirmatory",
        "object units",
    )
    after = (root / "claims.yaml").read_text()
    assert after.startswith(before) and "    arms: {treatment: loose, control: control}\n" in after


def test_several_factors_make_a_bundle_and_a_rate_has_the_unit_one(root):
    draft = replace(DRAFT, settings=(*DRAFT.settings, "epochs=12"))
    rate = replace(CLAIM, metric="outcome", direction="higher", margin=0.1, needed_seeds=60)
    add(root, draft, rate)
    claim = load_claims(root / "claims.yaml").claims[-1]
    assert (claim.kind, claim.evidence, claim.margin.unit) == ("bundle", "failure_rate", "1")
    assert claim.changes == ("clip.gradient_clip_val", "epochs")


@pytest.mark.parametrize("text", ["claims: {}\n", "claims:\n", None])
def test_the_first_claim_of_a_study(root, text):
    (root / "claims.yaml").unlink() if text is None else (root / "claims.yaml").write_text(text)
    add(root, DRAFT, CLAIM)
    assert [claim.id for claim in load_claims(root / "claims.yaml").claims] == ["LOOSE-001"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"id": "loose 1"}, "id: String should match"),
        ({"id": "CLIP-001"}, "already exists"),
        ({"text": ""}, "text: "),
        ({"metric": "last.standard.amplitude.ma"}, "did you mean"),
        ({"direction": "sideways"}, "direction: "),
        ({"margin": -1.0}, "margin.value: .*greater than 0"),
        ({"margin": float("nan")}, "margin"),
        ({"family": ""}, "family: "),
        ({"family": "amplitude_error"}, "has 5 claims; at most 4"),
        ({"needed_seeds": 1}, "needed_seeds: .*greater than or equal to 2"),
        ({"metric": "outcome"}, "direction equal"),
    ],
)
def test_a_claim_that_cannot_stand_takes_the_arm_with_it(root, wrong, says):
    before = contents(root)
    with pytest.raises(UserError, match=says):
        add(root, DRAFT, replace(CLAIM, **wrong))
    assert contents(root) == before


def test_an_arm_that_cannot_stand_takes_the_claim_with_it(root):
    before = contents(root)
    with pytest.raises(UserError, match="already exists"):
        add(root, replace(DRAFT, name="agc"), CLAIM)
    assert contents(root) == before


def test_a_disk_that_is_full_after_the_arm_takes_the_arm_back(root, monkeypatch):
    before, write = contents(root), yaml_file.write_text

    def full(path, text):
        if path.name == "claims.yaml":
            raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(yaml_file, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        add(root, DRAFT, CLAIM)
    assert contents(root) == before
