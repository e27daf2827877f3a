"""The app as a browser shows it: what can be read, linked, exported, reached by keys.

What starts and stops work is in test_browser_work.py. No test asserts a time.
"""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from system.app_server import ROOT, AppServer
from system.app_studies import at_work
from system.conftest import Opener
from system.watched import PATIENCE_MS, Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = [page.stem for page in sorted((ROOT / "app" / "pages").glob("[a-z]*.py"))]
ARMS = "arms=control&arms=better"
RANGES = """
(chart) => Object.entries(chart._fullLayout)
  .filter(([name]) => /^[xy]axis\\d*$/.test(name))
  .map(([name, axis]) => [name[0], ...axis.range.map(Number)])
"""


# --- what fits, and what is quiet -------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 640])  # 640 px: a window of 1280 px at 200 %
def test_no_page_asks_for_a_horizontal_scroll(
    stored_app: AppServer, opener: Opener, width: int
) -> None:
    watched = opener(stored_app, width)
    for name in NAMES:
        watched.open(name)
        watched.assert_fits()
        watched.assert_clean()
    for tab in ("Metrics", "Images", "Residuals", "Resolution", "Config", "Diagnostics"):
        watched.open(f"compare?{ARMS}&tab={tab}")
        expect(watched.page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        watched.assert_fits()
        watched.assert_clean()


def test_fifty_arms_of_five_seeds_are_painted(large_app: AppServer, opener: Opener) -> None:
    watched = opener(large_app)
    watched.open("arms")
    rows = watched.under("arms-table").locator("td.tick")
    expect(rows).to_have_count(50)
    whole = watched.page.get_by_role("gridcell", name="5 of 5 seeds")
    expect(whole.first).to_be_visible()
    watched.assert_fits()
    for name in ("compare", "findings", "runs"):
        watched.open(name)
        watched.assert_clean()


def test_every_picture_says_in_words_what_it_shows(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    for where in (*NAMES, f"compare?{ARMS}&tab=Images", f"compare?{ARMS}&tab=Metrics"):
        page = watched.open(where)
        for picture in page.get_by_test_id("stMain").locator("img").all():
            assert picture.get_attribute("alt"), f"{where}: {picture.get_attribute('src')!s:.80}"
        for svg in page.get_by_test_id("stMain").locator("svg[role=img]:visible").all():
            message = svg.get_attribute("aria-label") or svg.locator("title").count()
            assert message, f"{where}: {svg.evaluate('node => node.outerHTML')[:200]}"


# --- linked images ----------------------------------------------------------------------------


def ranges(chart: Locator) -> dict[str, set[tuple[float, float]]]:
    """Of all panels' axes, by direction: one range each while they are linked."""
    found: dict[str, set[tuple[float, float]]] = {"x": set(), "y": set()}
    for kind, low, high in chart.evaluate(RANGES):
        found[kind].add((round(low, 3), round(high, 3)))
    return found


def panels(chart: Locator) -> Locator:
    """What takes the mouse in each panel."""
    return chart.locator(".nsewdrag")


def wheel(page: Page, panel: Locator) -> None:
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    page.mouse.wheel(0, -240)


def settled(chart: Locator, changed: Callable[[dict], bool]) -> dict[str, set[tuple[float, float]]]:
    """The ranges, once they have become what `changed` asks for and stay so."""
    page, last = chart.page, {}
    for _ in range(400):
        now = ranges(chart)
        if changed(now) and now == last:
            return now
        last = now
        page.wait_for_timeout(100)
    raise AssertionError(f"the axes stay at {last}")


def linked(found: dict[str, set[tuple[float, float]]]) -> bool:
    return all(len(kind) == 1 for kind in found.values())


def about(
    now: dict[str, set[tuple[float, float]]], then: dict[str, set[tuple[float, float]]]
) -> bool:
    """The same ranges within half a pixel: equal scales are fitted to the frame again."""
    return all(
        len(now[kind]) == 1
        and all(abs(a - b) <= 0.5 for a, b in zip(*now[kind], *then[kind], strict=True))
        for kind in then
    )


def test_one_panel_zooms_them_all_and_a_tick_leaves_it_so(
    stored_app: AppServer, opener: Opener
) -> None:
    watched = opener(stored_app)
    with at_work(stored_app.root, "better", 101) as run:
        page = watched.open(f"compare?{ARMS}&tab=Images")
        chart = watched.under("images").locator(".js-plotly-plot")
        whole = settled(chart, linked)
        assert panels(chart).count() >= 8  # truth and two arms, two channels and a difference
        wheel(page, panels(chart).nth(4))
        near = settled(chart, lambda now: linked(now) and now != whole)
        [(low, high)], [(was_low, was_high)] = near["x"], whole["x"]
        assert high - low < was_high - was_low

        run.update_status(epoch=1)
        assert ticked(watched, 3), "a page asks again while an arm is at work"
        assert ranges(chart) == near
        panels(chart).nth(0).dblclick()
        settled(chart, lambda now: about(now, whole))


def ticked(watched: Watched, times: int) -> int:
    """Wait until the page ran that often by itself: the run state changes on the element."""
    return watched.page.evaluate(
        """(times) => new Promise((done) => {
          let seen = 0;
          const app = document.querySelector('[data-testid=stApp]');
          const watch = new MutationObserver(() => {
            if (app.dataset.testScriptState === 'running' && ++seen >= times) done(seen);
          });
          watch.observe(app, {attributes: true, attributeFilter: ['data-test-script-state']});
          setTimeout(() => done(0), 120000);
        })""",
        times,
    )


# --- the address ------------------------------------------------------------------------------


def chosen_tab(page: Page) -> Locator:
    return page.locator('[role=tab][aria-selected="true"]')


def chosen(watched: Watched, key: str) -> Locator:
    """The active button of a segmented control."""
    return watched.under(key).locator("[role=radio][aria-checked=true]")


def tags(watched: Watched, key: str) -> Locator:
    return watched.under(key).locator(".react-aria-ComboBox [data-tag]")


def test_a_deep_link_leads_where_it_was_copied(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    page = watched.open("compare?arms=better&arms=control&tab=Metrics&checkpoint=best")
    expect(chosen_tab(page)).to_have_text("Metrics")
    expect(tags(watched, "arms")).to_have_text(["better", "control"])
    expect(chosen(watched, "checkpoint")).to_have_text("best")

    page.get_by_role("tab", name="Resolution").click()
    watched.under("checkpoint").get_by_text("last", exact=True).click()
    expect(chosen(watched, "checkpoint")).to_have_text("last")
    watched.still()
    assert "tab=Resolution" in page.url and "checkpoint=best" not in page.url

    again = opener(stored_app)
    for other in (page, again.page):
        other.goto(page.url)
    for one in (watched, again):
        one.drawn()
        expect(chosen_tab(one.page)).to_have_text("Resolution")
        expect(tags(one, "arms")).to_have_text(["better", "control"])
        expect(chosen(one, "checkpoint")).to_have_text("last")


def test_back_shows_what_the_address_says(stored_app: AppServer, opener: Opener) -> None:
    """Step by step, through a link as people write it, to the page before; no step is a trap."""
    watched = opener(stored_app)
    page = watched.open()
    watched.open("compare?arms=better&arms=control&tab=metrics&epoch=best")
    page.get_by_role("tab", name="Config").click()
    watched.still()
    watched.go("Findings")
    tabs = []
    for _ in range(8):
        page.go_back()
        where = urlsplit(page.url)
        if where.path != "/compare":
            break
        says = dict(parse_qsl(where.query))
        tabs.append(says.get("tab", "Curves").capitalize())
        expect(chosen_tab(page)).to_have_text(tabs[-1])
        weights = says.get("checkpoint") or says.get("epoch", "last")
        expect(chosen(watched, "checkpoint")).to_have_text(weights)
        watched.still()
    watched.drawn()
    expect(page.locator("h1")).to_have_text("Summary")
    assert {"Config", "Metrics"} <= set(tabs)
    watched.assert_clean()


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (
            "compare?arms=nobody&arms=control&tab=Nonsense&checkpoint=third&seed=99&epoch=frist",
            ("nobody", "Nonsense", "third", "99", "frist"),
        ),
        ("compare?arms=../../etc/passwd", ("../../etc/passwd",)),
        (
            "compare?arms=<script>alert(1)</script>&arms=$\\alpha$",
            ("<script>alert(1)</script>", "alpha$"),
        ),
        ("dataset?data=../../etc&split=none&pattern=7e7", ("../../etc", "none", "7e7")),
        ("runs?run=nobody/s1&state=asleep&arm=nowhere", ("No runs in this checkout",)),
        ("new_arm?set=nothing=1&seeds=a", ("nothing=1", "'a'")),
        ("new_arm?set=optimizer.lr=x&set=precision=fp8", ("optimizer.lr", "fp8")),
        ("findings?claim=NO-1&view=neither", ("neither",)),
        ("findings?claim=NO-1&status=asleep", ("NO-1", "asleep")),
        ("provenance?pipeline=nowhere", ("nowhere",)),
        ("?arms=nobody&study=nowhere&q=amp ssim ???", ("nobody", "nowhere", "amp")),
    ],
)
def test_a_wrong_address_is_answered_in_a_sentence(
    stored_app: AppServer, opener: Opener, where: str, wrong: tuple[str, ...]
) -> None:
    watched = opener(stored_app)
    page = watched.open(where)
    for value in wrong:
        expect(page.get_by_test_id("stAlert").filter(has_text=value).first).to_be_visible()
    watched.assert_clean()
    watched.assert_fits()


# --- what leaves the app ----------------------------------------------------------------------


def download(page: Page, button: Locator) -> Path:
    with page.expect_download(timeout=PATIENCE_MS) as found:
        button.click()
    return Path(found.value.path())


def test_exports_arrive_and_can_be_read(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    page = watched.open("arms")
    table = download(page, watched.under("arms-csv").get_by_role("button"))
    rows = list(csv.reader(io.StringIO(table.read_text())))
    assert {"control", "better", "dead"} <= {cell for row in rows for cell in row}
    assert len({len(row) for row in rows}) == 1

    page = watched.open(f"compare?{ARMS}&tab=Images")
    page.get_by_role("button", name="Export").first.click()
    figure = download(page, watched.under("export_images_svg").get_by_role("button"))
    root = ET.parse(figure).getroot()
    assert root.tag.endswith("}svg")
    for message in ("control/s", "better/s", "evaluate@control"):
        assert message in figure.read_text()

    arrays = download(page, watched.under("export_images_npz").get_by_role("button"))
    with np.load(arrays, allow_pickle=False) as found:
        objects = [name for name in found.files if name.endswith("_object")]
        assert len(objects) == 2
        assert all(np.iscomplexobj(found[name]) for name in objects)
        assert "evaluate@control" in json.loads(str(found["about"]))["command"]
    watched.assert_clean()


def test_a_number_says_how_it_is_made_again(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    page = watched.open("arms")
    watched.under("arms-table").locator("button.value").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This command must give that value again")
    expect(dialog).to_contain_text("study explain control/")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


# --- degenerate, failed -----------------------------------------------------------------------


def test_a_collapsed_arm_is_not_evaluable_and_has_no_score(
    stored_app: AppServer, opener: Opener
) -> None:
    """The object of `dead` is a constant; the published phase SSIM would praise it with 1.0."""
    watched = opener(stored_app)
    watched.open("arms")
    row = watched.under("arms-table").locator(
        "tr", has=watched.page.get_by_label("dead to compare")
    )
    expect(row).to_contain_text("not evaluable")
    assert_no_praise(row.inner_text())
    metrics = "metric=standard.phase.ssim&metric=published.phase.ssim"
    page = watched.open(f"compare?arms=dead&tab=Metrics&{metrics}")
    expect(page.get_by_text("not evaluable").first).to_be_attached()
    assert_no_praise(watched.text())
    page = watched.open("compare?arms=control&arms=dead&tab=Images")
    expect(page.get_by_text("not evaluable: constant").first).to_be_visible()
    watched.assert_clean()


def assert_no_praise(text: str) -> None:
    words = text.replace("[", " ").replace("]", " ").replace(",", " ").split()
    assert not {"1", "1.0", "1.00", "1.000"} & set(words), text


def test_a_failed_arm_says_why(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    page = watched.open("arms")
    row = watched.under("arms-table").locator("tr", has=page.get_by_label("lost to compare"))
    expect(row).to_contain_text("0 / 3 / 0")
    expect(row).to_contain_text("the loss became NaN in epoch 3")
    for tab in ("Curves", "Metrics", "Images"):
        watched.open(f"compare?arms=control&arms=lost&tab={tab}")
        watched.assert_clean()


# --- keys ------------------------------------------------------------------------------------


def test_a_page_is_reached_by_keys_alone_and_the_focus_is_seen(
    stored_app: AppServer, opener: Opener
) -> None:
    watched = opener(stored_app)
    page = watched.open()
    message = """() => {
      const node = document.activeElement, style = getComputedStyle(node);
      return [node.textContent, parseFloat(style.outlineWidth) || 0, style.outlineStyle,
              style.boxShadow];
    }"""
    for _ in range(40):
        page.keyboard.press("Tab")
        text, width, style, shadow = page.evaluate(message)
        if "Findings" in text and len(text) < 40:
            break
    else:
        raise AssertionError("forty tabs do not reach the link")
    assert (width >= 1 and style != "none") or shadow != "none", "a focus that nobody sees"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Findings")
    watched.still()
    button = watched.under("open-BETTER-001").get_by_role("button")
    for _ in range(60):
        page.keyboard.press("Tab")
        if button.evaluate("node => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(watched.page.locator("[class*='st-key-claim-open-BETTER-001']")).to_be_visible()
