"""Every test of the app in a folder of its own, with empty caches."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))  # app is no installed package
sys.path.insert(0, str(ROOT / "tests" / "evidence"))  # stored.py makes results by hand
sys.path.insert(0, str(ROOT / "tests" / "report"))  # made.py makes runs by formula


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    import streamlit as st
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.testing.v1 import app_test

    # AppTest asks before every run whether there is a folder `pages`, as a server does once before
    # its first answer. Here main.py has answered already.
    class Answered(PagesManager):
        pass

    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", Answered)
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path
