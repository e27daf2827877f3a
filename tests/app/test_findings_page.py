"""Findings: the claims as judged, opened by the address, and comments that change no verdict."""

import json
import threading
from pathlib import Path

import pytest
import stored
from checkouts import (
    ROOT,
    change,
    judge,
    opened,
    rendered,
    settings,
    store,
    troubled,
    two_by_three,
    two_data_sets,
)
from streamlit.testing.v1 import AppTest

from study.evidence.staleness import read_findings
from study.runs import write_json
from study.settings import Study, UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without .streamlit/config.toml would be open to others, and so read alone."""
    monkeypatch.setenv("ARMATURE_PUBLISHED_ON_LOOPBACK", "1")


def decided(root: Path, **claims) -> Study:
    """Control and agc with six pairs, of which agc is worse in all."""
    study = settings(root, control=stored.arm(), agc=stored.arm("control", clip=stored.AGC))
    store(root, study, "control", stored.CONTROL)
    store(root, study, "agc", stored.WORSE)
    judge(root, study, **(claims or {"AGC-001": stored.claim(needed_seeds=6)}))
    return study


def page_text(app) -> str:
    """Everything the page says."""
    shown = (*app.markdown, *app.caption, *app.warning, *app.info, *app.error)
    return "\n".join([str(element.value) for element in shown] + pictures(app))


def pictures(app) -> list[str]:
    return [html.proto.body for html in app.get("html")]


def links(app) -> dict[str, str]:
    return {link.proto.label: link.proto.query_string for link in app.get("page_link")}


def open_keys(app) -> set[str]:
    return {button.key for button in app.button if str(button.key).startswith("open-")}


def test_a_closed_claim_is_a_line_and_no_more(fresh):
    decided(fresh)
    app = opened("findings")
    words = page_text(app)
    assert r"supported" in words and "AGC over\\-damps" in words
    assert rendered(app.button(key="open-AGC-001").label) == "Open AGC-001"
    assert "margin 0.01; 6 of 6 seeds" in words
    assert not app.code and not links(app)


def test_the_address_opens_a_claim(fresh):
    decided(fresh)
    app = opened("findings", claim="AGC-001")
    words = page_text(app)
    for topic in ("**Claim**", "**Test**", "**Changed factors**", "**Limit**", "same data"):
        assert topic in words
    assert "dvc repro evaluate@control evaluate@agc" in app.code[0].value
    assert links(app)["Numbers of both arms"] == (
        "arms=control&arms=agc&tab=Metrics&checkpoint=last"
    )
    assert len(app.expander) == 3  # seeds, history, a comment


def test_a_button_opens_and_closes_and_the_address_follows(fresh):
    decided(fresh)
    app = opened("findings")
    app.button(key="open-AGC-001").click().run()
    assert app.query_params["claim"] in ("AGC-001", ["AGC-001"]) and app.code
    app.button(key="open-AGC-001").click().run()
    assert not app.query_params.get("claim") and not app.code


def test_a_claim_that_is_not_here_is_a_sentence(fresh):
    decided(fresh)
    app = opened("findings", claim="[AGC](http://x)")
    assert "address" in app.warning[0].value and "](http" not in app.warning[0].value


def test_filters_stand_in_the_address(fresh):
    other = stored.claim(text="Of rates.", family="rates", direction="lower", needed_seeds=6)
    decided(fresh, **{"AGC-001": stored.claim(needed_seeds=6), "AGC-002": other})
    assert open_keys(opened("findings")) == {"open-AGC-001", "open-AGC-002"}
    assert open_keys(opened("findings", status=["supported"])) == {"open-AGC-001"}
    assert open_keys(opened("findings", family=["rates"])) == {"open-AGC-002"}
    assert open_keys(opened("findings", text="RATES")) == {"open-AGC-002"}
    assert open_keys(opened("findings", pipelines=["this pipeline"])) == {
        "open-AGC-001",
        "open-AGC-002",
    }
    none = opened("findings", text="nothing like it")
    assert "No claim" in none.info[0].value


def test_the_picture_holds_interval_margin_zero_and_every_seed(fresh):
    from app.findings import interval

    decided(fresh)
    entry = read_findings(fresh).claims["AGC-001"]
    drawn = interval.picture(entry, interval.reach([entry]), "supported")
    assert drawn.count('class="seed"') == 6 and drawn.count('class="end"') == 2
    for kind in ("margin", "zero", "bar", "point", "claimed higher"):
        assert f'class="{kind}"' in drawn
    # A worse treatment lies right of zero: the whole bar beyond the middle.
    bar = drawn.split('class="bar" style="left:')[1].split("%")[0]
    assert float(bar) > 50


@pytest.mark.parametrize("value", [-9.0, -1.0, 0.0, 0.3, 1.0, 9.0])
def test_places_keep_order_and_stay_inside(value):
    from app.findings import interval

    place = interval._x(value, 1.0)
    assert interval.EDGE <= place <= 100 - interval.EDGE
    assert (place - 50) * value >= 0


def test_no_effect_is_computed_across_data_sets(fresh):
    study = two_data_sets(fresh)
    judge(fresh, study, **{"AGC-001": stored.claim()})
    app = opened("findings", claim="AGC-001")
    words = page_text(app)
    assert "not evaluable" in words and "no effect computed" in words
    assert ":red-badge[:material/block: same data fails]" in words


def test_a_failed_seed_is_shown_with_its_cause(fresh):
    troubled(fresh)
    app = opened("findings", claim="AGC-001")
    seeds = app.dataframe[-2].value
    assert "failed: loss is NaN at epoch 1" in str(seeds["agc"].iloc[0])
    assert "rank last" in page_text(app)


def test_many_changes_are_one_warning(monkeypatch):
    from app.findings import entry

    shown: list[str] = []
    monkeypatch.setattr(entry.st, "warning", lambda text, icon: shown.append(text))
    files = [f"runs/control/s{seed}/history.csv changed" for seed in range(40)]
    entry._stale(files)
    assert len(shown) == 1 and "and 37 more" in shown[0] and "s39" not in shown[0]
    entry._stale([])
    assert len(shown) == 1


def test_a_moved_result_makes_the_claim_stale_with_its_file(fresh):
    decided(fresh)
    change(fresh, "agc", 1, last__val_loss=3.0)
    app = opened("findings", claim="AGC-001")
    assert any("s1.json changed".replace(".", r"\.") in w.value or "s1.json" in w.value
               for w in app.warning)  # fmt: skip
    assert "the verdict was supported" in page_text(app)
    assert open_keys(opened("findings", status=["stale"])) == {"open-AGC-001"}
    assert open_keys(opened("findings", status=["supported"])) == {"open-AGC-001"}


def test_a_claim_that_left_is_kept_as_superseded(fresh):
    study = decided(fresh)
    found = json.loads((fresh / "findings.json").read_text())
    found["superseded"]["OLD-1"] = {**found["claims"]["AGC-001"], "id": "OLD-1", "text": "Was so."}
    write_json(fresh / "findings.json", found)
    app = opened("findings", claim="OLD-1", status=["superseded"])
    assert "superseded" in page_text(app) and "no longer in claims.yaml" in page_text(app)
    assert study.arms


def test_text_of_a_claim_cannot_format_the_page(fresh):
    decided(fresh, **{"AGC-001": stored.claim(text="**x** <script>1</script> $a$ [l](http://e)")})
    words = page_text(opened("findings", claim="AGC-001"))
    assert "<script>1" not in words.replace(r"\<script\>1", "") and "[l](http" not in words


@pytest.mark.slow
def test_published_numbers_and_the_decision_have_their_views(monkeypatch):
    from checkouts import ROOT

    monkeypatch.chdir(ROOT)
    app = opened("findings", view="published table")
    table = app.table[0].value
    assert {"published", "ours", "verdict", "what it measured"} <= set(table)
    assert all(rendered(cell).strip(" ″") for cell in table["what it measured"]), "no ditto marks"
    app = opened("findings", view="decision")
    assert "Crash rule" in page_text(app)


# --- comments ---------------------------------------------------------------------------------


def only_the_comments() -> None:
    from app.findings import comment_form

    comment_form.show("AGC-001")


def test_a_comment_is_signed_kept_and_changes_no_verdict(fresh):
    decided(fresh)
    before = (fresh / "findings.json").read_bytes()
    # AppTest runs a switched page without main.py: `layout.enter` starts anew, a click is lost.
    app = AppTest.from_function(only_the_comments, default_timeout=60).run()
    app.text_input(key="name-AGC-001").input("Ada <b>")
    app.text_area(key="text-AGC-001").input("Looks\nright <script>1</script>")
    app.button(key="sign-AGC-001").click().run()
    assert not app.exception
    line = json.loads((fresh / "comments.jsonl").read_text())
    assert (line["claim"], line["name"]) == ("AGC-001", "Ada <b>")
    shown = next(body for body in pictures(app) if "Ada" in body)
    assert "&lt;script&gt;" in shown and "UTC" in shown and "right" in shown
    assert (fresh / "findings.json").read_bytes() == before


def test_read_only_hides_the_form_and_shows_the_comments(fresh, monkeypatch):
    from app import comments

    decided(fresh)
    comments.add(fresh, "AGC-001", "Ada", "Seen.", ["AGC-001"])
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    app = opened("findings", claim="AGC-001")
    assert not app.text_area and any("Seen." in body for body in pictures(app))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("", "x", "name: is empty"),
        ("a", "  ", "text: is empty"),
        ("a" * 61, "x", "too long"),
        ("a", "x" * 2001, "too long"),
        ("a\nb", "x", "more than one line"),
        ("a", "x\x1b[31m", "unprintable"),
        ("\u202eada", "x", "unprintable"),
    ],
)
def test_what_is_no_comment_is_refused_in_words(fresh, name, text, words):
    from app import comments

    with pytest.raises(UserError, match=words):
        comments.add(fresh, "AGC-001", name, text, ["AGC-001"])
    assert not (fresh / "comments.jsonl").exists()


def test_a_comment_needs_a_claim(fresh):
    from app import comments

    with pytest.raises(UserError, match="no claim"):
        comments.add(fresh, "../x", "Ada", "x", ["AGC-001"])


def test_writers_side_by_side_lose_nothing(fresh):
    from app import comments

    def write(writer: int) -> None:
        for i in range(8):
            comments.add(fresh, "AGC-001", f"w{writer}", f"n {i}", ["AGC-001"])

    writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found, broken = comments.read(fresh)
    assert len(found) == 32 and broken == 0
    for i in range(4):
        assert [c.text for c in found if c.name == f"w{i}"] == [f"n {k}" for k in range(8)]


def test_a_torn_line_is_kept_and_told(fresh):
    from app import comments

    decided(fresh)
    (fresh / "comments.jsonl").write_text('{"claim": "AGC-0')
    comments.add(fresh, "AGC-001", "Ada", "Seen.", ["AGC-001"])
    found, broken = comments.read(fresh)
    assert [c.text for c in found] == ["Seen."] and broken == 1
    assert "1 lines of comments.jsonl" in page_text(opened("findings", claim="AGC-001"))


def test_two_by_three_is_inconclusive_with_what_it_lacks(fresh):
    two_by_three(fresh)
    assert "**To decide it**" in page_text(opened("findings", claim="AGC-001"))


@pytest.mark.slow
def test_every_view_of_the_committed_findings_is_drawn(monkeypatch):
    """Those without a filter too; the one of an investigation with a figure shows it."""
    from app import load
    from study import investigations

    monkeypatch.chdir(ROOT)
    found = load.findings()
    assert found is not None
    views = [view for part in investigations.parts("findings") for view in part.views(found)]
    assert any(not view.filter_by and view.rows for view in views)
    for view in views:
        app = opened("findings", view=view.name)
        assert len(app.table) == bool(view.rows)
        drawn = [item for item in app.get("html") if "data:image/svg+xml" in item.proto.body]
        assert len(drawn) == (view.name == "stability")
