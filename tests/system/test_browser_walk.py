"""A new user's walk in one browser: findings, a sweep, a crash, a comparison, a scan.

The scan is simulated here; where the measured star is present, the last steps are repeated with it.
The study and the server are the walk's own: it kills the app and adds arms. Nothing asserts a time;
the walk prints what its steps took (`pytest -s`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from checking import find_measured_star
from study.jobs import jobs
from study.runs import read_json
from study.settings import DataParams, load_study
from system.app_server import ROOT, AppServer
from system.app_studies import GoalStudy
from system.conftest import Opener, served_clone
from system.test_browser_work import badge, timed, write
from system.watched import Watched

sys.path.insert(0, str(ROOT / "tests" / "app"))  # scan_files.py makes the scan
import scan_files

SLOW_MS = 600_000.0  # reading, training and reconstructing, on a machine that others use
RATES = ("0.0021", "0.0022", "0.0023")
TRIES = 20  # to draw on a chart that may not listen yet
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def goal_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoalStudy]:
    study = GoalStudy(tmp_path_factory.mktemp("walk") / "toy")
    yield study
    study.stop_all()


@pytest.fixture(scope="module")
def goal_app(goal_study: GoalStudy) -> Iterator[AppServer]:
    yield from served_clone(goal_study, "walk.log")


@pytest.fixture
def scans(tmp_path: Path, tiny_params: DataParams) -> list[Path]:
    """The simulated scan, and the measured one where it is present."""
    simulated = scan_files.write_scan(tmp_path / "sim.npz", scan_files.clear_scan(tiny_params))
    star = find_measured_star()
    return [simulated, star] if star else [simulated]


@pytest.fixture
def steps() -> Iterator[dict[str, float]]:
    """Name of a step -> seconds; printed at the end, also of a walk that failed."""
    taken: dict[str, float] = {}
    yield taken
    taken["in all"] = sum(taken.values())
    print("\n" + "\n".join(f"{seconds:7.1f} s  {name}" for name, seconds in taken.items()))


def test_from_the_findings_through_a_sweep_to_an_image(
    goal_app: AppServer,
    goal_study: GoalStudy,
    opener: Opener,
    scans: list[Path],
    steps: dict[str, float],
) -> None:
    root = goal_study.root
    watched = opener(goal_app)
    with timed(steps, "open the app, read the findings"):
        page = watched.open()
        expect(page.get_by_text("at most 5 object units").first).to_be_visible()
        found = read_json(root / "findings.json")
        assert found is not None
        expect(page.get_by_text(found["claims"]["GOAL-001"]["status"]).first).to_be_visible()
    before = set(load_study(root / "params.yaml").arms)
    with timed(steps, "sweep three values: add and start"):
        sweep(watched)
    with timed(steps, "close the browser, kill -9 the app, come back"):
        watched.assert_clean()
        page.context.close()
        goal_app.kill()
        goal_app.start()
        watched = opener(goal_app)
        page = watched.open_live("runs")
    added = [name for name in load_study(root / "params.yaml").arms if name not in before]
    assert len(added) == len(RATES)
    with timed(steps, "all three end and are committed"):
        for job in [job for job in jobs(root) if job.arm in added]:
            ended = goal_study.over(job.id)
            assert (ended.state, ended.cause, ended.attempts) == ("done", None, 1)
        expect(badge(page, "done")).to_be_visible()
    with timed(steps, "choose them in Arms, compare them with the control"):
        compare(watched, ["control", *added])
    for file in scans:
        watched.go("Summary")
        watched.go("My scan")
        scan(watched, file, steps)


def sweep(watched: Watched) -> None:
    """On New arm: one field with three values, priced, added and started."""
    page = watched.page
    watched.go("New arm")
    page.get_by_text("Sweep one field").click()
    watched.still()
    field = page.get_by_role("combobox", name="Field", exact=True)
    # Typed in full, the field is the only option: the list draws only the options in its window.
    field.fill("optimizer.lr")
    expect(page.get_by_role("option")).to_have_count(1)
    field.press("Enter")
    expect(field).to_have_value("optimizer.lr")
    watched.still()
    write(
        watched, page.get_by_role("textbox", name="Values, separated by commas"), ", ".join(RATES)
    )
    expect(page.get_by_text("3 arms, 6 runs").first).to_be_visible(timeout=SLOW_MS)
    watched.under("sweep-start").get_by_role("button").click()
    expect(page.locator("h1")).to_have_text("Runs", timeout=SLOW_MS)


def compare(watched: Watched, arms: list[str]) -> None:
    page = watched.page
    watched.go("Arms")
    for arm in arms:
        page.get_by_label(f"Select {arm} to compare", exact=True).check()
        watched.still()
    page.get_by_role("link", name=f"Compare these {len(arms)}").click()
    expect(page.locator("h1")).to_have_text("Compare")
    watched.still()
    expect(watched.under("arms").locator(".react-aria-ComboBox [data-tag]")).to_have_text(arms)
    page.get_by_role("tab", name="Images").click()
    expect(page.locator(".st-key-images .nsewdrag").nth(len(arms))).to_be_visible()
    watched.still()
    watched.assert_clean()


def scan(watched: Watched, file: Path, steps: dict[str, float]) -> None:
    """On My scan: from the file to the exported object."""
    page, name = watched.page, file.name.split(".")[0]
    with timed(steps, f"{name}: upload and read"):
        watched.under("scan-upload").locator("input[type=file]").set_input_files(file)
        expect(page.get_by_role("button", name=f"Remove {file.name}")).to_be_visible()
        page.get_by_role("button", name="Read the scan").click()
        expect(page.get_by_text("4 Import")).to_be_visible(timeout=SLOW_MS)
    with timed(steps, f"{name}: draw a rectangle, read again with it as mask"):
        masked = draw_rectangle(watched)
        page.get_by_role("button", name="Read again with this mask").click()
        expect(page.get_by_text("--mask").first).to_be_visible(timeout=SLOW_MS)
        expect(metric(watched, "masked px")).to_have_text(str(masked))
    with timed(steps, f"{name}: import"):
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("5 Reconstruct")).to_be_visible(timeout=SLOW_MS)
    with timed(steps, f"{name}: reconstruct with rPIE: five passes, two probe modes"):
        for label, value in (("Passes", "5"), ("Probe modes", "2")):
            write(watched, page.get_by_role("spinbutton", name=label), value)
        expect(page.get_by_text("--passes 5 --modes 2").first).to_be_visible()
        page.get_by_role("button", name="Reconstruct", exact=True).click()
        expect(page.get_by_text("R held out").first).to_be_visible(timeout=SLOW_MS)
        watched.still()
        assert 0 < float(metric(watched, "R held out").inner_text()) < 0.25
        expect(page.get_by_text("Probe, 2 modes")).to_be_visible()
    with timed(steps, f"{name}: export CXI, npz and PNG"):
        exports(watched)
        watched.assert_clean()


def draw_rectangle(watched: Watched) -> int:
    """Drag a rectangle in the mean pattern; how many pixels its lines of text cover."""
    page = watched.page
    shapes = page.get_by_role("textbox", name="Shapes")
    panel = watched.under("scan-mean").locator(".nsewdrag")
    lines: list[str] = []
    for _ in range(TRIES):
        panel.scroll_into_view_if_needed()
        box = panel.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 24, y + 24, steps=6)
        page.mouse.up()
        watched.still()
        lines = shapes.input_value().splitlines()
        if lines:
            break
    covered: set[tuple[int, int]] = set()  # a slow page may take two drags
    for word, *corners in [line.split() for line in lines]:
        assert word == "rectangle"
        (top, bottom), (left, right) = (sorted(map(int, corners[i::2])) for i in (0, 1))
        covered |= {(y, x) for y in range(top, bottom + 1) for x in range(left, right + 1)}
    return len(covered)


def metric(watched: Watched, label: str) -> Locator:
    """The value of a number with this label."""
    named = watched.page.get_by_text(label, exact=True)
    return watched.page.get_by_test_id("stMetric").filter(has=named).get_by_test_id("stMetricValue")


def exports(watched: Watched) -> None:
    """The reconstruction as CXI, npz and PNG: each opens and holds an image that varies."""
    page = watched.page
    page.get_by_role("button", name="Export").click()

    def saved(kind: str) -> Path:
        button = page.locator(f"[class*=st-key-scan-export][class*=_{kind}]").get_by_role("button")
        with page.expect_download(timeout=SLOW_MS) as found:
            button.click()
        return Path(found.value.path())

    with h5py.File(saved("cxi")) as stored:
        image = np.asarray(stored["entry_1/image_1/data"])
    with np.load(saved("npz"), allow_pickle=False) as arrays:
        [same] = [arrays[name] for name in arrays.files if name.endswith("_object")]
    assert np.iscomplexobj(image) and np.abs(image).std() > 0
    assert np.array_equal(image, same)
    with Image.open(saved("png")) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 0
