"""Compare: deep links, what every tab says on checkouts of every kind, and what it draws."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from checkouts import ROOT, change, one_run, opened, rendered, troubled, two_by_three, two_data_sets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TABS = ("Curves", "Metrics", "Images", "Residuals", "Resolution", "Config", "Diagnostics")
ARMS = ["control", "better"]


def page(**query):
    return opened("compare", **query)


def page_text(app) -> str:
    """All words of the page."""
    boxes = [*app.info, *app.warning, *app.error, *app.caption, *app.markdown, *app.subheader]
    return "\n".join(rendered(box.value) for box in boxes)


def figures(app) -> dict[str, dict]:
    """Plotly figures by their alternative text."""
    charts = app.get("plotly_chart")
    return {chart.proto.alt: json.loads(chart.proto.spec) for chart in charts}


def test_an_empty_checkout_says_how_to_fill_it():
    assert "make repro" in page().info[0].value


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.slow
def test_a_deep_link_opens_its_tab_and_no_other(runs, tab):
    app = page(arms=ARMS, tab=tab)
    assert not app.error
    labels = [(found.label, bool(found.children)) for found in app.tabs]
    assert labels == [(name, name == tab) for name in TABS]


def test_what_a_url_asks_for_and_is_not_there_is_a_sentence(runs):
    app = page(arms=["control", "contrl"], tab="Pictures", seed="77", checkpoint="newest")
    text = page_text(app)
    for asked in ("'contrl'", "'Pictures'", "'77'", "'newest'"):
        assert asked in text
    assert "did you mean 'control'" in text


def test_final_is_last_and_a_tab_may_be_written_small(runs):
    app = page(arms=ARMS, tab="images", epoch="final")
    assert "weights of the last epoch" in page_text(app)
    assert page(arms=ARMS, tab="Images", checkpoint="best").session_state["checkpoint"] == "best"


def test_a_lenient_link_is_followed_on_a_page_that_is_open(fresh):
    """The browser's Back brings what the address was before its widgets were drawn."""
    two_by_three(fresh)
    app = page(tab="Metrics", checkpoint="best")
    for tab, epoch, weights in (("config", "final", "last"), ("curves", "best", "best")):
        app.query_params |= {"tab": tab, "epoch": epoch}
        app.run()
        assert not app.exception and not app.warning
        assert app.session_state["tab"] == tab.capitalize()
        assert app.session_state["checkpoint"] == weights
        assert "epoch" not in app.query_params
    app.query_params["tab"] = "Pictures"
    app.run()
    assert not app.exception and "'Pictures'" in page_text(app)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"epoch": "frist"}, "epoch 'frist'"),
        ({"quantity": "bogus"}, "quantity 'bogus'"),
        ({"quantity": "trainin loss"}, "did you mean 'training loss'"),
    ],
)
def test_a_wrong_word_is_told_and_the_rest_stands(fresh, query, words):
    two_by_three(fresh)
    app = page(tab="Curves", **query)
    assert words in page_text(app).replace("\\", "")
    assert app.get("plotly_chart")


@pytest.mark.parametrize("tab", ["Curves", "Metrics", "Config"])
def test_a_broken_file_is_a_sentence_in_its_tab(fresh, tab):
    two_by_three(fresh)
    (fresh / "params.yaml").write_text("arms: [")
    assert "params.yaml" in page(tab=tab).error[0].value


# --- curves -----------------------------------------------------------------------------------


def test_seeds_are_thin_and_the_median_is_theirs(runs):
    from app import load

    figure = next(iter(figures(page(arms=ARMS, tab="Curves")).values()))
    history = load.history("control")
    median = history.groupby("epoch")["val_loss"].median()
    thick = next(t for t in figure["data"] if t.get("name") == "control")
    assert decoded(thick["y"]) == pytest.approx(median.to_list())
    assert figure["layout"]["yaxis"]["type"] == "log"
    thin = next(t for t in figure["data"] if t.get("line", {}).get("width") == 1)
    assert np.isfinite(np.array(decoded(thin["x"]), dtype=float)).sum() == len(history)


def decoded(values) -> list[float]:
    """What plotly wrote as typed bytes or as a list."""
    import base64

    if isinstance(values, dict):
        values = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)


def test_a_run_that_went_wrong_is_told_with_its_curve(runs):
    text = page_text(page(arms=["control", "dead", "lost"], tab="Curves"))
    assert "control: 3 of 3 seeds ended ok" in text
    assert "dead: 0 of 3 seeds ended ok (s101 collapsed, s102 collapsed, s103 collapsed)" in text
    assert "lost: 0 of 3 seeds ended ok (s101 failed" in text


def test_the_best_epoch_is_that_of_the_scores(runs):
    from app import load
    from study.report.series import best_epoch

    for arm in ("control", "better", "dead"):
        for seed, rows in load.history(arm).groupby("seed"):
            assert best_epoch(rows) == load.results()[arm].numbers[seed]["training.best_epoch"]


# --- metrics ----------------------------------------------------------------------------------


def metric(app, name: str):
    """The table of one metric, a row an arm."""
    titles = [rendered(heading.value) for heading in app.subheader]
    return app.dataframe[titles.index(name)].value.set_index("arm")


def test_a_cell_is_estimate_interval_and_seeds(fresh):
    from study.evidence.explain import explain
    from study.evidence.format import fmt

    two_by_three(fresh)
    row = metric(page(arms=["control", "agc"], tab="Metrics"), "amplitude MAE").loc["agc"]
    message = explain("agc/mean/last.standard.amplitude.mae", fresh)
    assert row["last"].startswith(fmt(message.value, 3)) and "[" in row["last"]
    assert row["seeds"] == "3 of 3 seeds"
    effect = explain("agc/difference/last.standard.amplitude.mae", fresh)
    assert row["difference"].startswith(f"+{fmt(effect.value, 3)}")
    assert row["difference"].endswith("n = 3")


def test_failed_and_collapsed_seeds_are_counted_and_named(fresh):
    troubled(fresh)
    row = metric(page(arms=["control", "agc"], tab="Metrics"), "amplitude MAE").loc["agc"]
    assert row["seeds"] == "1 of 3 seeds"
    assert "s1 failed" in row["note"] and "s2 collapsed" in row["note"]


def test_a_degenerate_arm_has_no_score_in_any_metric_set(runs):
    names = ["standard.phase.ssim", "published.phase.ssim", "published.amplitude.ssim"]
    app = page(arms=["control", "dead", "flat"], tab="Metrics", metric=names)
    for name in ("phase SSIM", "phase SSIM (published set)", "amplitude SSIM (published set)"):
        row = metric(app, name).loc["dead"]
        assert row["last"].startswith("not evaluable: constant"), name
        assert "0 of 3" in row["seeds"]
    row = metric(app, "phase SSIM (published set)").loc["flat"]
    assert row["seeds"] == "floor: constant on purpose"


def test_many_seeds_without_a_number_leave_room_for_the_reason():
    from app.compare.rows import lost_text

    reason, names = "not evaluable: constant phase", [f"s{i}" for i in range(100_000, 100_012)]
    whole = lost_text(dict.fromkeys(names, reason), 12)
    part = lost_text(dict.fromkeys(names[:7], reason) | {names[8]: "failed"}, 12)
    assert reason in whole and "12" in whole and len(whole) < 70
    assert reason in part and names[0] in part and f"{names[8]}: failed" in part
    assert lost_text({"s1": reason}, 1).startswith("s1"), "one seed is named"


@pytest.mark.slow
def test_a_baseline_counts_the_runs_behind_its_mean(monkeypatch):
    monkeypatch.chdir(ROOT)
    stored = len(list((ROOT / "results" / "rpie_converged" / "seeds").glob("*.json")))
    if stored < 2:
        pytest.skip("this checkout has no committed results yet: `make repro` makes them")
    app = page(arms=["control", "rpie_converged"], tab="Metrics")
    assert str(stored) in metric(app, "amplitude MAE").loc["rpie_converged"]["seeds"]


def test_a_number_is_looked_up_under_the_id_that_the_table_gives(runs):
    from app.compare.rows import Settings, row_of
    from study.evidence.explain import explain

    row = row_of("better", "standard.amplitude.mae", Settings("last", None))
    for entry in row.entries:
        assert explain(entry["id"], runs).value == entry["estimate"]
    assert row.ids["difference"] == "better/difference/last.standard.amplitude.mae"
    other = row_of("better", "standard.amplitude.mae", Settings("last", "dead"))
    assert "difference" not in other.ids


def test_equal_results_raise_a_flag(fresh):
    study = two_by_three(fresh)
    assert study
    for seed in (1, 2, 3):
        content = json.loads((fresh / f"results/control/seeds/s{seed}.json").read_text())
        change(fresh, "agc", seed, last=content["last"], best=content["best"])
    assert "nothing explains it" in page_text(page(arms=["control", "agc"], tab="Metrics"))


# --- data sets --------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", TABS)
def test_different_data_is_fenced(fresh, tab):
    two_data_sets(fresh)
    app = page(arms=["control", "agc"], tab=tab)
    assert "2 data sets" in app.warning[0].value
    if tab not in ("Config",):
        assert "data/other" in page_text(app)


def test_no_difference_goes_across_a_fence(fresh):
    from app.compare.rows import Settings, row_of

    two_data_sets(fresh)
    row = row_of("agc", "standard.amplitude.mae", Settings("last", None))
    assert row.texts["difference"] == "control ran on other data"
    assert not any("difference" in entry["id"] for entry in row.entries)


def test_seeds_on_different_data_are_named(fresh):
    from app.compare.rows import Settings, row_of

    two_by_three(fresh)
    for arm in ("control", "agc"):
        change(fresh, arm, 1, data__sha256="e" * 64)
    row = row_of("agc", "standard.amplitude.mae", Settings("last", None))
    assert row.texts["difference"] == "the seeds of agc, control ran on different data"


def test_a_dash_is_no_difference(fresh):
    from app.compare.metrics import has_difference
    from app.compare.rows import Settings, row_of

    two_by_three(fresh)
    for settings in (Settings("last", "control"), Settings("last", None)):
        row = row_of("control", "standard.amplitude.mae", settings)
        assert row.texts["difference"] == "–" and not has_difference(row, settings)
    settings = Settings("last", "control")
    assert has_difference(row_of("agc", "standard.amplitude.mae", settings), settings)


# --- images -----------------------------------------------------------------------------------


def image_figure(app) -> dict:
    return next(figure for alt, figure in figures(app).items() if alt.startswith("Columns truth"))


def test_all_panels_share_one_view_and_the_range_of_the_truth(runs):
    from app.compare.scenes import scene

    figure = image_figure(page(arms=ARMS, tab="Images", difference="both"))
    layout = figure["layout"]
    axes = [axis for name, axis in layout.items() if name.startswith(("xaxis", "yaxis"))]
    assert len(axes) == 2 * 3 * 4
    assert {axis["matches"] for axis in axes} == {"x", "y"}
    assert layout["yaxis"]["scaleanchor"] == "x" and layout["uirevision"]
    truth = scene("control", 102, "last").truth["amplitude"]
    low, high = np.percentile(truth, (0.5, 99.5))
    colours = layout["coloraxis"]
    assert (colours["cmin"], colours["cmax"]) == (pytest.approx(low), pytest.approx(high))
    assert layout["coloraxis2"]["cmin"] == -layout["coloraxis2"]["cmax"]


def test_the_images_are_those_that_were_scored(runs):
    """The mean of the drawn difference is the stored error."""
    from app import load
    from app.compare.scenes import scene

    for arm in ARMS:
        one = scene(arm, 101, "last")
        for channel in ("amplitude", "phase"):
            stored = load.results()[arm].numbers[101][f"last.standard.{channel}.mae"]
            assert np.abs(one.difference(channel)).mean() == pytest.approx(stored, rel=1e-12)


def test_a_constant_object_says_so_on_its_image_and_has_no_number(runs):
    app = page(arms=["control", "dead"], tab="Images")
    words = [note["text"] for note in image_figure(app)["layout"]["annotations"]]
    assert sum("not evaluable:<br>constant amplitude" in text for text in words) == 2
    assert any("constant phase" in text for text in words)
    assert "dead s101: not evaluable: constant amplitude" in page_text(app)
    assert not app.metric


@pytest.mark.parametrize("tab", ["Images", "Residuals", "Resolution"])
def test_what_is_not_pulled_or_failed_is_a_sentence(runs, tab):
    for seed in (101, 102, 103):
        (runs / f"runs/better/s{seed}/object_last.npz").unlink()
    text = page_text(page(arms=["control", "better", "lost"], tab=tab))
    assert "better seed 102 is not pulled: `study pull better`" in text
    assert "lost seed 101 left no object of the last epoch (failed): the loss became NaN" in text


def test_a_cause_is_text_and_never_markup(runs):
    change(runs, "lost", 101, cause="**x** $a$ <b>")
    message = page(arms=["lost"], tab="Images").info[0].value
    assert message.endswith(r"\*\*x\*\* \$a\$ \<b\>")


def test_best_is_never_shown_for_last(runs):
    from app.compare.scenes import Scene, scene

    (runs / "runs/control/s101/object_last.npz").unlink()
    assert isinstance(scene("control", 101, "best"), Scene)
    assert "not pulled" in scene("control", 101, "last")


def test_an_object_that_was_not_scored_is_not_shown(runs):
    from app.compare.scenes import scene

    other = (runs / "runs/better/s101/object_last.npz").read_bytes()
    (runs / "runs/control/s101/object_last.npz").write_bytes(other)
    assert "not the one that was scored" in scene("control", 101, "last")


@pytest.mark.parametrize("tab", ["Curves", "Metrics", "Config"])
def test_curves_metrics_and_settings_need_no_artifact(runs, tab):
    import shutil

    shutil.rmtree(runs / "runs")
    shutil.rmtree(runs / "data")
    app = page(arms=ARMS, tab=tab)
    assert "not pulled" not in page_text(app) and not app.error
    assert len(app.get("plotly_chart")) + len(app.dataframe) > 0


def test_one_seed_for_all_or_each_arms_median(runs):
    from app import load
    from study.report.gather import median_seed

    path = "best.standard.amplitude.mae"
    middle = {arm: median_seed(load.results()[arm], path) for arm in ARMS}
    text = page_text(page(arms=ARMS, tab="Images", checkpoint="best"))
    assert "control s{control}, better s{better}".format(**middle) in text
    assert "control s103, better s103" in page_text(page(arms=ARMS, tab="Images", seed="103"))


def test_the_profile_goes_through_the_images(runs):
    app = page(arms=ARMS, tab="Images", along="column", at_column="20")
    from app.compare.scenes import scene

    figure = next(f for alt, f in figures(app).items() if "along column 20" in alt)
    drawn = next(trace for trace in figure["data"] if trace["name"] == "control")
    one = scene("control", 102, "last")
    assert decoded(drawn["y"]) == pytest.approx(one.images["amplitude"][:, 20 - one.corner[1]])
    assert decoded(drawn["x"])[0] == one.corner[0]


def test_a_large_window_is_sent_coarser_and_its_middle_whole():
    from app.compare.panels import BUDGET, BYTES, Window, fitting

    window = Window(10, 20, 336, 346)
    view = fitting(window, 15, True)
    assert view.step > 1 and view.window == window
    assert 15 * 326 * 326 / view.step**2 * BYTES <= BUDGET
    middle = fitting(window, 15, False)
    h, w = middle.window.shape
    assert middle.step == 1 and 15 * h * w * BYTES <= BUDGET
    assert abs((middle.window.y0 + middle.window.y1) - (10 + 336)) <= 1
    assert fitting(Window(0, 0, 100, 100), 15, False).window == Window(0, 0, 100, 100)


def test_a_scale_bar_is_round_and_in_nm_where_a_pixel_has_a_size():
    from app.compare.panels import scale_bar

    assert scale_bar(None, 130) == (20, "20 px")
    length, words = scale_bar(8e-9, 130)
    assert words == "200 nm" and length == pytest.approx(25)


# --- residuals, resolution, config, diagnostics -----------------------------------------------


def test_a_stored_pattern_is_shown_and_another_is_said_to_be_none(runs):
    app = page(arms=ARMS, tab="Residuals", pattern="3")
    assert any(alt.startswith("Pattern 3: measured") for alt in figures(app))
    app = page(arms=ARMS, tab="Residuals", pattern="40")
    assert not any(alt.startswith("Pattern 40") for alt in figures(app))
    assert "no stored prediction of pattern 40: a run keeps 8 of 49" in page_text(app)
    kinds = {button.proto.label for button in app.get("download_button")}
    assert kinds == {"CSV"}, "a figure on paper needs the prediction"


def test_numbers_of_residuals_and_resolution_have_ids(runs):
    from app.compare import resolution
    from app.compare.chosen import Chosen, blocks
    from study.evidence.explain import explain

    app = page(arms=ARMS, tab="Residuals")
    labels = [rendered(button.label) for button in app.button]
    ids = [label for label in labels if label.endswith(".r_factor.sum")]
    assert [name.partition("/")[0] for name in ids] == ARMS
    assert all(explain(name, runs).value is not None for name in ids)

    chosen = Chosen(tuple(ARMS), "last", "101")
    last = json.loads((runs / "results/better/seeds/s102.json").read_text())["last"]
    last["standard"]["phase"]["frc50"] = 0.25
    change(runs, "better", 102, last=last)
    rows = resolution.crossings(chosen, blocks(ARMS)[0], (1.0, "1/px"))
    i = next(i for i, row in enumerate(rows) if row["s102"] == "0.25")
    event = {"selection": {"cells": [(i, "s102")]}}
    assert explain(resolution.picked_id(event, rows, chosen) or "", runs).value == 0.25
    assert resolution.picked_id({"selection": {"cells": [(i, "arm")]}}, rows, chosen) is None


@pytest.mark.parametrize("bad", ["49", "99999", "-1", "x", "1e999", "9" * 5000])
def test_a_pattern_that_is_none_is_a_sentence(runs, bad):
    app = page(arms=[*ARMS, "nobody"], tab="Residuals", pattern=bad)
    message = page_text(app)
    assert "there are 0 to 48" in message and "'nobody'" in message and app.get("plotly_chart")
    app.run()
    assert not app.exception and "there are 0 to 48" not in page_text(app)


def test_what_has_no_truth_is_not_offered_on_paper(runs, monkeypatch):
    from app import export
    from app.compare import images
    from app.compare.chosen import Chosen, blocks
    from app.compare.scenes import common_window, scene

    offered = []
    monkeypatch.setattr(export, "popover", lambda *given, **made: offered.append(made["draw"]))
    one = scene("control", 101, "last")
    for shown in (one, dataclasses.replace(one, truth=None)):
        images.exports(
            Chosen(("control",), "last", "101"), blocks(["control"])[0], [shown],
            common_window([shown]), images.Profile("row", 20), "alt",
        )  # fmt: skip
    assert offered[0] is not None and offered[1] is None


def test_a_run_without_any_r_factor_says_so(runs, monkeypatch):
    from app.compare import residuals
    from app.compare.scenes import scene

    message = []
    monkeypatch.setattr(residuals.st, "info", message.append)
    one = scene("control", 101, "last")
    blank = np.full_like(one.result.r_factor, np.nan)
    lost = dataclasses.replace(one, result=dataclasses.replace(one.result, r_factor=blank))
    assert [kept is one for kept in residuals.with_r_factor([lost, one])] == [True]
    assert len(message) == 1 and "control s101 has no R-factor" in message[0]


def test_the_scan_map_holds_every_pattern_that_has_an_r_factor(runs):
    from app.compare.scenes import scene

    figure = next(f for alt, f in figures(page(arms=ARMS, tab="Residuals")).items()
                  if alt.startswith("R-factor"))  # fmt: skip
    ratio = scene("control", 102, "last").result.r_factor
    inside = np.flatnonzero(np.isfinite(ratio))
    drawn = figure["data"][0]
    assert [point[0] for point in drawn["customdata"]] == inside.tolist()
    assert decoded(drawn["marker"]["color"]) == pytest.approx(ratio[inside])


def test_the_curve_crosses_where_it_was_scored(runs):
    from app.compare.resolution import crossing
    from app.compare.scenes import scene
    from study.metrics.frc import crossing as first_below
    from study.metrics.pair import Undefined
    from study.report.figures.scenes import ring_curve

    one = scene("control", 101, "last")
    for channel in ("amplitude", "phase"):
        _, curve = ring_curve(one.pair(channel))
        side = min(one.truth[channel].shape)
        try:
            expected = first_below(curve, 0.5) / side
        except Undefined:
            expected = None
        assert crossing(one, channel) == (None if expected is None else pytest.approx(expected))


def test_a_crossing_that_never_comes_is_a_value_and_a_constant_has_none(runs):
    from app.compare.resolution import BRIEF

    app = page(arms=["control", "dead", "flat"], tab="Resolution")
    rows = app.dataframe[0].value
    dead, flat = rows[rows["arm"] == "dead"], rows[rows["arm"] == "flat"]
    assert set(flat["s0"]) == {BRIEF} and BRIEF in set(dead["s101"])
    for channel in ("amplitude", "phase"):
        assert f"not evaluable: constant {channel}" in page_text(app), "the reason stands below"


def test_config_shows_what_differs_and_all_on_request(runs):
    app = page(arms=ARMS, tab="Config")
    assert list(app.dataframe[0].value["setting"]) == ["optimizer.lr"]
    assert "optimizer.lr 0.001 → 0.002" in page_text(app)
    table = page(arms=ARMS, tab="Config", settings="true").dataframe[0].value
    assert len(table) > 20


def test_dead_layers_are_a_map_and_healthy_ones_a_sentence(runs):
    app = page(arms=["control", "dead"], tab="Diagnostics")
    assert "control: no dead unit in any of 4 layers" in page_text(app)
    figure = next(f for alt, f in figures(app).items() if alt.startswith("Share of dead units"))
    assert figure["data"][0]["y"] == ["lifter", "encoder.0", "decoder.0", "head"]


def test_stored_statistics_are_shown_and_a_torn_line_is_left_out(runs):
    folder = runs / "runs" / "control" / "s102" / "diagnostics"
    folder.mkdir()
    record = {"layer": "lifter.0", "kind": "parameter", "norm": 0.5, "source": "training"}
    lines = [json.dumps({**record, "epoch": epoch}) for epoch in (1, 2)]
    (folder / "gradients.jsonl").write_text("\n".join([*lines, '{"layer": "li', "7", ""]))
    app = page(arms=ARMS, tab="Diagnostics")
    assert "Stored statistics of control s102" in page_text(app)
    assert any(alt.startswith("gradient norm of control") for alt in figures(app))
    assert "No stored activation or gradient statistics of better" in page_text(app)


def test_one_run_has_no_interval_and_no_difference(fresh):
    one_run(fresh)
    row = metric(page(tab="Metrics"), "amplitude MAE").loc["control"]
    assert "[" not in row["last"] and row["seeds"] == "1 of 1 seed"


def test_a_reference_has_no_settings_that_could_differ(runs):
    """What only networks have is not a difference to a reference; another network's setting is."""
    from app.compare.config import settings_table

    both = settings_table(["control", "flat"], False)
    assert both.empty or not both["setting"].str.match(r"optimizer\.|generator\.").any()
    assert "optimizer.lr" in set(settings_table(["control", "better", "flat"], False)["setting"])
    assert "optimizer.lr" in set(settings_table(["control", "flat"], True)["setting"])


def test_an_arm_without_results_leads_to_its_start(runs):
    (runs / "params.yaml").write_text(
        (runs / "params.yaml").read_text().replace("  flat:", "  fresh:", 1)
    )
    app = page(arms=["control", "fresh"], tab="Config")
    assert "fresh has no results yet" in "".join(info.value for info in app.info)
    assert "arm=fresh" in [link.proto.query_string for link in app.get("page_link")]
    assert not app.warning


def test_at_most_eight_arms_can_be_chosen(runs):
    assert page(arms=["control"]).multiselect(key="arms").proto.max_selections == 8


def test_an_unknown_arm_of_many_is_answered_without_the_whole_list(fresh):
    from app.choose import _hint

    many = [f"arm_{i}" for i in range(107)]
    assert len(_hint("zzz", many)) < 100 and "107" in _hint("zzz", many)
    assert "arm_7" in _hint("arm_77x", many)
    assert all(name in _hint("zzz", many[:3]) for name in many[:3])


def test_what_is_not_pulled_has_its_picture_from_git(runs):
    """The committed picture stands in for an object that is not here."""
    from study.evidence.images import NAME, write_images
    from study.formats.dataset import load_dataset
    from study.runs import RunFolder

    data = load_dataset(runs / "data" / "tiny", ("test",))
    run = RunFolder(runs / "runs" / "control" / "s101")
    write_images(runs / "results" / "control" / NAME, 101, run, data.splits["test"])
    shutil.rmtree(runs / "runs" / "control")
    app = page(arms=["control"], tab="Images")
    assert "not pulled" in app.info[0].value
    assert any("<img" in block.proto.body for block in app.get("html"))
