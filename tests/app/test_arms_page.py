"""Overview: what the table holds on checkouts of every kind, and where its links lead."""

import csv
import io
import json
import subprocess
from pathlib import Path
from statistics import quantiles

import pytest
import stored
from checkouts import change, one_run, opened, settings, troubled, two_by_three, two_data_sets
from hypothesis import given
from hypothesis import strategies as st

from study import jobs
from study.evidence.evaluable import PRIOR
from study.runs import write_yaml

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def table(app) -> dict:
    """What the component gets."""
    return json.loads(app.get("bidi_component")[0].proto.json)


def arms_of(app) -> list[str]:
    return [row["arm"] for fence in table(app)["fences"] for row in fence["rows"]]


def cell(app, arm: str, title: str) -> dict:
    content = table(app)
    place = [column["title"] for column in content["columns"]].index(title)
    rows = [row for fence in content["fences"] for row in fence["rows"]]
    return next(row for row in rows if row["arm"] == arm)["cells"][place]


def links(app) -> dict[str, str]:
    return {link.proto.label: link.proto.query_string for link in app.get("page_link")}


def test_an_empty_checkout_gives_the_two_commands():
    app = opened("arms")
    assert app.subheader[0].value == "No runs in this checkout"
    assert app.code[0].value == "make pull\nmake repro"


def test_one_run_has_its_dot_and_no_interval(fresh):
    one_run(fresh)
    found = cell(opened("arms"), "control", "amp SSIM")
    assert found["n"] == "1 of 1 seeds" and found["half"] == ""
    assert len(found["strip"]["dots"]) == 1 and found["strip"]["low"] is None


def test_every_seed_is_a_dot_and_the_control_is_first(fresh):
    two_by_three(fresh)
    app = opened("arms")
    assert arms_of(app) == ["control", "agc"]
    for arm in ("control", "agc"):
        found = cell(app, arm, "amp MAE")
        assert found["n"] == "3 of 3 seeds" and " ± " in found["half"]
        assert [dot[1].split()[0] for dot in found["strip"]["dots"]] == ["s1", "s2", "s3"]
    row = table(app)["fences"][0]["rows"][1]
    assert row["changed"][0] == "clip.gradient_clip_algorithm: norm → agc"
    assert cell(app, "agc", "best validation loss")["epochs"] == "epoch 2"


def test_what_collapsed_has_no_score(fresh):
    troubled(fresh)
    app = opened("arms")
    found = cell(app, "agc", "amp SSIM")
    assert found["n"] == "1 survivor of 3" and "constant amplitude (s2)" in found["why"]
    assert found["partial"]
    row = table(app)["fences"][0]["rows"][1]
    assert row["outcomes"] == [1, 1, 1]
    assert "s1: loss is NaN at epoch 1" in row["causes"]


def test_an_arm_of_constants_is_not_evaluable(fresh):
    from checkouts import GATE

    two_by_three(fresh)
    for seed in (1, 2, 3):
        blank = {"mae": None, "ssim": None, "frc50": None}
        change(fresh, "agc", seed, last__gate__amplitude=GATE, last__standard__amplitude=blank)
    found = cell(opened("arms"), "agc", "amp SSIM")
    assert found["text"] == "not evaluable" and found["why"].startswith("constant amplitude")
    assert found["strip"] is None and found["id"] == ""


def test_a_phase_that_follows_a_prior_is_not_evaluable_and_a_failed_arm_is_empty(fresh):
    two_by_three(fresh)
    refused = {"evaluable": False, "reason": PRIOR, "spread_ratio": 1.0}
    blank = {"mae": None, "ssim": None, "frc50": None}
    for seed in (1, 2, 3):
        change(fresh, "agc", seed, last__gate__phase=refused, last__standard__phase=blank)
        change(fresh, "control", seed, outcome="failed", best=None, last=None)
    app = opened("arms")
    prior, failed = (cell(app, arm, "phase MAE") for arm in ("agc", "control"))
    assert prior["text"] == "not evaluable" and PRIOR in prior["why"]
    assert cell(app, "agc", "amp MAE")["n"] == "3 of 3 seeds"
    assert failed["text"] == "–" and failed["why"]


def test_data_sets_are_fenced(fresh):
    two_data_sets(fresh)
    app = opened("arms")
    headings = [fence["heading"] for fence in table(app)["fences"]]
    assert headings == ["data/tiny · data dddddddddddd", "data/other · data eeeeeeeeeeee"]
    changed = table(app)["fences"][1]["rows"][0]
    assert changed["arm"] == "agc"


def test_the_filter_finds_words_of_name_question_and_difference(fresh):
    two_by_three(fresh)
    assert arms_of(opened("arms", find="AGC")) == ["agc"]
    assert arms_of(opened("arms", find="norm agc gradient")) == ["agc"], "what differs"
    assert "None of these 2 arms" in opened("arms", find="nothing").info[0].value


def test_a_query_of_an_earlier_version_is_answered_in_a_sentence(fresh):
    two_by_three(fresh)
    app = opened("arms", q="arm ~ **x** and amp_mae > [y](http://z)")
    assert "Filter by words" in app.info[0].value
    assert "**x" not in app.info[0].value and "](http" not in app.info[0].value
    assert arms_of(app) == ["control", "agc"]


def test_the_order_is_in_the_address(fresh):
    two_by_three(fresh)
    assert table(opened("arms", sort="-amp_mae"))["sort"] == "-amp_mae"


def test_another_network_differs_in_its_own_settings_too():
    """Two arms of another network are told apart by what only that network has."""
    from types import SimpleNamespace

    from app.arms.rows import ABSENT, changes
    from study.settings import load_study

    arms = load_study(Path(__file__).parent.parent.parent / "studies" / "params.yaml").arms

    def differs(name: str, against: str) -> dict:
        sides = (SimpleNamespace(row=arms[n]) for n in (name, against))
        return changes(*sides)  # type: ignore[arg-type]

    plain, scaled = (differs(n, "control_no_clip") for n in ("stable", "stable_layerscale"))
    assert plain["generator.layerscale_init"] == (ABSENT, None)
    assert scaled["generator.layerscale_init"] == (ABSENT, 1e-3)
    assert plain["generator.name"] == scaled["generator.name"] == ("hybrid", "stable_hybrid")


@given(
    st.lists(st.floats(0.0, 1.0), min_size=8, max_size=40),
    st.lists(st.floats(100.0, 1000.0), min_size=1, max_size=1),
)
def test_one_outlier_does_not_squeeze_the_others(values, outlier):
    """The axis holds the middle half whole, stays within the values, and marks what is beyond."""
    from app.arms.rows import axis_of, beyond, position

    both = [value - 0.5 for value in values] + outlier
    scale = axis_of(both)
    assert scale is not None and scale[2] == "linear"
    low, high, _ = scale
    assert min(both) <= low <= high <= max(both)
    first, _, third = quantiles(both, n=4)
    assert low <= first and third <= high
    assert all(0 <= position(value, scale) <= 1 for value in both)
    if third - first > 1e-3:
        assert beyond(outlier[0], scale) == (outlier[0] > third + 3 * (third - first))


def test_selected_arms_lead_to_compare(fresh):
    two_by_three(fresh)
    app = opened("arms", tick=["agc", "control"])
    assert links(app)["Compare these 2"] == "arms=agc&arms=control&checkpoint=last"
    assert table(app)["selected"] == ["agc", "control"]


def test_an_arm_that_is_not_here_is_a_sentence(fresh):
    two_by_three(fresh)
    app = opened("arms", arms=["<b>agcc", "control"])
    assert "address" in app.warning[0].value and "<b>" not in app.warning[0].value
    assert table(app)["selected"] == ["control"]


def test_verdicts_lead_to_their_claims(fresh):
    two_by_three(fresh)
    found = [query for query in links(opened("arms")).values() if "status" in query]
    assert found == ["status=inconclusive"]


def test_a_stale_claim_is_counted_once(fresh):
    two_by_three(fresh)
    change(fresh, "agc", 1, last__val_loss=3.0)
    found = [query for query in links(opened("arms")).values() if "status" in query]
    assert found == ["status=stale"]


# --- what was added and not started -----------------------------------------------------------


@pytest.fixture
def added(fresh, monkeypatch):
    """Two arms with results, one without, and a claim on it that the findings do not know."""
    two_by_three(fresh)
    arms = {
        "control": stored.arm(seeds=(1, 2, 3)),
        "agc": stored.arm("control", (1, 2, 3), clip=stored.AGC),
        "longer": stored.arm("control", (1, 2), epochs=20),
    }
    settings(fresh, **arms)
    contrast = {"treatment": "longer", "control": "control"}
    claims = {"AGC-001": stored.claim(), "LONGER-001": stored.claim(arms=contrast)}
    write_yaml(fresh / "claims.yaml", {"claims": claims})
    monkeypatch.setenv("ARMATURE_PUBLISHED_ON_LOOPBACK", "1")  # the test has no config.toml
    monkeypatch.setattr("study.jobs.api.ensure", lambda root: None)
    return fresh


def test_an_arm_that_was_added_is_found_and_started(added):
    app = opened("arms")
    captions = " ".join(caption.value for caption in app.caption).replace("\\", "")
    assert "LONGER-001: pending" in captions and "arm=longer" in links(app).values()
    assert arms_of(app) == ["control", "agc"]
    app.button(key="start-longer").click().run()
    assert not app.exception and [job.arm for job in jobs.jobs(added)] == ["longer"]
    assert "start-longer" not in {button.key for button in app.button}


def test_a_claim_that_was_not_judged_yet_is_pending(added):
    app = opened("findings")
    message = " ".join(str(item.value) for item in app.markdown).replace("\\", "")
    assert "pending" in message and "LONGER-001" in message


@pytest.mark.parametrize("name", ["claims.yaml", "findings.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "claims: {A: 3}", '{"format": 2}', "format: 9"])
def test_a_broken_file_is_named_and_the_arms_stay(added, name, content):
    (added / name).write_text(content)
    app = opened("arms")
    assert arms_of(app) == ["control", "agc"]
    assert any(name in error.value.replace("\\", "") for error in app.error)


def test_equal_arms_without_a_reason_are_an_error(fresh):
    two_by_three(fresh)
    for seed in (1, 2, 3):
        change(fresh, "agc", seed, training__history_sha256=f"control{seed}")
        scores = json.loads((fresh / f"results/control/seeds/s{seed}.json").read_text())["last"]
        change(fresh, "agc", seed, last=scores)
    assert "ERROR" in opened("arms").error[0].value


def test_the_csv_has_every_number_with_its_id_and_seeds(fresh):
    from app.arms import build, table
    from app.arms.rows import columns

    two_by_three(fresh)
    rows = build.table("last")
    lines = list(csv.DictReader(io.StringIO(table.as_csv(list(rows.values()), columns("last")))))
    found = next(x for x in lines if x["id"] == "agc/mean/last.standard.amplitude.mae")
    assert float(found["estimate"]) == pytest.approx((0.101 + 0.104 + 0.097) / 3)
    assert found["values"] == "s1=0.101 s2=0.104 s3=0.097" and found["n"] == "3"
    assert len(lines) == 2 * len(columns("last"))


# --- against the committed results ------------------------------------------------------------


def commit(root: Path) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "results")):
        subprocess.run(("git", *words), cwd=root, check=True, capture_output=True)


def test_results_that_moved_differ_from_the_committed_ones(fresh):
    from app.arms.build import comparison

    two_by_three(fresh)
    commit(fresh)
    assert {e.result for e in comparison().values()} == {"identical"}
    change(fresh, "agc", 1, last__val_loss=9.0)
    change(fresh, "agc", 2, last__val_loss=9.1)
    change(fresh, "agc", 3, last__val_loss=9.2)
    assert comparison()["agc"].result == "differs"
    assert comparison()["control"].result == "identical"


def test_an_option_that_is_null_on_both_sides_is_no_change():
    from app.arms.table import changes

    changed = {"generator.name": ("hybrid", "cnn"), "generator.init": (None, None), "lr": (0.1, 1)}
    assert changes(changed) == ["generator.name: hybrid → cnn", "lr: 0.1 → 1"]
