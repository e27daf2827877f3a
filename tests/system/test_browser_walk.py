"""A new user's walk in one browser: findings, a sweep, a kill of the app, a measured scan.

Nothing asserts a time; it prints what its steps took (`pytest -s`).
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from playwright.sync_api import expect

from study.jobs import jobs
from study.settings import load_study
from system.app_server import ROOT, AppServer
from system.app_studies import AppStudy
from system.conftest import Opener
from system.test_browser_work import badge, timed

STAR = ROOT.parent / "shared" / "data" / "siemens-star-small.npz.bz2"
SLOW_MS = 900_000.0  # reading, importing and reconstructing, on a machine that others use
RATES = ("0.0021", "0.0022", "0.0023")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_from_findings_through_a_sweep_to_a_measured_star(
    app: AppServer, app_study: AppStudy, opener: Opener
) -> None:
    steps: dict[str, float] = {}
    watched = opener(app)
    with timed(steps, "open the app"):
        page = watched.open()
    with timed(steps, "read the findings"):
        watched.go("Findings")
        expect(page.locator("h1")).to_have_text("Findings")
    before = set(load_study(app_study.root / "params.yaml").arms)
    with timed(steps, "New arm: a sweep of three values, priced"):
        watched.go("New arm")
        page.get_by_text("Sweep one field").click()
        page.get_by_role("combobox", name="Field", exact=True).fill("optimizer.lr")
        page.get_by_role("option", name="optimizer.lr").click()  # only options in view exist
        watched.still()
        values = page.get_by_role("textbox", name="Values, with commas between")
        values.fill(", ".join(RATES))
        values.press("Enter")
        start = watched.under("sweep-start").get_by_role("button")
        expect(start).to_be_enabled(timeout=SLOW_MS)
        expect(page.get_by_text("3 arms").first).to_be_visible()
    with timed(steps, "start all three"):
        start.click()
        expect(page.locator("h1")).to_have_text("Runs", timeout=SLOW_MS)
    with timed(steps, "close the browser, kill -9 the app, start it, come back"):
        page.context.close()
        app.kill()
        app.start()
        watched = opener(app)
        page = watched.open("runs")
    added = sorted(set(load_study(app_study.root / "params.yaml").arms) - before)
    assert len(added) == len(RATES)
    with timed(steps, "all three end and are committed"):
        for job in [job for job in jobs(app_study.root) if job.arm in added]:
            assert app_study.over(job.id).state == "done"
        expect(badge(page, "done")).to_be_visible()
    with timed(steps, "compare two of them with the control"):
        names = "&".join(f"arms={name}" for name in ("control", *added[:2]))
        watched.open(f"compare?{names}&tab=Images")
        expect(page.locator(".st-key-images .nsewdrag").first).to_be_visible()
        watched.assert_clean()
    if STAR.is_file():
        watched.open("my_scan")
        star(watched, steps)
    print("\n".join(f"{seconds:7.1f} s  {name}" for name, seconds in steps.items()))
    if not STAR.is_file():
        pytest.skip("shared/data has no measured star: the walk ended before My scan")


def star(watched, steps: dict[str, float]) -> None:
    """The measured star with a mask, two probe modes, exported."""
    page = watched.page
    with timed(steps, "upload the star and read it"):
        watched.under("scan-upload").locator("input[type=file]").set_input_files(str(STAR))
        expect(page.get_by_text(STAR.name).first).to_be_visible()
        page.get_by_role("button", name="Read the scan").click()
        expect(page.get_by_text("2 What was detected")).to_be_visible(timeout=SLOW_MS)
    with timed(steps, "mask a rectangle and read again"):
        shapes = page.get_by_role("textbox", name="Shapes")
        shapes.fill("rectangle 0 0 2 2")
        shapes.press("Control+Enter")
        watched.still()
        page.get_by_role("button", name="Read again with this mask").click()
        expect(page.get_by_text("--mask").first).to_be_visible(timeout=SLOW_MS)
    with timed(steps, "import"):
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("5 Reconstruct")).to_be_visible(timeout=SLOW_MS)
    with timed(steps, "reconstruct with two probe modes, ten passes"):
        for name, value in (("Passes", "10"), ("Probe modes", "2")):
            box = page.get_by_role("spinbutton", name=name)
            box.fill(value)
            box.press("Enter")
            watched.still()
        page.get_by_role("button", name="Reconstruct", exact=True).click()
        expect(page.get_by_text("R held out").first).to_be_visible(timeout=SLOW_MS)
        watched.still()
        watched.assert_clean()
    with timed(steps, "export the object as CXI"):
        page.get_by_role("button", name="Export").click()
        button = page.locator("[class*=st-key-scan-export][class*=_cxi]").get_by_role("button")
        with page.expect_download(timeout=SLOW_MS) as found:
            button.first.click()
        with h5py.File(Path(found.value.path())) as stored:
            image = np.asarray(stored["entry_1/image_1/data"])
            assert np.iscomplexobj(image) and image.std() > 0
