"""Exports: figures that say what they show, tables with ids, arrays that others can open."""

import io
import json
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
from checkouts import opened, two_by_three

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ID = "control/s101/last.standard.amplitude.mae"


@pytest.fixture
def scenes(runs: Path):
    from app.compare.scenes import scene

    return [scene(arm, 101, "last") for arm in ("control", "better", "dead")]


def facts():
    from app.export import Facts

    return Facts("images", "what it shows", (ID,), "abc1234", "dvc repro evaluate@control")


def text_of(kind: str, content: bytes) -> str:
    """Everything readable in a file; streams of a PDF and texts of a PNG are unpacked."""
    if kind == "png":
        from PIL import Image

        return json.dumps(dict(Image.open(io.BytesIO(content)).info), default=str)
    if kind == "pdf":
        return content.decode("latin-1").replace("\\(", "(").replace("\\)", ")")
    return content.decode()


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
@pytest.mark.slow
def test_a_figure_carries_its_ids_commit_and_command(scenes, kind):
    from app import export

    print_figures = export.late("app.compare.print_figures")
    made = export.drawn(lambda: print_figures.images(scenes), kind, facts())
    head = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[kind]
    assert made.startswith(head)
    message = text_of(kind, made)
    for word in (ID, "abc1234", "dvc repro evaluate@control"):
        assert word in message
    assert made == export.drawn(lambda: print_figures.images(scenes), kind, facts())


def test_a_figure_on_paper_says_that_a_constant_is_not_evaluable(scenes):
    from app import export

    svg = export.drawn(
        lambda: export.late("app.compare.print_figures").images(scenes), "svg", facts()
    )
    assert b"not evaluable:" in svg and b"constant amplitude" in svg


@pytest.mark.parametrize("name", ["images", "resolution", "residuals"])
def test_every_figure_of_objects_can_be_drawn_for_paper(scenes, name):
    from app.compare import print_figures

    pattern = [3] if name == "residuals" else []
    figure = getattr(print_figures, name)(scenes[:2], *pattern)
    assert figure.axes


def test_curves_and_marks_can_be_drawn_for_paper(runs):
    from app.compare import print_figures
    from app.compare.chosen import blocks
    from app.compare.curves import QUANTITIES, lines_of
    from app.compare.rows import Settings, row_of

    arms = ("control", "dead", "lost")
    lines = lines_of(blocks(arms)[0])
    shown = [quantity for quantity in QUANTITIES if lines[0].has(quantity.column)]
    assert len(print_figures.curves(lines, shown).axes) == len(shown) > 1
    rows = [row_of(arm, "standard.amplitude.mae", Settings("last", None)) for arm in arms]
    place = {arm: i for i, arm in enumerate(arms)}
    drawn = "".join(
        text.get_text() for text in print_figures.seeds(rows, "amplitude MAE", place).axes[0].texts
    )
    assert "not evaluable" in drawn


def test_paper_has_the_colours_of_the_screen_and_no_label_is_cut(runs):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_hex

    from app.compare import plot_style, print_figures
    from app.compare.chosen import blocks
    from app.compare.curves import QUANTITIES, lines_of
    from app.compare.rows import Settings, row_of
    from study.report.figures.style import styled

    arms = ("better", "control")
    lines = lines_of(blocks(arms)[0])
    rows = [row_of(arm, "standard.amplitude.mae", Settings("last", None)) for arm in arms]
    with styled():
        figures = (
            print_figures.seeds(
                rows, "amplitude MAE (object units), last", {"better": 1, "control": 0}
            ),
            print_figures.curves(lines, QUANTITIES),
        )
        for figure in figures:
            colours = {to_hex(line.get_color()) for axis in figure.axes for line in axis.lines}
            assert {plot_style.colour(0).lower(), plot_style.colour(1).lower()} <= colours
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            for axis in figure.axes:
                labels = (axis.xaxis.label, axis.yaxis.label)
                for label in (label for label in labels if label.get_text()):
                    box = label.get_window_extent(canvas.get_renderer())
                    assert box.x0 >= 0 and box.y0 >= 0, label.get_text()
                    assert box.y1 <= figure.bbox.height, label.get_text()


def test_one_far_seed_is_an_arrow_and_does_not_stretch_the_axis():
    from study.report.series import Seeds, axis_of, limits

    near = {f"s{i}": 0.1 + 0.001 * i for i in range(11)}
    row = Seeds("a", {**near, "s99": 2.0})
    axis = axis_of(list(row.values.values()))
    assert axis is not None and axis[2] == "linear" and limits(axis)[1] < 0.2
    sides = {seed: (x, side) for seed, x, _, _, side in row.drawn(axis)}
    assert sides["s99"] == (limits(axis)[1], "right")
    assert all(sides[seed] == (value, "") for seed, value in near.items())
    decades = axis_of([1e-4, 1e-3, 1e-2, 1e-1])
    assert decades is not None and decades[2] == "log"
    assert limits(decades)[0] < 1e-4 < 1e-1 < limits(decades)[1]


def test_a_table_has_the_id_and_the_command_of_each_number(fresh):
    from app import export
    from app.compare.metrics import csv
    from app.compare.rows import Settings, row_of
    from study.evidence.explain import explain

    two_by_three(fresh)
    rows = [row_of(arm, "val_loss", Settings("last", None)) for arm in ("control", "agc")]
    table = pandas.read_csv(io.BytesIO(export.csv_file(csv(rows), facts())))
    assert len(table) > 10
    for record in table.to_dict("records"):
        message = explain(record["id"], fresh)
        assert message.value == pytest.approx(record["estimate"], rel=1e-12)
        assert record["command"].endswith(f"study explain {record['id']}")
    assert set(table["commit"]) == {"abc1234"}


def test_npz_holds_the_stored_objects_and_nothing_pickled(scenes):
    from app.compare.arrays import npz_file

    stored = np.load(io.BytesIO(npz_file(scenes, facts())), allow_pickle=False)
    for one in scenes:
        assert np.array_equal(stored[f"{one.arm}_s101_object"], one.result.object)
        assert np.array_equal(stored[f"{one.arm}_s101_truth_phase"], one.truth["phase"])
    assert json.loads(str(stored["about"]))["ids"] == [ID]


def test_cxi_holds_object_probe_and_positions_in_metres(scenes):
    from app.compare.arrays import cxi_file

    one = scenes[0]
    content = cxi_file(one, facts())
    manifest, split = one.dataset.manifest, one.dataset.splits["test"]
    with h5py.File(io.BytesIO(content), "r") as file:
        assert np.array_equal(file["entry_1/image_1/data"][()], one.result.object)
        assert np.array_equal(file["entry_1/probe_1/data"][()], one.result.probe)
        pixel = file["entry_1/image_1/pixel_size"]
        assert pixel.attrs["nominal"] == manifest.nominal
        metres = file["entry_1/sample_1/geometry_1/translation"][()]
        places = metres[:, 1::-1] / pixel[()]
        assert places == pytest.approx(split.positions_px.reshape(-1, 2))
        assert "evaluate@control" in file["entry_1/image_1/process_1/command"].asstr()[()]
    assert content == cxi_file(one, facts())


def test_nothing_is_made_before_a_click(runs, monkeypatch):
    from app import export

    def refused(*given):
        raise AssertionError("drawn without a click")

    for name in ("drawn", "csv_file", "figure_file"):
        monkeypatch.setattr(export, name, refused)
    for tab in ("Curves", "Images"):
        app = opened("compare", arms=["control", "better"], tab=tab)
        kinds = [button.proto.label for button in app.get("download_button")]
        assert {"SVG", "PDF", "PNG", "CSV"} <= set(kinds)
    assert {"NPZ", "CXI control", "CXI better"} <= set(kinds)


def test_an_arm_has_one_colour_on_screen_and_on_paper():
    from app.compare import plot_style
    from study.report.figures.style import CYCLE

    assert plot_style.COLOURS == CYCLE
