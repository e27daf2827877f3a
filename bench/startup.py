"""C8: how long one waits for `study --help`, and for the app with 50 arms of 5 seeds.

Both by the clock: this is about waiting. The app is started as `make app` starts it, in a checkout
made for this (`bench.many`), and opened in a headless chromium. First paint is the moment when the
overview's table has been drawn, counted from the start of the navigation by the page itself.

The goal is for a running app: the second and third load. The first load of all, with a cold server
and a cold browser, stands in the details.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench import browser
from bench.figure import Figure, Goal
from bench.many import commit, make_checkout
from bench.program import environment, run, study
from study.stages.findings import write_findings

ROOT = Path(__file__).parent.parent
ARMS, SEEDS = 50, 5
STARTS, LOADS = 7, 3

HELP = Goal("C8-help", "study --help", 0.3, "s", False)
APP = Goal("C8-app", f"app first paint, {ARMS} arms x {SEEDS} seeds, warm", 3.0, "s", False)

# Resolves with the page's clock one frame after the table's canvas holds more than one colour.
# The grid keeps a real table inside its canvas for screen readers: its rows are counted.
WATCH = """
window.painted = new Promise(done => {
  const drawn = canvas => {
    if (!canvas || !canvas.width || !canvas.height) return false;
    const pixels = new Uint32Array(canvas.getContext("2d")
      .getImageData(0, 0, canvas.width, Math.min(canvas.height, 120)).data.buffer);
    return pixels.some(pixel => pixel !== pixels[0]);
  };
  const look = () => {
    const canvas = document.querySelector('[data-testid="stDataFrame"] canvas');
    const grid = document.querySelector('[data-testid="stDataFrame"] table[role="grid"]');
    if (!drawn(canvas) || !grid) return requestAnimationFrame(look);
    requestAnimationFrame(() => done({
      opened: performance.timeOrigin,
      seconds: performance.now() / 1000,
      rows: Number(grid.getAttribute("aria-rowcount")),
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


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of this checkout's app on the results in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--server.headless=true", f"--server.port={port}")
    command = (sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), *options)
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    server = subprocess.Popen(command, cwd=folder, env=environment(), **quiet)
    try:
        browser.until(lambda: healthy(port), server)
        yield f"http://127.0.0.1:{port}"
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


def first_paints(binary: str, address: str, rows: int | None) -> list[float]:
    """Seconds to the drawn table, which has `rows` rows (None: any), load by load in a browser."""
    seconds, opened = [], 0.0
    with browser.opened(binary) as page:
        page.call("Page.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        for _ in range(LOADS):
            page.call("Page.navigate", url=address)
            painted = page.value("window.painted")
            assert painted["opened"] > opened, "this is the page of the load before"
            opened = painted["opened"]
            # The header is a row too.
            assert rows in (None, painted["rows"] - 1), f"the table has {painted['rows']} rows"
            seconds.append(painted["seconds"])
    return seconds


def measure_app() -> Figure:
    binary = browser.find()
    if binary is None:
        return Figure(APP, None, why="no chromium on this machine (apt install chromium)")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_checkout(folder, ARMS, SEEDS)
        write_findings(folder)
        commit(folder, "findings")
        with served(folder) as address:
            cold, *warm = first_paints(binary, address, ARMS)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    details = {"cold": cold, "warm": warm, "load of the machine": load}
    return Figure(APP, median(warm), details)


def measure() -> list[Figure]:
    return [measure_help(), measure_app()]
