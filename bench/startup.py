"""C8: waiting time for `study --help`, and for the app with 50 arms of 5 seeds.

Both are wall times. The app is started as by `make app`, in a checkout created by `bench.many`, and
opened in a headless chromium. First paint is the time from the start of the navigation until the
table of arms is drawn, by the clock of the page.

Warm: the second and third load of a running app; cold: the very first load, with a cold server and
a cold browser. A page switch ends when the title of the page is shown and no script is running. New
arm: time until the check of a changed learning rate has passed; the first check is not counted,
because it starts a process. Memory is that of the server.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from bench import browser
from bench.figure import Figure, Goal
from bench.many import commit, make_checkout
from bench.program import environment, run, study
from study.stages.findings import write_findings

ROOT = Path(__file__).parent.parent
ARMS, SEEDS = 50, 5
STARTS, LOADS = 7, 3
TITLES = (
    *("New arm", "Runs", "Compare", "Findings", "Data", "Provenance", "My scan", "Summary", "Arms"),
)
RATES = ("0.0021", "0.0022", "0.0023", "0.0024")  # the first starts the process that checks

HELP = Goal("C8-help", "study --help", 0.3, "s", False)
APP = Goal("C8-app", f"app first paint, {ARMS} arms x {SEEDS} seeds, warm", 1.5, "s", False)
COLD = Goal("C8-cold", "the same, cold", 6.0, "s", False)
SWITCH = Goal("C8-switch", "app, the slowest of nine page switches", 0.5, "s", False)
FORM = Goal("C8-form", "app, New arm: a change is checked", 1.0, "s", False)
MEMORY = Goal("C8-memory", "app, what 500 refreshes add to 100 before", 20.0, "MB", False)
REFRESHES = (100, 500)

# Resolves with the page's clock one frame after a table is drawn: the table of arms (whose
# component is in a shadow root), or a data frame (whose canvas then has more than one colour).
WATCH = """
window.painted = new Promise(done => {
  const shadows = node => [...node.querySelectorAll("*")]
    .flatMap(child => child.shadowRoot ? [child.shadowRoot] : []);
  const arms = () => {
    const place = document.querySelector(".st-key-arms-table");
    return place ? [place, ...shadows(place)]
      .reduce((sum, root) => sum + root.querySelectorAll("td.tick").length, 0) : 0;
  };
  const drawn = canvas => {
    if (!canvas || !canvas.width || !canvas.height) return false;
    const pixels = new Uint32Array(canvas.getContext("2d")
      .getImageData(0, 0, canvas.width, Math.min(canvas.height, 120)).data.buffer);
    return pixels.some(pixel => pixel !== pixels[0]);
  };
  // The grid keeps a real table inside its canvas for screen readers; its header is a row too.
  const frame = () => {
    const canvas = document.querySelector('[data-testid="stDataFrame"] canvas');
    const grid = document.querySelector('[data-testid="stDataFrame"] table[role="grid"]');
    return drawn(canvas) && grid ? Number(grid.getAttribute("aria-rowcount")) - 1 : 0;
  };
  const look = () => {
    const rows = arms() || frame();
    if (!rows) return requestAnimationFrame(look);
    requestAnimationFrame(() => done({
      opened: performance.timeOrigin, seconds: performance.now() / 1000, rows: rows,
    }));
  };
  requestAnimationFrame(look);
});
"""


# --- the command line -------------------------------------------------------------------------


def measure_help() -> Figure:
    said = subprocess.run(
        study("--help"), cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    ).stdout
    assert all(command in said for command in ("simulate", "train", "findings", "explain"))
    costs = [run(study("--help"), ROOT) for _ in range(STARTS)]
    walls = [cost.wall_s for cost in costs]
    cpu = median(cost.cpu_s for cost in costs)
    return Figure(HELP, median(walls), {"wall s": walls, "CPU s": cpu})


# --- the app ----------------------------------------------------------------------------------


# Opens a page with the navigation; seconds until its title is shown and no script is running.
GO = """
new Promise(done => {
  const title = TITLE, start = performance.now();
  const links = [...document.querySelectorAll('[data-testid="stTopNavLink"]')];
  links.find(link => link.textContent.includes(title)).click();
  const look = () => {
    const app = document.querySelector('[data-testid="stApp"]');
    const there = document.querySelector("h1")?.textContent.trim() === title;
    const still = app.getAttribute("data-test-script-state") === "notRunning";
    if (!there || !still) return requestAnimationFrame(look);
    done((performance.now() - start) / 1000);
  };
  requestAnimationFrame(look);
})
"""


# Enters a learning rate in the form; seconds until its check has passed.
ASK = """
new Promise(done => {
  const start = performance.now(), rate = RATE;
  const field = [...document.querySelectorAll("input[aria-label]")]
    .find(input => /(^|\\s)lr$/.test(input.getAttribute("aria-label")));
  const write = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  field.focus();
  write.call(field, rate);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.blur();
  const look = () => {
    const main = document.querySelector('[data-testid="stMain"]').textContent;
    const button = document.querySelector(".st-key-add-start button");
    const app = document.querySelector('[data-testid="stApp"]');
    const still = app.getAttribute("data-test-script-state") === "notRunning";
    if (!main.includes(`→ ${rate}`) || !still || !button || button.disabled) {
      return requestAnimationFrame(look);
    }
    done((performance.now() - start) / 1000);
  };
  requestAnimationFrame(look);
})
"""


class Server(NamedTuple):
    address: str
    pid: int


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Serve this checkout's app with the results in `folder`; it ends after the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--server.headless=true", f"--server.port={port}")
    command = (sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), *options)
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    server = subprocess.Popen(command, cwd=folder, env=environment(), **quiet)
    try:
        browser.until(lambda: healthy(port), server)
        yield Server(f"http://127.0.0.1:{port}", server.pid)
    finally:
        browser.end(server)


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/_stcore/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def first_paints(binary: str, address: str, rows: int | None, loads: int = LOADS) -> list[float]:
    """Seconds until the table is drawn, per load in one browser.

    `rows`: expected number of rows, None for any.
    """
    seconds, opened = [], 0.0
    with browser.opened(binary) as page:
        page.call("Page.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        for _ in range(loads):
            page.call("Page.navigate", url=address)
            painted = page.value("window.painted")
            assert painted["opened"] > opened, "this is still the previous page"
            opened = painted["opened"]
            assert rows in (None, painted["rows"]), f"the table has {painted['rows']} rows"
            seconds.append(painted["seconds"])
    return seconds


def switches(binary: str, address: str) -> dict[str, float]:
    """Title -> seconds to switch to that page, after each was visited once."""
    with browser.opened(binary) as page:
        page.call("Page.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.call("Page.navigate", url=address)
        page.value("window.painted")
        rounds = [
            {title: page.value(GO.replace("TITLE", json.dumps(title))) for title in TITLES}
            for _ in range(2)
        ]
    return rounds[-1]


def answers(binary: str, address: str) -> list[float]:
    """Seconds until New arm has checked each of `RATES`."""
    with browser.opened(binary) as page:
        page.call("Page.enable")
        page.call(
            "Emulation.setFocusEmulationEnabled", enabled=True
        )  # otherwise fields get no blur event
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.call("Page.navigate", url=address)
        page.value("window.painted")
        page.value(GO.replace("TITLE", json.dumps("New arm")))
        return [page.value(ASK.replace("RATE", json.dumps(rate))) for rate in RATES]


def resident_mb(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 1e6


def measure_app() -> list[Figure]:
    binary = browser.find()
    if binary is None:
        why = "no chromium on this machine (apt install chromium)"
        return [Figure(goal, None, why=why) for goal in (APP, COLD, SWITCH, FORM, MEMORY)]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_checkout(folder, ARMS, SEEDS)
        write_findings(folder)
        commit(folder, "findings")
        with served(folder) as server:
            cold, *warm = first_paints(binary, f"{server.address}/arms", ARMS)
            took = switches(binary, f"{server.address}/arms")
            try:
                asked = answers(binary, f"{server.address}/arms")
            except TimeoutError as error:
                form = Figure(FORM, None, why=f"New arm did not answer: {error}")
            else:
                form = Figure(FORM, median(asked[1:]), {"s": asked})
            held = [resident_mb(server.pid)]
            for refreshes in REFRESHES:
                first_paints(binary, f"{server.address}/arms", ARMS, refreshes)
                held.append(resident_mb(server.pid))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return [
        Figure(APP, median(warm), {"warm": warm, "load of the machine": load}),
        Figure(COLD, cold, {"load of the machine": load}),
        Figure(SWITCH, max(took.values()), {"s": took}),
        form,
        Figure(MEMORY, held[2] - held[1], {"MB after 0, 100 and 600 refreshes": held}),
    ]


def measure() -> list[Figure]:
    return [measure_help(), *measure_app()]
