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

    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path
