"""What is seen at first: the titles of tabs, images without scrolling, logs at their end."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import expect

from jobs.checkouts import add_job
from study.jobs.folder import JobFolder
from study.runs import RunFolder, write_json, write_text
from system.app_server import ROOT, AppServer
from system.app_studies import at_work
from system.conftest import Opener

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = [page.stem for page in sorted((ROOT / "app" / "pages").glob("[a-z]*.py"))]
VISIBLE = """
() => [...document.querySelectorAll(".st-key-images .nsewdrag")].filter((panel) => {
  const box = panel.getBoundingClientRect();
  return box.height > 100 && box.bottom <= innerHeight;
}).length
"""

AT_ITS_END = """
(last) => {
  const log = document.querySelector(".st-key-log-run [data-testid=stCode]");
  const boxes = log ? [log, ...log.querySelectorAll("*")] : [];
  return log?.textContent.includes(last) && boxes.some((box) =>
    box.scrollHeight > box.clientHeight + 1 && box.clientHeight > 100
    && box.scrollTop + box.clientHeight >= box.scrollHeight - 4);
}
"""


def test_every_page_names_its_tab(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    titles = {}
    for name in NAMES:
        page = watched.open(name)
        titles[name] = page.title()
        assert page.locator("h1").inner_text() in titles[name]
    assert len(set(titles.values())) == len(NAMES)


def test_truth_and_arms_are_seen_side_by_side_without_scrolling(
    stored_app: AppServer, opener: Opener
) -> None:
    watched = opener(stored_app, 1440)
    page = watched.open("compare?arms=control&arms=better&arms=dead&tab=Images")
    page.wait_for_function(f"({VISIBLE})() >= 4")  # truth and three arms


def test_a_log_opens_at_its_end_and_stays_there(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    with at_work(stored_app.root, "better", 101) as run:
        for lines in (150, 170):
            write_text(run.path / "log.txt", "\n".join(f"line {i}" for i in range(lines)))
            if lines == 150:
                page = watched.open_live("runs?run=better/s101")
            page.wait_for_function(AT_ITS_END, arg=f"line {lines - 1}")


def test_a_run_whose_process_died_says_so_while_one_looks(
    stored_app: AppServer, opener: Opener
) -> None:
    watched = opener(stored_app)
    with at_work(stored_app.root, "better", 101) as run:
        page = watched.open_live("runs?run=better/s101")
        expect(page.locator(".stMarkdownBadge", has_text="running").first).to_be_visible()
        died(run)
        expect(page.locator(".stMarkdownBadge", has_text="stopped").first).to_be_visible()
        message = page.get_by_text("its process is gone")  # also in the hidden cells of the table
        expect(message.locator("visible=true").first).to_be_visible()


def died(run: RunFolder) -> None:
    """As kill -9 leaves it: status.json says running, and no such process is there."""
    status = {**run.status(), "pid": 2**22 + 1, "pid_started": 1.0}
    assert status["pid"] != os.getpid()
    write_json(run.path / "status.json", status)


NOTIFICATION = """
(answer) => {
  window.shown = [];
  window.Notification = class {
    static permission = "default";
    static async requestPermission() { return (Notification.permission = answer); }
    constructor(title, { body }) { window.shown.push(body); }
  };
}
"""


@pytest.mark.parametrize("answer", ["granted", "denied"])
def test_the_browser_tells_that_a_job_ended_only_when_allowed(
    stored_app: AppServer, opener: Opener, answer: str
) -> None:
    watched = opener(stored_app)
    watched.page.add_init_script(f"({NOTIFICATION})('{answer}')")
    with at_work(stored_app.root, "better", 101):
        page = watched.open_live("runs")
        watched.under("notify").get_by_role("button").click()
        expect(watched.under("notify")).to_be_hidden()
        job = add_job(stored_app.root, "better", state="failed", cause="loss is NaN", ended=1.0)
        try:
            expect(page.get_by_test_id("stToast")).to_contain_text("loss is NaN")
            if answer == "granted":
                page.wait_for_function("() => shown.length")
            shown = page.evaluate("shown")
        finally:
            JobFolder(stored_app.root).job_file(job.id).unlink()
    assert len(shown) == (answer == "granted")
    assert all("loss is NaN" in text for text in shown)
