"""Overview: what the table holds on checkouts of every kind, and where its links lead."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest
from checkouts import change, one_run, opened, troubled, two_by_three, two_data_sets

from study.params import UserError

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
    app = opened("overview")
    assert app.subheader[0].value == "No runs in this checkout"
    assert app.code[0].value == "make pull\nmake repro"


def test_one_run_has_its_dot_and_no_interval(fresh):
    one_run(fresh)
    found = cell(opened("overview"), "control", "amp SSIM")
    assert found["n"] == "1 of 1 seeds" and found["half"] == ""
    assert len(found["strip"]["dots"]) == 1 and found["strip"]["low"] is None


def test_every_seed_is_a_dot_and_the_control_is_first(fresh):
    two_by_three(fresh)
    app = opened("overview")
    assert arms_of(app) == ["control", "agc"]
    for arm in ("control", "agc"):
        found = cell(app, arm, "amp MAE")
        assert found["n"] == "3 of 3 seeds" and " ± " in found["half"]
        assert [dot[1].split()[0] for dot in found["strip"]["dots"]] == ["s1", "s2", "s3"]
    row = table(app)["fences"][0]["rows"][1]
    assert row["changed"][0] == "clip.gradient_clip_algorithm: norm → agc"
    assert cell(app, "agc", "best loss")["epochs"] == "epoch 2"


def test_what_collapsed_has_no_score(fresh):
    troubled(fresh)
    app = opened("overview")
    found = cell(app, "agc", "amp SSIM")
    assert found["n"] == "1 of 3 seeds" and "constant amplitude (s2)" in found["why"]
    row = table(app)["fences"][0]["rows"][1]
    assert row["outcomes"] == [1, 1, 1]
    assert "s1: loss is NaN at epoch 1" in row["causes"]


def test_an_arm_of_constants_is_not_evaluable(fresh):
    from checkouts import GATE

    two_by_three(fresh)
    for seed in (1, 2, 3):
        blank = {"mae": None, "ssim": None, "frc50": None}
        change(fresh, "agc", seed, last__gate__amplitude=GATE, last__standard__amplitude=blank)
    found = cell(opened("overview"), "agc", "amp SSIM")
    assert found["text"] == "not evaluable" and found["why"].startswith("constant amplitude")
    assert found["strip"] is None and found["id"] == ""


def test_data_sets_are_fenced(fresh):
    two_data_sets(fresh)
    app = opened("overview")
    headings = [fence["heading"] for fence in table(app)["fences"]]
    assert headings == ["data/tiny · data dddddddddddd", "data/other · data eeeeeeeeeeee"]
    changed = table(app)["fences"][1]["rows"][0]
    assert changed["arm"] == "agc"


def test_the_query_stands_in_the_address(fresh):
    two_by_three(fresh)
    assert arms_of(opened("overview", q="arm ~ agc and amp_mae > .05")) == ["agc"]
    none = opened("overview", q="amp_mae > 5")
    assert "None of these 2 arms" in none.info[0].value


def test_a_query_that_is_none_is_told_with_its_place(fresh):
    two_by_three(fresh)
    app = opened("overview", q="amp_mae > $x")
    assert "character 11" in app.warning[0].value
    assert app.code[0].value.splitlines()[1].index("^") == 10
    assert arms_of(app) == ["control", "agc"]
    told = opened("overview", q="**x** > [y](http://z)").warning[0].value
    assert "**x" not in told and "](http" not in told


def test_selected_arms_lead_to_compare(fresh):
    two_by_three(fresh)
    app = opened("overview", arms=["agc", "control"])
    assert links(app)["Compare these 2"] == "arms=agc&arms=control&checkpoint=last"
    assert table(app)["selected"] == ["agc", "control"]


def test_an_arm_that_is_not_here_is_a_sentence(fresh):
    two_by_three(fresh)
    app = opened("overview", arms=["<b>agcc", "control"])
    assert "not here" in app.warning[0].value and "<b>" not in app.warning[0].value
    assert table(app)["selected"] == ["control"]


def test_verdicts_lead_to_their_claims(fresh):
    two_by_three(fresh)
    found = [query for query in links(opened("overview")).values() if "status" in query]
    assert found == ["status=inconclusive"]


def test_a_stale_claim_is_counted_once(fresh):
    two_by_three(fresh)
    change(fresh, "agc", 1, last__val_loss=3.0)
    found = [query for query in links(opened("overview")).values() if "status" in query]
    assert found == ["status=stale"]


def test_equal_arms_without_a_reason_are_an_error(fresh):
    two_by_three(fresh)
    for seed in (1, 2, 3):
        change(fresh, "agc", seed, training__history_sha256=f"control{seed}")
        scores = json.loads((fresh / f"results/control/seeds/s{seed}.json").read_text())["last"]
        change(fresh, "agc", seed, last=scores)
    assert "ERROR" in opened("overview").error[0].value


def test_the_csv_has_every_number_with_its_id_and_seeds(fresh):
    from app.overview import build, table
    from app.overview.rows import columns

    two_by_three(fresh)
    rows, _ = build.table("last")
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


def test_committed_results_are_read_whole(fresh):
    from app.overview.committed import committed_arms
    from study.evidence.table import committed_results

    two_by_three(fresh)
    commit(fresh)
    ours, theirs = committed_arms(fresh, "HEAD"), committed_results(fresh)
    assert {n: a.seeds for n, a in ours.items()} == {n: a.seeds for n, a in theirs.items()}
    assert list(ours) and all(len(arm.seeds) == 3 for arm in ours.values())


def test_results_that_moved_differ_from_the_committed_ones(fresh):
    from app.overview.committed import comparison

    two_by_three(fresh)
    commit(fresh)
    assert {e.result for e in comparison().values()} == {"identical"}
    change(fresh, "agc", 1, last__val_loss=9.0)
    change(fresh, "agc", 2, last__val_loss=9.1)
    change(fresh, "agc", 3, last__val_loss=9.2)
    assert comparison()["agc"].result == "differs"
    assert comparison()["control"].result == "identical"


# --- the query --------------------------------------------------------------------------------

COLUMNS = {"arm": str, "is": str, "amp_ssim": float, "loss": float}
ROWS = (
    {"arm": "control", "is": "arm", "amp_ssim": 0.7, "loss": 0.05},
    {"arm": "agc", "is": "arm", "amp_ssim": 0.9, "loss": 0.06},
    {"arm": "flat", "is": "floor", "amp_ssim": 0.3, "loss": None},
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ["control", "agc", "flat"]),
        ("arm ~ agc and amp_ssim > .8", ["agc"]),
        ("arm = CONTROL or arm = flat", ["control", "flat"]),
        ("not arm ~ c", ["flat"]),
        ("not (arm ~ agc or is = floor)", ["control"]),
        ("arm ~ agc or arm ~ flat and amp_ssim > 1", ["agc"]),
        ("loss>=5e-2", ["control", "agc"]),
        ("loss != 1", ["control", "agc"]),  # a row without the number matches no comparison
        ("is != arm", ["flat"]),
        ("arm !~ 'a'", ["control"]),
        ("amp_ssim == 0.9", ["agc"]),
    ],
)
def test_a_query_keeps_what_it_says(text, kept):
    from app.overview.query import parse

    test = parse(text, COLUMNS)
    assert [row["arm"] for row in ROWS if test(row)] == kept


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("amp_ssin > 1", 0, "did you mean"),
        ("amp_ssim ~ 1", 9, "one of = != < <= > >="),
        ("arm > agc", 4, "one of ~ !~ = !="),
        ("arm ~", 5, "got the end"),
        ("(arm ~ agc", 10, "closing bracket"),
        ("arm ~ agc amp_ssim > 1", 10, "and, or, or the end"),
        ("amp_ssim > much", 11, "the number"),
        ("arm ~ 'agc", 6, "opens nothing"),
        ("and", 0, "a column"),
        ("__import__('os')", 0, "no column"),
        ("(" * 60 + "arm ~ a", 20, "deeper"),
    ],
)
def test_a_broken_query_says_where_and_what_is_accepted(text, at, words):
    from app.overview.query import QueryError, parse

    with pytest.raises(QueryError, match=words.replace("(", r"\(")) as error:
        parse(text, COLUMNS)
    assert error.value.at == at and isinstance(error.value, UserError)
