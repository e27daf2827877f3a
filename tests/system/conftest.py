"""Fixtures of the browser tests: Debian's chromium, three checkouts, and a server on each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from study.formats.dataset import Dataset
from study.settings import Arm
from system.app_server import ROOT, AppServer
from system.app_studies import AppStudy, stored
from system.watched import PATIENCE_MS, Watched

CHROMIUM = "/usr/bin/chromium"
# No name is resolved, so nothing leaves this machine whatever the browser would like to fetch.
QUIET = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-domain-reliability",
    "--no-pings",
)
Opener = Callable[..., Watched]
sys.path.insert(0, str(ROOT))  # bench is no installed package


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Replaces the plugin's own: it would look for a browser that it had downloaded."""
    machine = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    return {"executable_path": CHROMIUM, "args": [*machine, *QUIET]}


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Of a machine that others use too."""
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def stored_study(tmp_path_factory: pytest.TempPathFactory, tiny: Dataset, control: Arm) -> Path:
    """The checkout that was stored by hand."""
    folder = tmp_path_factory.mktemp("stored") / "study"
    folder.mkdir()
    stored(folder, tiny, control)
    return folder


@pytest.fixture(scope="session")
def stored_app(stored_study: Path) -> Iterator[AppServer]:
    yield from served(stored_study, "app.log")


@pytest.fixture(scope="session")
def app_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppStudy]:
    study = AppStudy(tmp_path_factory.mktemp("app") / "toy")
    yield study
    study.stop_all()


@pytest.fixture(scope="session")
def app(app_study: AppStudy) -> Iterator[AppServer]:
    """The app in the toy clone, by the clone's own code."""
    yield from served_clone(app_study, "app.log")


@pytest.fixture(scope="session")
def read_only_app(app_study: AppStudy) -> Iterator[AppServer]:
    """The same clone by an app that may only read."""
    yield from served_clone(app_study, "read_only.log", ARMATURE_READ_ONLY="1")


def served_clone(study: AppStudy, log: str, **environment: str) -> Iterator[AppServer]:
    server = AppServer(study.root, study.root.parent / log, study.root)
    server.environment = study.toy.environment | environment
    server.start()
    yield server
    server.kill()


def served(root: Path, log: str) -> Iterator[AppServer]:
    server = AppServer(root, root.parent / log).start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def large_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """Fifty arms of five seeds, stored by hand."""
    from bench.many import make_checkout

    folder: Path = tmp_path_factory.mktemp("large")
    (folder / "many").mkdir()
    make_checkout(folder / "many", 50, 5)
    yield from served(folder / "many", "app.log")


@pytest.fixture
def opener(browser: Browser) -> Iterator[Opener]:
    """opener(server, width=1280): a page in a session of its own, watched to the end.

    After the test no page may have said an error or asked another machine.
    """
    pages: list[Watched] = []

    def opened(server: AppServer, width: int = 1280, height: int = 900, **options: Any) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        pages.append(Watched(context.new_page(), server))
        return pages[-1]

    yield opened
    for watched in pages:
        if not watched.page.is_closed():
            watched.page.context.close()
    for watched in pages:
        assert watched.errors == []
        assert watched.foreign == []
