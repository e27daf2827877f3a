"""Every test of the app in a folder of its own, with empty caches."""

import functools
import shutil
import sys
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner

from pipeline.toy import PARAMS
from study.formats.dataset import Dataset
from study.settings import Arm

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "evidence"))  # stored.py makes results by hand
sys.path.insert(0, str(ROOT / "tests" / "report"))  # made.py makes runs by formula

components = functools.cache(manifest_scanner.scan_component_manifests)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    import streamlit as st
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.testing.v1 import app_test

    # AppTest asks before every run whether there is a folder `pages`, as a server does once before
    # its first answer. Here main.py has answered already.
    class Answered(PagesManager):
        pass

    # It also looks through every installed package for components before every run.
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", components)
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", Answered)
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def toy(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the toy settings and no claims, in an app that may write."""
    monkeypatch.setenv("ARMATURE_PUBLISHED_ON_LOOPBACK", "1")  # the test has no config.toml
    (fresh / "params.yaml").write_text(PARAMS)
    (fresh / "claims.yaml").write_text("claims: {}\n")
    return fresh


@pytest.fixture(scope="session")
def scored_runs(tmp_path_factory: pytest.TempPathFactory, tiny: Dataset, control: Arm) -> Path:
    """What `reconstructed` makes, once; for copies alone."""
    from checkouts import reconstructed

    folder = tmp_path_factory.mktemp("scored")
    reconstructed(folder, tiny, control)
    return folder


@pytest.fixture
def runs(fresh: Path, scored_runs: Path) -> Path:
    """A checkout of one's own with runs, objects and data (`checkouts.reconstructed`)."""
    shutil.copytree(scored_runs, fresh, dirs_exist_ok=True)
    return fresh
