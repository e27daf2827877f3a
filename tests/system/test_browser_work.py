"""Work that is started and stopped in a browser: what runs does not need the page, nor the app.

Nothing asserts a time; the walk prints what its steps took (`pytest -s`).
"""

from __future__ import annotations

import re
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from checking import events_of
from jobs.checkouts import until
from study.jobs import Job, jobs
from study.runs import read_json
from study.settings import load_study
from system.app_server import AppServer
from system.app_studies import AppStudy
from system.conftest import Opener
from system.watched import PATIENCE_MS, Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def job_of(study: AppStudy, arm: str) -> Job:
    """The only job that was ever asked for under that name."""
    [job] = [job for job in jobs(study.root) if job.arm == arm]
    return job


def field(page: Page, name: str) -> Locator:
    """A field of New arm; a changed one has an icon before its name."""
    return page.get_by_role("textbox", name=name).first


def write(watched: Watched, box: Locator, text: str) -> None:
    box.fill(text)
    box.press("Enter")
    watched.still()


def add_and_start(watched: Watched) -> None:
    """The button, once the check has passed."""
    button = watched.under("add-start").get_by_role("button")
    expect(button).to_be_enabled(timeout=PATIENCE_MS)
    button.click()


def badge(page: Page, word: str) -> Locator:
    """The chip of a state."""
    return page.locator(".stMarkdownBadge", has_text=word).first


@contextmanager
def timed(steps: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    steps[name] = time.monotonic() - start


def test_the_walk(app: AppServer, app_study: AppStudy, opener: Opener) -> None:
    """Start an arm, close the browser, kill the app, come back, compare, read the verdict, export.

    What a new user does on a fresh clone; only the sizes are tiny.
    """
    steps: dict[str, float] = {}
    with timed(steps, "open the app"):
        watched = opener(app)
        page = watched.open()
    with timed(steps, "change one field and fix a claim"):
        watched.go("New arm")
        write(watched, field(page, "lr"), "0.003")
        expect(page.get_by_text("One factor changed from control")).to_be_visible()
        write(watched, page.get_by_role("textbox", name="Name"), "brisk")
        page.get_by_text("Register a claim before the run").click()
        watched.still()
    with timed(steps, "check passed, add and start"):
        add_and_start(watched)
        expect(page.locator("h1")).to_have_text("Runs")
        expect(page.get_by_text("brisk/s1").first).to_be_attached()
    with timed(steps, "reload: the same page"):
        page.reload()
        watched.drawn()
        assert "arm=brisk" in page.url
        expect(page.get_by_text("brisk").first).to_be_attached()
    with timed(steps, "close the browser, kill the app, open it again"):
        watched.assert_clean()
        page.context.close()
        app.kill()
        app.start()
        watched = opener(app)
        page = watched.open("runs?arm=brisk")
    with timed(steps, "the arm ends and is committed"):
        job = app_study.over(job_of(app_study, "brisk").id)
        assert (job.state, job.cause) == ("done", None)
        assert job.committed == ("train@brisk", "evaluate@brisk", "findings")
        expect(badge(page, "done")).to_be_visible()
    with timed(steps, "find it in Arms, compare it with control"):
        watched.go("Arms")
        for arm in ("control", "brisk"):
            page.get_by_label(f"Select {arm} to compare").check()
            watched.still()
        page.get_by_role("link", name="Compare these 2").click()
        expect(page.locator("h1")).to_have_text("Compare")
        watched.still()
        page.get_by_role("tab", name="Metrics").click()
        watched.still()
        expect(watched.under("arms").locator(".react-aria-ComboBox [data-tag]")).to_have_text(
            ["control", "brisk"]
        )
    with timed(steps, "find its verdict"):
        watched.go("Findings")
        found = read_json(app_study.root / "findings.json")
        assert found is not None
        verdict = found["claims"]["BRISK-001"]["status"]
        assert verdict == "inconclusive"  # two seeds; the page committed arm and claim
        expect(watched.under("claim-line-BRISK-001")).to_contain_text(verdict)
    with timed(steps, "export a figure"):
        watched.open("compare?arms=control&arms=brisk&tab=Images")
        page.get_by_role("button", name="Export").first.click()
        with page.expect_download() as found:
            watched.under("export_images_svg").get_by_role("button").click()
        assert ET.parse(Path(found.value.path())).getroot().tag.endswith("}svg")
    print("\n".join(f"{seconds:7.1f} s  {name}" for name, seconds in steps.items()))


def test_stop_stops_for_good(app: AppServer, app_study: AppStudy, opener: Opener) -> None:
    watched = opener(app)
    [job] = app_study.launch("long")
    page = watched.open_live("runs?arm=long")
    expect(badge(page, "running")).to_be_visible()
    until(lambda: app_study.epochs("long") > 0)
    assert app_study.processes(job)
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("button", name="Yes, stop long").click()
    ended = app_study.over(job)
    assert ended.state == "cancelled"
    until(lambda: not app_study.processes(job))
    expect(badge(page, "cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    trained = app_study.epochs("long")
    page.reload()
    watched.drawn()
    expect(page.get_by_role("button", name="Retry").first).to_be_visible()
    assert app_study.epochs("long") == trained > 0
    watched.assert_clean()


def test_ten_kills_of_the_app_disturb_no_run(
    app: AppServer, app_study: AppStudy, opener: Opener
) -> None:
    """The app started it; from then on it is nobody's child, through training and commit."""
    watched = opener(app)
    page = watched.open("new_arm?from=control&set=epochs=200&name=lasting")
    add_and_start(watched)
    expect(page.locator("h1")).to_have_text("Runs")
    watched.assert_clean()
    page.context.close()
    for _ in range(10):
        app.kill()
        app.start()
    job = app_study.over(job_of(app_study, "lasting").id)
    assert (job.state, job.cause, job.attempts) == ("done", None, 1)
    for run in app_study.live("lasting"):
        epochs = re.findall(r"epoch (\d+)/200", (run.path / "log.txt").read_text())
        assert epochs == [str(number + 1) for number in range(200)], "each epoch once"
        again = ("resumed", "started again")
        assert not [event for event in events_of(run) if event["kind"] in again]
    watched = opener(app)
    page = watched.open("runs?arm=lasting")
    expect(badge(page, "done")).to_be_visible()
    watched.assert_clean()


def test_two_sessions_start_one_run(app: AppServer, app_study: AppStudy, opener: Opener) -> None:
    """Both have filled in the same form; the second click is answered in a sentence."""
    both = [opener(app), opener(app)]
    for watched in both:
        watched.open("new_arm?from=control&set=optimizer.lr=0.0015&name=twice")
        expect(watched.under("add-start").get_by_role("button")).to_be_enabled()
    for watched in both:
        watched.under("add-start").get_by_role("button").click(no_wait_after=True)
    for watched in both:
        watched.still()
    job = app_study.over(job_of(app_study, "twice").id)
    assert job.state == "done" and job.attempts == 1
    assert list(load_study(app_study.root / "params.yaml").arms).count("twice") == 1
    stayed = [w for w in both if "new_arm" in w.page.url]
    assert len(stayed) == 1, "one went on to its run"
    expect(stayed[0].page.get_by_test_id("stAlert").first).to_contain_text("twice")
    for watched in both:
        watched.assert_clean()


def test_what_is_not_here_is_pulled_by_one_click(
    app: AppServer, app_study: AppStudy, opener: Opener, tmp_path: Path
) -> None:
    """First with a remote that is not there: a sentence; then all of it comes."""
    store, away = tmp_path / "store", tmp_path / "away"
    store.mkdir()
    app_study.toy.must("study", "remote", "add", "lab", str(store))
    app_study.toy.must("study", "push", "control")
    weights = app_study.root / "runs/control/s1/last.pt"
    before = weights.read_bytes()
    shutil.rmtree(app_study.root / "runs/control")
    shutil.rmtree(app_study.root / ".dvc/cache")
    store.rename(away)
    watched = opener(app)
    page = watched.open("provenance")
    pull = watched.under("pull").get_by_role("button")
    pull.click()
    expect(page.get_by_test_id("stAlert").filter(has_text="lab")).to_be_visible()
    expect(page.get_by_text("last pull failed")).to_be_visible()
    assert not weights.exists()
    away.rename(store)
    pull.click()
    expect(page.get_by_text("last pull finished")).to_be_visible()
    assert weights.read_bytes() == before
    expect(watched.under("pull")).to_have_count(0)
    watched.assert_clean()


# --- reading alone ----------------------------------------------------------------------------

WRITING = ("Add", "Add and start", "Stop", "Retry", "Resume", "Rename", "Archive", "Pull")
PLACES = ("new_arm?from=control&set=optimizer.lr=0.004", "provenance")


def offered(watched: Watched) -> set[str]:
    """Which buttons that write something stand on the pages, while `long` is at work."""
    page = watched.open_live("runs?arm=long")
    expect(badge(page, "running")).to_be_visible()
    found = buttons(watched)
    for where in PLACES:
        watched.open(where)
        found |= buttons(watched)
    return found


def buttons(watched: Watched) -> set[str]:
    watched.assert_clean()
    named = {name: watched.page.get_by_role("button", name=name, exact=True) for name in WRITING}
    return {name for name, button in named.items() if button.count()}


def test_reading_alone_offers_nothing_that_starts_or_stops(
    app: AppServer, read_only_app: AppServer, app_study: AppStudy, opener: Opener
) -> None:
    [job] = app_study.launch("long")
    try:
        assert {"Add", "Add and start", "Stop"} <= offered(opener(app))
        reading = opener(read_only_app)
        assert offered(reading) == set()
        expect(reading.page.get_by_text("read only").first).to_be_visible()
        page = reading.open("new_arm")
        expect(page.get_by_text("ARMATURE_READ_ONLY=1 is set").first).to_be_visible()
    finally:
        app_study.study("stop", job)
        app_study.over(job)
