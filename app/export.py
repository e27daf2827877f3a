"""Exports: figures for print, tables, arrays, and the command behind every number.

    figure    SVG, PDF, PNG, drawn by matplotlib; ids, commit and command in the metadata
    table     CSV, with the id and the command of each number, or the file with its value
    arrays    npz and CXI (app/compare/arrays.py)

A page passes functions, not files: nothing is drawn or written before a click.

    export.popover("export_curves", facts, table=lambda: frame, draw=lambda: figure)
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas
import streamlit as st

from app import escape, load
from app.escape import Markdown
from study.evidence.format import reproduce

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300
MIME = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}


@dataclass(frozen=True)
class Facts:
    """Metadata of an exported file. `name`: the stem of its file."""

    name: str
    note: str
    ids: tuple[str, ...]
    commit: str
    command: str

    @classmethod
    def of(cls, name: str, arms: Sequence[str], ids: Sequence[str], note: str) -> Facts:
        """`arms`: arms that must be computed again; `ids`: the numbers that are shown."""
        return cls(name, note, tuple(ids), load.commit(), reproduce(arms))

    @property
    def commands(self) -> list[str]:
        """The exact command for each number."""
        return [f"{self.command} && study explain {one}" for one in self.ids] or [self.command]

    def as_json(self) -> str:
        content = {
            "note": self.note,
            "ids": list(self.ids),
            "commit": self.commit,
            "command": self.command,
        }
        return json.dumps(content, ensure_ascii=False)


# --- figures ----------------------------------------------------------------------------------


def late(module: str) -> Any:
    """A module that is imported on export, since importing matplotlib is slow."""
    return importlib.import_module(module)


def figure_file(figure: Figure, kind: str, facts: Facts) -> bytes:
    """The figure as svg, pdf or png: equal figures give equal bytes."""
    style = late("study.report.figures.style")
    out = io.BytesIO()
    with style.styled():
        figure.savefig(out, format=kind, dpi=DPI, metadata=metadata(kind, facts))
    return out.getvalue()


def metadata(kind: str, facts: Facts) -> dict[str, Any]:
    """Title, ids, commit and command under the metadata names of the format."""
    keys = {
        "svg": {"Title": facts.name, "Description": facts.as_json(), "Date": None},
        "pdf": {"Title": facts.name, "Subject": facts.as_json(), "CreationDate": None},
        "png": {"Title": facts.name, "Description": facts.as_json()},
    }
    ids = list(facts.ids)
    words = {"svg": {"Keywords": ids, "Source": f"commit {facts.commit}"}}
    plain = {"pdf": {"Keywords": ", ".join(ids)}, "png": {"Source": f"commit {facts.commit}"}}
    return keys[kind] | words.get(kind, {}) | plain.get(kind, {})


def drawn(draw: Callable[[], Figure], kind: str, facts: Facts) -> bytes:
    style = late("study.report.figures.style")
    with style.styled():
        figure = draw()
    return figure_file(figure, kind, facts)


# --- tables -----------------------------------------------------------------------------------


def with_commands(table: pandas.DataFrame) -> pandas.DataFrame:
    """The table (columns arm, id) with the command that gives each number again."""
    if table.empty:
        return table
    again = [
        f"{reproduce([arm])} && study explain {number}"
        for arm, number in zip(table["arm"], table["id"], strict=True)
    ]
    return table.assign(command=again)


def csv_file(table: pandas.DataFrame, facts: Facts) -> bytes:
    """The table with the current commit; all digits are kept."""
    return table.assign(commit=facts.commit).to_csv(index=False).encode()


# --- buttons ----------------------------------------------------------------------------------


def popover(
    key: str,
    facts: Facts,
    table: Callable[[], pandas.DataFrame] | None = None,
    draw: Callable[[], Figure] | None = None,
    arrays: Callable[[], None] | None = None,
) -> None:
    """The export menu of one figure or table; files are made on click.

    `arrays` draws the buttons for arrays (`app.compare.arrays.buttons`).
    """
    with st.popover("Export", icon=":material/download:"):
        with st.container(horizontal=True):
            if draw is not None:
                for kind in MIME:
                    button(key, facts, kind, lambda kind=kind: drawn(draw, kind, facts), MIME[kind])
            if table is not None:
                button(key, facts, "csv", lambda: csv_file(table(), facts), "text/csv")
        if arrays is not None:
            arrays()
        st.caption("The command behind each number:" if facts.ids else "To compute it again:")
        st.code("\n".join(facts.commands), language="sh", wrap_lines=True)


def button(
    key: str,
    facts: Facts,
    kind: str,
    make: Callable[[], bytes],
    mime: str,
    label: Markdown | None = None,
    stem: str | None = None,
) -> None:
    st.download_button(
        label or escape.markdown(kind.upper()),
        make,
        file_name=f"{stem or facts.name}.{kind}",
        mime=mime,
        key=f"{key}_{kind}",
        on_click="ignore",
    )
