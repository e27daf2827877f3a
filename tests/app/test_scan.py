"""My scan: what is accepted, what is kept, and the walk from a file to an image."""

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import scan_files
from checkouts import opened, rendered
from streamlit.testing.v1 import AppTest

from app import actions, load
from app.scan_tasks import child, importer, mask, places, steps, work
from app.scan_tasks.importer import Request
from app.scan_tasks.steps import Upload
from study.reading import read_mapping
from study.runs import write_json
from study.settings import DataParams, UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
HOSTILE = sorted((Path(__file__).parents[3] / "shared" / "data" / "hostile").glob("import-*"))
LONGEST_S = 400.0


def reading(root: Path, name: str, data: bytes, **request: object) -> Path:
    """A folder with an upload, as `begin` makes it, without a child."""
    folder = work.create(root, name)
    (folder / "scan").mkdir()
    file = folder / "scan" / name
    file.write_bytes(data)
    work.save(folder, Request(str(file), **request), True)
    write_json(folder / "look.json", {"command": []})
    return folder


def uploads(root: Path) -> list[Path]:
    """Every file of the private folders that is not JSON, a log or an array of the importer."""
    return [file for kind in work.KINDS for file in root.glob(f"work/scans/*/{kind}/*")]


# --- masks ------------------------------------------------------------------------------------


def test_a_rectangle_covers_both_of_its_corners_in_any_order():
    one = mask.of_shapes("rectangle 2 3 5 9", 16)
    assert one.sum() == 4 * 7 and one[2, 3] and one[5, 9] and not one[6, 9] and not one[2, 2]
    assert np.array_equal(one, mask.of_shapes("rectangle 5 9 2 3", 16))


def test_a_polygon_with_the_corners_of_a_rectangle_is_that_rectangle():
    polygon = mask.of_shapes("polygon 2 3 2 9 5 9 5 3", 16)
    assert np.array_equal(polygon, mask.of_shapes("rectangle 2 3 5 9", 16))


def test_what_is_drawn_on_the_chart_becomes_lines_that_are_read():
    lines = mask.drawn(
        {
            "box": [{"x": [3.2, 9.1], "y": [1.8, 5.0]}],
            "lasso": [{"x": [1, 4, 1], "y": [1, 1, 4]}],
        }
    )
    assert [kind for kind, _ in mask.parse("\n".join(lines))] == ["rectangle", "polygon"]
    assert mask.of_shapes("\n".join(lines), 16)[2:6, 3:10].all()


@pytest.mark.parametrize(
    "line", ["circle 1 2 3", "rectangle 1 2 3", "polygon 1 2 3 4", "rectangle a b c d",
             "rectangle 1 2 3 nan", "rectangle 1 2 3 1e300"],
)  # fmt: skip
def test_a_line_that_is_no_shape_is_refused(line):
    with pytest.raises(UserError, match="not a shape"):
        mask.parse(f"rectangle 1 1 2 2\n{line}")


# --- places -----------------------------------------------------------------------------------


@pytest.fixture
def beamtime(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured folder with one scan, a link to a file outside, and a file of another kind."""
    folder = toy / "beamtime"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "star.cxi").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    (toy / "secret.cxi").write_bytes(b"x")
    (folder / "link.cxi").symlink_to(toy / "secret.cxi")
    monkeypatch.setattr("app.access.secret", lambda name: {"folders": [str(folder)]})
    return folder


def test_only_files_below_the_configured_folders_are_accepted(beamtime: Path):
    found = places.listed()
    assert set(found) == {"beamtime/deep/star.cxi", "beamtime/link.cxi"}
    assert places.checked(found["beamtime/deep/star.cxi"]) == beamtime / "deep" / "star.cxi"
    outside = (found["beamtime/link.cxi"], beamtime / ".." / "secret.cxi", beamtime / "gone.cxi")
    for path in outside:
        with pytest.raises(UserError):
            places.checked(path)


@pytest.mark.parametrize("wrong", [{}, {"folders": "/x"}, {"folders": ["data"]}, ["/x"]])
def test_a_malformed_list_of_folders_is_refused(monkeypatch, wrong):
    monkeypatch.setattr("app.access.secret", lambda name: wrong)
    with pytest.raises(UserError, match="folders"):
        places.folders()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\..\\x.cxi", ".hidden.npz", "-rf.npz", "a b$(x).cxi", "", "ü"]
)
def test_the_name_of_an_upload_is_no_path_and_no_option(name):
    found = places.safe_name(name)
    assert found and "/" not in found and "\\" not in found and found[0] not in ".-"
    assert found.isascii() and found == places.safe_name(found)


# --- what is kept -----------------------------------------------------------------------------


def test_an_upload_above_the_limit_is_refused_and_not_kept(toy, monkeypatch):
    monkeypatch.setattr(places, "LARGEST_MB", 1)
    with pytest.raises(UserError, match="MB"):
        actions.begin_scan(Upload("big.npz", bytes(2**20 + 1)), {})
    assert not (toy / "work" / "scans").exists()


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04torn", b"\x89HDF\r\n\x1a\n", b"BZh9x"])
def test_a_file_of_another_kind_ends_as_a_sentence_with_nothing_kept(toy, data):
    folder = reading(toy, "scan.npz", data)
    assert child.main(folder, "look") == 2
    task = work.read_task(folder, "look")
    assert task.state == "refused" and task.cause and "Traceback" not in task.cause
    assert uploads(toy) == [] and not (folder / importer.MEAN).exists()


@pytest.mark.parametrize("wrong", ["probeGuess", "xcoords"])
def test_nothing_computed_from_a_refused_scan_is_kept(toy, wrong):
    """The fault is found when the mean pattern was already written."""
    with np.load(scan_files.unclear_scan(toy / "scan.npz")) as stored:
        arrays = {name: stored[name] for name in stored.files}
    stream = io.BytesIO()
    np.savez(stream, **arrays | {wrong: arrays[wrong] * np.nan})
    folder = reading(toy, "scan.npz", stream.getvalue(), shapes="rectangle 0 0 1 1")
    assert child.main(folder, "look") == 2
    assert work.read_task(folder, "look").state == "refused"
    assert [file for file in folder.rglob("*") if file.suffix in (".npz", ".npy")] == []


@pytest.mark.slow
@pytest.mark.skipif(not HOSTILE, reason="the hostile files of the workplace are not here")
def test_hostile_files_end_as_a_sentence_with_nothing_kept(toy):
    for path in HOSTILE:
        folder = reading(toy, path.name, path.read_bytes())
        if child.main(folder, "look") == 0:
            continue  # harmless: it is a scan after all
        task = work.read_task(folder, "look")
        assert task.state == "refused" and task.cause, path.name
        assert uploads(toy) == [], path.name


def test_pixels_that_are_pickled_are_not_loaded(toy):
    class Armed:
        def __reduce__(self):
            return (os.mkdir, (str(toy / "armed"),))

    stream = io.BytesIO()
    np.savez(stream, data=np.array([Armed()], dtype=object), allow_pickle=True)
    folder = reading(toy, "scan.npz", stream.getvalue())
    assert child.main(folder, "look") == 2
    assert not (toy / "armed").exists() and uploads(toy) == []


def test_in_read_only_mode_nothing_is_offered(toy, monkeypatch):
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    app = opened("my_scan")
    assert not app.file_uploader and not app.button
    assert not (toy / "work" / "scans").exists()


@pytest.mark.parametrize("asked", ["../../etc", "0000000000-00000000", "<b>x</b>"])
def test_an_address_that_names_no_scan_is_a_sentence_and_writes_nothing(toy, asked):
    app = opened("my_scan", scan=asked)
    assert "choose a file" in rendered(app.error[0].value)
    assert not (toy / "work" / "scans").exists()


# --- unclear scans ----------------------------------------------------------------------------


def test_an_unclear_scan_offers_readings_with_an_object_each(toy):
    data = scan_files.unclear_scan(toy / "unclear.npz").read_bytes()
    folder = reading(toy, "unclear.npz", data)
    assert child.main(folder, "look") == 0
    rows = work.read_task(folder, "look").facts.readings
    assert len(rows) >= 2 and [row.misfit for row in rows] == sorted(r.misfit for r in rows)
    with np.load(folder / importer.READINGS) as arrays:
        assert len(arrays.files) == len(rows)
        assert all(np.iscomplexobj(arrays[name]) and arrays[name].size for name in arrays.files)
    app = opened("my_scan", scan=folder.name)
    assert len(app.get("plotly_chart")) == 1 + 2 * len(rows)
    assert not [button for button in app.button if button.key == "scan-import"]
    app.selectbox(key="scan-accept").set_value(2).run()
    assert not app.exception
    assert "--accept 2" in " ".join(str(code.value) for code in app.code)
    assert (read_mapping(folder / "request.json") or {})["accept"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--values counts --zero-frequency corner", ["--accept", "2"]),
        ("--position-scale 0.5", ["--position-scale", "0.5"]),
        (
            "--values counts --position-scale 0.5",
            ["--values", "counts", "--position-scale", "0.5"],
        ),
    ],
)
def test_an_accepted_row_is_in_the_command(tmp_path, options, words):
    request = Request("star.cxi", accept=2, options=options)
    command = importer.command(request, tmp_path, "star")
    assert command[-len(words) :] == words and command[:4] == ["import", "star.cxi", "--as", "star"]


def test_a_mask_is_in_the_command_and_counts_its_pixels(toy):
    data = scan_files.unclear_scan(toy / "unclear.npz").read_bytes()
    folder = reading(toy, "unclear.npz", data, shapes="rectangle 0 0 1 15", accept=1)
    assert child.main(folder, "look") == 0
    assert work.read_task(folder, "look").facts.masked >= 32
    scan = work.read(toy, folder.name)
    words = steps.import_command(toy, scan, "x")
    assert np.load(words[words.index("--mask") + 1]).sum() == 32


def test_a_mask_of_most_pixels_is_refused_and_the_scan_stays(toy):
    data = scan_files.unclear_scan(toy / "unclear.npz").read_bytes()
    folder = reading(toy, "unclear.npz", data, accept=1)
    assert child.main(folder, "look") == 0
    work.save(folder, Request(str(folder / "scan" / "unclear.npz"), threshold=0.0), True)
    (folder / "look.end.json").unlink()
    assert child.main(folder, "look") == 2
    assert "mask" in str(work.read_task(folder, "look").cause)
    assert [file.name for file in uploads(toy)] == ["unclear.npz"]


# --- the walk ---------------------------------------------------------------------------------


def ended(root: Path, scan_id: str, task: str) -> work.Task:
    """The task once its child has ended."""
    until = time.monotonic() + LONGEST_S
    while (found := work.read(root, scan_id).task(task)).state == "running":
        assert time.monotonic() < until, work.last_line(root / work.FOLDER / scan_id, task)
        time.sleep(0.2)
    return found


@pytest.mark.slow
def test_from_a_file_to_an_image_with_its_r_factor(toy: Path, tiny_params: DataParams):
    file = scan_files.write_scan(toy / "star.npz", scan_files.clear_scan(tiny_params))
    app = opened("my_scan")
    app.file_uploader(key="scan-upload").upload("star.npz", file.read_bytes(), "application/zip")
    press(app, "Read the scan")
    scan_id = "".join(app.query_params["scan"])
    assert ended(toy, scan_id, "look").state == "finished"
    kept = uploads(toy)
    assert [one.name for one in kept] == ["star.npz"]
    assert kept[0].stat().st_mode & 0o77 == 0 and kept[0].parents[1].stat().st_mode & 0o77 == 0
    app.run()
    assert {"misfit", "patterns"} <= {one.label for one in app.metric}
    app.text_input(key="scan-name").set_value("star").run()
    press(app, "Import")
    assert ended(toy, scan_id, "import").state == "finished"
    assert uploads(toy) == [] and (toy / "imported" / "star" / "manifest.json").is_file()
    app.run()
    app.number_input(key="scan-passes").set_value(20)
    app.number_input(key="scan-modes").set_value(2)
    app.checkbox(key="scan-refine").check().run()
    assert "--modes 2 --refine-positions" in " ".join(str(code.value) for code in app.code)
    press(app, "Reconstruct")
    task = ended(toy, scan_id, "reconstruct")
    assert task.state == "finished", task.cause
    assert 0 < task.facts.r_factor_fitted < 0.5
    app.run()
    assert not app.exception and not app.error
    message = {one.label: float(one.value) for one in app.metric}
    assert message["R held out"] == pytest.approx(task.facts.r_factor_held_out, rel=1e-3)
    alts = [chart.proto.alt for chart in app.get("plotly_chart")]
    for word in ("amplitude of the object", "phase of the object", "mode 2", "held-out", "refined"):
        assert any(word in alt for alt in alts), word
    press(app, "Remove")
    assert "scan" not in app.query_params
    assert not (toy / work.FOLDER / scan_id).exists() and (toy / "imported" / "star").is_dir()


def press(app: AppTest, label: str) -> None:
    """Press the button of that name and run the page."""
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


@pytest.mark.slow
def test_a_task_that_is_stopped_ends_with_its_children(toy: Path, tiny_params: DataParams):
    file = scan_files.write_scan(toy / "star.npz", scan_files.clear_scan(tiny_params))
    scan_id = actions.begin_scan(Upload("star.npz", file.read_bytes()), {})
    with pytest.raises(UserError, match="being processed"):
        work.start(toy, toy / work.FOLDER / scan_id, "look")
    actions.stop_scan(scan_id, "look")
    task = work.read(load.ROOT, scan_id).task("look")
    assert task.state == "stopped" and uploads(toy) == []


# --- damaged state ----------------------------------------------------------------------------


@pytest.mark.parametrize("pid", [1, -1, 0, "1", None, True, 2**80])
def test_stop_ends_no_process_that_a_damaged_file_names(toy, monkeypatch, pid):
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("a signal was sent"))
    folder = reading(toy, "scan.npz", b"x")
    write_json(folder / "look.json", {"pid": pid, "pid_started": 1, "since": time.time()})
    work.stop(folder, "look")
    assert work.read_task(folder, "look").state in ("stopped", "failed")
    work.remove(folder)
    assert not folder.exists()


def test_a_child_that_cannot_be_started_is_a_failed_task(toy, monkeypatch):
    def refused(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("study.runs.children.start", refused)
    folder = reading(toy, "scan.npz", b"x")
    (folder / "look.json").unlink()
    work.start(toy, folder, "look")
    task = work.read_task(folder, "look")
    assert task.state == "failed" and "Resource" in str(task.cause)


@pytest.mark.parametrize("request_", [{}, {"file": 5}, {"file": "x", "accept": "one"}, []])
def test_a_damaged_request_hides_its_own_scan_only(toy, request_):
    reading(toy, "good.npz", b"x")
    write_json(reading(toy, "bad.npz", b"x") / "request.json", request_)
    assert [scan.name for scan in work.every(toy)] == ["good.npz"]


@pytest.mark.parametrize("task", [{"command": 5}, {"command": [], "since": "x"}, {"since": -1e300}])
def test_a_damaged_task_is_a_failed_one(toy, task):
    folder = reading(toy, "scan.npz", b"x")
    write_json(folder / "look.json", task)
    (folder / "look.out").write_text("[" * 100_000)
    assert work.read_task(folder, "look").state in ("failed", "running")
    assert work.printed(folder, "look") == {}


def test_the_axes_of_the_mean_end_where_it_ends():
    from app.scan.views import mean_figure

    made = mean_figure(np.ones((32, 32)), np.zeros((32, 32), dtype=bool))
    assert list(made.layout.xaxis.range) == [-0.5, 31.5]
    assert list(made.layout.yaxis.range) == [31.5, -0.5] and made.layout.yaxis.autorange is False
