"""The one loader of the app: stored artifacts of the checkout it was started in."""

from pathlib import Path
from typing import Any

import pandas
import streamlit as st

from study import environment
from study.evidence.ledger import read_findings, stale
from study.evidence.table import arms_table

ROOT = Path()


def arms() -> pandas.DataFrame:
    """The arms over their seeds; empty when nothing was scored here."""
    return _arms(newest(ROOT / "results"))


@st.cache_data(show_spinner=False)
def _arms(stamp: float) -> pandas.DataFrame:
    """Read again only when a file under results/ is newer: `stamp` is the key."""
    return arms_table(ROOT / "results")


def findings() -> dict[str, Any] | None:
    """findings.json, or None when it is absent or torn. Raises UserError for another version."""
    return read_findings(ROOT)


def stale_claims(found: dict[str, Any]) -> dict[str, list[str]]:
    """Claims whose evidence changed since the verdict: computed on reading."""
    return stale(found, ROOT)


def newest(folder: Path) -> float:
    """Time of the newest file under `folder`, 0 when there is none."""
    return max((file.stat().st_mtime for file in folder.rglob("*") if file.is_file()), default=0.0)


def commit() -> str:
    """Short commit of the checkout, or a word when there is none."""
    return (environment.git("rev-parse", "--short", "HEAD", root=ROOT) or "no git").strip()
