"""A metric against settings, columns that are chosen, and views that are saved."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from checkouts import opened, rendered

from study.settings import UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def rows_of():
    from app import load
    from app.arms import build
    from app.arms.rows import columns
    from app.compare.config import settings_of

    rows = list(build.table("last").values())
    settings = {row.name: settings_of(row.name) or {} for row in rows}
    column = next(c for c in columns("last") if c.alias == "amp_mae")
    assert set(settings) == set(load.results())
    return rows, settings, column


def test_only_numeric_settings_that_differ_are_offered_and_points_are_the_means(runs):
    from app.arms.chart import curve, values, varying

    rows, settings, column = rows_of()
    assert varying(settings) == ["optimizer.lr"]
    table = values(rows, column, settings, ["optimizer.lr"])
    assert set(table["arm"]) == {"control", "better"}, "dead and lost have no score, flat no rate"
    for _, line in table.iterrows():
        [row] = [row for row in rows if row.name == line["arm"]]
        cell = row.line.cells[column.path]
        assert line["estimate"] == pytest.approx(sum(cell.values.values()) / len(cell.values))
        assert line["optimizer.lr"] == settings[row.name]["optimizer.lr"]
    figure = curve(table, "optimizer.lr", "amp MAE", settings)
    assert len(figure.data) == 1, "they differ in this setting only, so one line joins them"
    assert list(figure.data[0].x) == sorted(table["optimizer.lr"])


def test_a_heat_map_has_one_cell_for_every_pair_of_values():
    import pandas

    from app.arms.chart import heat_map

    table = pandas.DataFrame(
        {"arm": list("abcd"), "id": list("abcd"), "estimate": [1.0, 2.0, 3.0, 5.0],
         "x": [1, 2, 1, 1], "y": [10, 10, 20, 20]}
    )  # fmt: skip
    [heat] = heat_map(table, "x", "y", "MAE").data
    assert [list(heat.x), list(heat.y)] == [["1", "2"], ["10", "20"]]
    assert list(heat.z[0]) == [1.0, 2.0]
    assert heat.z[1][0] == 4.0 and heat.customdata[1][0] == "c, d"


def test_the_chart_and_the_columns_are_in_the_address(runs):
    app = opened("arms", x="optimizer.lr", columns="amp MAE")
    assert not app.exception
    assert any(figure.proto.id for figure in app.get("plotly_chart"))
    wrong = opened("arms", x="nothing", y="amp MEA")
    message = "\n".join(rendered(item.value) for item in wrong.warning)
    assert "nothing" in message and "did you mean 'amp MAE'" in message


def test_the_chart_scrolls_in_a_narrow_window(runs, monkeypatch):
    """Names at the ends of its lines would leave no room for the lines."""
    from app.compare import plot_style

    keys, known = [], plot_style.wide
    monkeypatch.setattr(plot_style, "wide", lambda key: keys.append(key) or known(key))
    opened("arms", x="optimizer.lr")
    assert keys == ["arms-chart"]


# --- saved views ------------------------------------------------------------------------------


def test_a_view_is_read_as_it_was_written(tmp_path: Path):
    from app.view_files import View, files, read_view, write_view

    view = View(page="arms", query={"study": ["full"], "tick": ["a", "b"]})
    write_view(tmp_path, "best", view.page, view.query)
    assert [read_view(file) for file in files(tmp_path)] == [view]
    with pytest.raises(UserError, match="exists"):
        write_view(tmp_path, "best", "arms", {})
    with pytest.raises(UserError, match="not a name"):
        write_view(tmp_path, "../best", "arms", {})


@pytest.mark.parametrize(
    "content",
    [
        {"page": "arms"},
        {"page": "../x", "query": {}},
        {"page": "arms", "query": {"tick": "a"}},
        {"page": "arms", "query": {"tick": ["x" * 401]}},
        {"page": "arms", "query": {}, "code": "x"},
    ],
)
def test_a_file_that_is_no_view_is_a_sentence_and_the_page_goes_on(fresh, content):
    from app.view_files import read_view

    file = fresh / "views" / "odd.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="odd"):
        read_view(file)


def test_an_address_is_saved_and_deleted_from_the_page(runs, monkeypatch):
    monkeypatch.setenv("ARMATURE_PUBLISHED_ON_LOOPBACK", "1")
    app = opened("arms", weights="best", find="control")
    app.text_input(key="view-name").set_value("mine").run()
    app.button(key="view-save").click().run()
    assert not app.exception
    stored = json.loads((runs / "views/mine.json").read_text())
    assert stored["page"] == "arms"
    assert stored["query"]["weights"] == ["best"] and stored["query"]["find"] == ["control"]
    app.button(key="view-delete-mine").click().run()
    assert not (runs / "views/mine.json").exists()


def test_a_reader_saves_nothing(runs, monkeypatch):
    from app import actions

    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    assert "view-save" not in {button.key for button in opened("arms").button}
    with pytest.raises(UserError):
        actions.save_view("mine", "arms", {})
    assert not (runs / "views").exists()


# --- lines that are told apart without colour -------------------------------------------------


def test_every_place_has_a_dash_of_its_own_on_the_page_and_on_paper():
    from app.compare import plot_style
    from study.report.figures import style

    for dashes, colours in (
        (plot_style.DASHES, plot_style.COLOURS),
        (style.DASHES, style.CYCLE),
    ):
        assert len(set(dashes)) == len(dashes) == len(colours)


@pytest.mark.parametrize("arms", [2, 11, 40])
def test_lines_of_a_chart_are_named_at_their_ends(arms: int):
    import pandas

    from app.arms.chart import curve

    names = [f"arm{i}_{end}" for i in range(arms) for end in "ab"]
    table = pandas.DataFrame(
        {"arm": names, "id": names, "estimate": range(2 * arms), "n": 3, "lr": [1, 2] * arms}
    ).assign(low=lambda t: t["estimate"] - 1, high=lambda t: t["estimate"] + 1)
    settings = {name: {"lr": 1, "family": name.partition("_")[0]} for name in names}
    figure = curve(table, "lr", "MAE", settings)
    message = [note.text for note in figure.layout.annotations]
    fit = arms * 14 < figure.layout.height
    assert message == ([f"arm{i}_a and 1 more" for i in reversed(range(arms))] if fit else [])
    assert {note.x for note in figure.layout.annotations} <= {2}
    assert figure.layout.xaxis.range == (0.95, 2.05), "names do not stretch the axis"


@pytest.mark.parametrize("tops", [[0.0], [5, 5, 5], [-9, 50, 52, 99, 200], [100] * 7])
def test_names_move_apart_and_stay_inside(tops: list[float]):
    from app.compare.plot_style import spread

    found = spread(tops, 14, 100)
    assert all(later - earlier >= 14 for earlier, later in pairwise(found))
    assert min(found) >= 0 and max(found) <= 100
    assert spread([10.0, 40.0], 14, 100) == [10.0, 40.0], "names with room stay where they are"
