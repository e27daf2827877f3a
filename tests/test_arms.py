"""A new arm is one block: the rest of the file stays as it is, and mistakes write nothing."""

import shutil
from pathlib import Path

import pytest

from study.arms import new_arm
from study.params import UserError, diff, load_study

ROOT = Path(__file__).parent.parent


@pytest.fixture
def file(tmp_path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def test_every_other_line_and_comment_stays(file):
    before = file.read_text()
    new_arm(file, "agc_large", "control", ["clip.algorithm=agc", "clip.gradient_clip_val=0.1"])
    assert file.read_text().startswith(before.rstrip("\n"))


@pytest.mark.parametrize(
    ("base", "settings", "changes"),
    [
        ("control", ["clip.algorithm=agc_tensor"], {"clip.gradient_clip_algorithm"}),
        ("control", ["optimizer.name=sgd", "optimizer.momentum=0.5"], {"optimizer.name"}),
        ("control", ["schedule.name=warmup_cosine"], {"schedule.name"}),
        ("control", ["generator.name=stable_hybrid"], {"generator.name"}),
        ("stable", ["generator.name=hybrid"], {"generator.name"}),
        ("control", ["epochs=20", "batch_size=32"], {"epochs", "batch_size"}),
        ("control", ["batch_order=neighbours"], {"batch_order"}),
        ("control", ["loss.overlap_weight=0.3"], {"loss.overlap_weight"}),
        ("rpie", ["source.alpha=0.5"], {"source.alpha"}),
    ],
)
def test_the_new_arm_differs_from_its_base_in_what_was_set(file, base, settings, changes):
    new_arm(file, "fresh", base, settings)
    study = load_study(file)
    fresh = study.arms["fresh"]
    assert set(diff(study.arms[base], fresh)) == set(fresh.changes) == changes
    assert fresh.versus == base


def test_an_arm_can_be_added_before_a_later_section(file):
    text = file.read_text()
    data = text[text.index("data:") : text.index("arms:")]
    file.write_text(text.replace(data, "") + "\n" + data)
    new_arm(file, "longer", "control", ["epochs=20"])
    assert load_study(file).arms["longer"].epochs == 20


@pytest.mark.parametrize(
    ("name", "base", "settings", "says"),
    [
        ("control", "agc", ["epochs=3"], "exists already"),
        ("../x", "control", ["epochs=3"], "is not a name"),
        ("fresh", "contrl", ["epochs=3"], "did you mean 'control'"),
        ("fresh", "control", ["epochs"], "section.field=value"),
        ("fresh", "control", ["epoch=3"], "did you mean 'epochs'"),
        ("fresh", "control", ["epochs=many"], "fresh.epochs"),
        ("fresh", "control", ["batch_order=sorted"], "batch_order: .*'shuffled' or 'neighbours'"),
        ("fresh", "control", ["loss.overlap_weight=-1"], "overlap_weight: .*or equal to 0"),
        ("fresh", "control", ["epochs=10"], "would equal 'control'"),
        ("fresh", "control", ["optimizer.name=adamz"], "did you mean 'adam'"),
        ("fresh", "control", ["data=data/none"], "no 'none'"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(file, name, base, settings, says):
    before = file.read_bytes()
    with pytest.raises(UserError, match=says):
        new_arm(file, name, base, settings)
    assert file.read_bytes() == before
