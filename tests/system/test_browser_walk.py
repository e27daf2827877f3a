"""A new user's walk in one browser: findings, a sweep, a kill of the app, a comparison.

Nothing asserts a time; it prints what its steps took (`pytest -s`).
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from study.jobs import jobs
from study.settings import load_study
from system.app_server import AppServer
from system.app_studies import AppStudy
from system.conftest import Opener
from system.test_browser_work import badge, timed

SLOW_MS = 900_000.0  # checking and starting three arms, on a machine that others use
RATES = ("0.0021", "0.0022", "0.0023")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_from_findings_through_a_sweep_to_a_comparison(
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
    print("\n".join(f"{seconds:7.1f} s  {name}" for name, seconds in steps.items()))
