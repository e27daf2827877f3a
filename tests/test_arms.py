"""A new arm is one block: the rest of the file stays as it is, and mistakes write nothing."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from study.editing.arms import Draft, Takes, command, parse_seeds, planned
from study.editing.claiming import add
from study.reading import read_yaml
from study.settings import CLIP_LIMITS, Row, Study, UserError, diff, leaves, load_study, seeds_text

ROOT = Path(__file__).parent.parent
FIRST_STUDY = ROOT / "tests" / "first_study"


@pytest.fixture(scope="module")
def study() -> Study:
    """What `file` has before a test changes it."""
    return load_study(FIRST_STUDY / "params.yaml")


@pytest.fixture
def file(tmp_path) -> Path:
    return Path(shutil.copy(FIRST_STUDY / "params.yaml", tmp_path / "params.yaml"))


def write_arm(
    file: Path,
    name: str,
    base: str,
    settings: Sequence[str],
    asks: str | None = None,
    seeds: Sequence[int] | None = None,
    takes: Takes | None = None,
    seen: Row | None = None,
) -> Row:
    """The row that `add` writes into `file`."""
    draft = Draft(name, base, tuple(settings), asks, None if seeds is None else tuple(seeds))
    return add(file.parent, draft, takes=takes, seen=seen)


def test_every_other_line_and_comment_stays(file):
    before = file.read_text()
    write_arm(file, "agc_large", "control", ["clip.algorithm=agc", "clip.gradient_clip_val=0.1"])
    assert file.read_text().startswith(before.rstrip("\n"))


@pytest.mark.parametrize(
    ("base", "changed", "changes"),
    [
        ("control", ["clip.algorithm=agc_tensor"], {"clip.gradient_clip_algorithm"}),
        ("control", ["optimizer.name=sgd", "optimizer.momentum=0.5"], {"optimizer.name"}),
        ("control", ["schedule.name=warmup_cosine"], {"schedule.name"}),
        (
            "control",
            ["generator.name=stable_hybrid", "generator.layerscale_init=0.01"],
            {"generator.name"},
        ),
        ("stable", ["generator.name=hybrid", "epochs=11"], {"generator.name", "epochs"}),
        ("control", ["epochs=20", "batch_size=32"], {"epochs", "batch_size"}),
        ("control", ["batch_order=neighbours"], {"batch_order"}),
        ("control", ["loss.overlap_weight=0.3"], {"loss.overlap_weight"}),
        ("rpie", ["source.alpha=0.5"], {"source.alpha"}),
    ],
)
def test_the_new_arm_differs_from_its_base_in_what_was_set(file, base, changed, changes):
    write_arm(file, "fresh", base, changed)
    study = load_study(file)
    fresh = study.arms["fresh"]
    assert set(diff(study.arms[base], fresh)) == set(fresh.changes) == changes
    assert fresh.versus == base


@pytest.mark.parametrize(
    ("base", "name", "value"),
    [
        ("control", "clip.algorithm=agc", "clip.gradient_clip_val=0.1"),
        ("control", "clip.gradient_clip_algorithm=agc", "clip.exclude_head=true"),
        ("control", "loss.name=poisson", "loss.overlap_weight=0.3"),
        ("control", "optimizer.name=sgd", "optimizer.momentum=0.5"),
        ("control", "schedule.name=plateau", "schedule.patience=5"),
        ("control", "generator.name=stable_hybrid", "generator.layerscale_init=0.01"),
        ("rpie", "source.name=group_steps", "source.steps=7"),
    ],
)
def test_the_order_of_the_settings_does_not_matter(study, base, name, value):
    networks = {"stable_hybrid": ("width", "fno_blocks", "modes", "layerscale_init")}
    rows = [
        planned(study, Draft("fresh", base, order), networks).row
        for order in ((name, value), (value, name))
    ]
    assert rows[0] == rows[1]
    key, _, text = value.partition("=")
    assert str(leaves(rows[0])[key]).lower() == text


def test_an_arm_can_be_added_before_a_later_section(file):
    text = file.read_text()
    data = text[text.index("data:") : text.index("arms:")]
    file.write_text(text.replace(data, "") + "\n" + data)
    write_arm(file, "longer", "control", ["epochs=20"])
    assert load_study(file).arms["longer"].epochs == 20


@pytest.mark.parametrize(
    ("name", "base", "changed", "says"),
    [
        ("control", "agc", ["epochs=3"], "already exists"),
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
def test_a_mistake_is_named_and_nothing_is_written(file, name, base, changed, says):
    before = file.read_bytes()
    with pytest.raises(UserError, match=says):
        write_arm(file, name, base, changed)
    assert file.read_bytes() == before


# --- merge keys -------------------------------------------------------------------------------


@pytest.fixture
def merging(tmp_path) -> Path:
    """The root study, whose arms are `<<: *control` and what differs."""
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        ("control", ["clip.algorithm=agc"]),
        ("cnn_supervised", ["loss.name=mae", "epochs=12"]),
        ("unrolled", ["batch_size=8"]),
        ("group_steps_200", ["source.steps=150"]),
    ],
)
def test_an_arm_is_the_same_written_with_merge_keys_or_spelled_out(
    merging, tmp_path, base, changed
):
    spelled = tmp_path / "spelled" / "params.yaml"
    spelled.parent.mkdir()
    YAML(typ="safe").dump(read_yaml(merging), spelled)
    assert "<<" not in spelled.read_text()
    before = merging.read_text().rstrip("\n")
    assert write_arm(merging, "fresh", base, changed) == write_arm(spelled, "fresh", base, changed)
    assert load_study(merging).arms == load_study(spelled).arms
    added = merging.read_text().removeprefix(before)
    assert ("<<: *control" in added) == (base != "group_steps_200")
    assert base != "control" or ("clip: {" in added and "generator" not in added)


# --- bad input --------------------------------------------------------------------------------

KEYS = st.one_of(
    st.sampled_from(
        ["epochs", "clip.algorithm", "clip.gradient_clip_val", "optimizer.lr", "optimizer.name",
         "generator.name", "generator.width", "schedule.name", "loss.name", "data", "order_seed",
         "foo.momentum", "data.momentum", "momentum", "seeds", "asks", "changes", "versus", ""]
    ),
    st.text(max_size=20),
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["[1", "{a: b}", "&a 1", "*a", "!!python/object:os.system x", "1e999", "-1", "nan", ".inf",
         "2001-01-01", "? x", "- 1", "---\n1\n---\n2", "true", "null", "\x00", "\ud800", "9" * 400,
         "0x10", "1_000", "'", '"', "%TAG", "<<: *arm", "adam", "sgd", "hybrid"]
    ),
)  # fmt: skip
FORMS = st.fixed_dictionaries(
    {
        "name": st.one_of(
            st.sampled_from(["fresh", "control", "../x", "a b", "", "x" * 65]), st.text()
        ),
        "base": st.one_of(
            st.sampled_from(["control", "rpie", "stable", "none"]), st.text(max_size=9)
        ),
        "settings": st.lists(st.tuples(KEYS, VALUES).map("=".join), max_size=3),
        "asks": st.one_of(st.none(), st.text(max_size=400)),
        "seeds": st.one_of(st.none(), st.lists(st.integers(-(2**40), 2**40), max_size=4)),
    }
)


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(form=FORMS)
def test_a_generated_form_is_added_whole_or_is_a_sentence_and_writes_nothing(file, study, form):
    before = file.read_bytes()
    try:
        row = write_arm(file, **form)
    except UserError as error:
        assert str(error).strip() and file.read_bytes() == before
        return
    assert load_study(file).arms == {**study.arms, form["name"]: row}
    file.write_bytes(before)


@pytest.mark.parametrize("text", ["", "one", "1-", "3-1", "1-99999999", "-1", "1,,2x", "1.5", "٣"])
def test_seeds_that_are_none_are_a_sentence(text):
    with pytest.raises(UserError, match="seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "seeds", "back"),
    [("1-6, 11", (1, 2, 3, 4, 5, 6, 11), "1-6, 11"), ("3 1", (3, 1), "3, 1"), ("7", (7,), "7")],
)
def test_seeds_are_read_as_people_write_them(text, seeds, back):
    assert parse_seeds(text) == seeds and seeds_text(seeds) == back


def test_seeds_are_set_and_are_no_factor(file):
    row = write_arm(file, "fresh", "control", ["epochs=20"], seeds=[1, 2, 30])
    assert load_study(file).arms["fresh"].seeds == row.seeds == (1, 2, 30)
    assert row.changes == ("epochs",)


def test_a_twin_is_refused_by_name(file):
    before = file.read_bytes()
    with pytest.raises(UserError, match="'agc' has these settings already"):
        write_arm(file, "again", "control", ["clip.algorithm=agc"])
    assert file.read_bytes() == before


def test_a_base_that_changed_meanwhile_is_not_written_unseen(file):
    draft = Draft("fresh", "control", ("epochs=20",))
    seen = planned(load_study(file), draft).row
    file.write_text(file.read_text().replace("batch_size: 16", "batch_size: 8", 1))
    edited = file.read_bytes()
    with pytest.raises(UserError, match=r"has changed"):
        write_arm(file, "fresh", "control", ["epochs=20"], seen=seen)
    assert file.read_bytes() == edited
    other = file.read_text().replace("  # Rows that are", "  # An edit.\n  # Rows that are")
    file.write_text(other)
    seen = planned(load_study(file), draft).row
    write_arm(file, "fresh", "control", ["epochs=20"], seen=seen)
    assert "# An edit." in file.read_text() and load_study(file).arms["control"].batch_size == 8


def test_another_network_drops_the_options_that_it_does_not_take(file):
    takes = {"cnn": ("width", "input_transform"), "hybrid": ("width", "modes", "input_transform")}
    write_arm(file, "plain", "control", ["generator.name=cnn", "generator.width=8"], takes=takes)
    generator = load_study(file).arms["plain"].generator
    assert generator.flat() == {"name": "cnn", "width": 8, "input_transform": "none"}


@pytest.mark.parametrize("loss", ["supervised", "poisson"])
def test_a_loss_brings_its_own_fields(file, loss):
    row = write_arm(file, "fresh", "control", [f"loss.name={loss}"])
    assert row.loss.name == loss and row.changes == ("loss.name",)


def test_the_command_line_of_a_draft_says_the_same():
    draft = Draft("fresh", "control", ("epochs=20",), "Does it?", (1, 2, 3))
    assert shlex.join(command(draft)) == (
        "study arms new fresh --from control --set epochs=20 --seeds 1-3 --asks 'Does it?'"
    )


def test_the_clip_rules_that_a_form_offers_are_those_of_training():
    from study.training.clipping import CLIP_RULES

    assert set(CLIP_LIMITS) == set(CLIP_RULES)
