"""`make bench`: measure, print a table, write bench/latest.json.

Each module of `MODULES` runs in a fresh process; a figure that cannot be measured has a reason
instead of a value. Goals that are not requested keep their previous entry.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench import table
from bench.figure import Figure, figures_of
from study.runs import environment, write_json

LATEST = Path(__file__).with_name("latest.json")
PACKAGES = ("torch", "numpy", "lightning", "neuraloperator", "streamlit", "h5py", "ptychi")
# Module -> the goals returned by its `measure()`, in this order.
MODULES = {
    "spectral": ("C1", "C2", "C2-64"),
    "step": ("C3-w32", "C3-w64", "C4", "C5", "C5-loss"),
    "size": ("C6-4blocks", "C6-6blocks"),
    "simulate": ("C7-seconds", "C7-memory"),
    "startup": ("C8-help", "C8-app", "C8-cold", "C8-switch", "C8-form", "C8-memory"),
    "index": ("I1", "I2"),
    "reader": ("R1", "R2", "R3"),
    "rpie": ("P1", "P2"),
    "gpu": ("G1", "G2", "G3", "G4"),
}


def isolated(module: str) -> list[Figure]:
    """Run `figures_of` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(figures_of, module).result()


def chosen(asked: list[str]) -> list[str]:
    """Modules with the requested goals (C1, or C for all that begin with C); all without arguments.

    Raises SystemExit for an unknown goal.
    """
    known = [goal for goals in MODULES.values() for goal in goals]
    for word in asked:
        if not any(goal.startswith(word) for goal in known):
            raise SystemExit(f"no goal {word!r}; known: {', '.join(known)}")
    return [
        name
        for name, goals in MODULES.items()
        if not asked or any(goal.startswith(word) for goal in goals for word in asked)
    ]


def machine() -> dict[str, Any]:
    return {
        "processor": environment.processor(),
        "cores": environment.cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": _gpu(),
        "platform": platform.platform(),
    }


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def versions() -> dict[str, str | None]:
    return {"python": platform.python_version()} | {
        name: environment.version(name) for name in PACKAGES
    }


def show(figures: list[Figure]) -> None:
    shown = Table("goal", "what", "measured", "at least / most", "met")
    words = {True: "[green]yes", False: "[red]no", None: "[yellow]not measured"}
    for figure in figures:
        goal = figure.goal
        value = figure.why if figure.value is None else f"{figure.value:.3g} {goal.unit}"
        limit = f"{'≥' if goal.at_least else '≤'} {goal.limit:g} {goal.unit}"
        shown.add_row(goal.id, goal.what, value, limit, words[figure.met])
    Console(width=max(100, Console().width)).print(shown)


def save(figures: list[Figure]) -> None:
    """Update the entries of these goals in latest.json and in the README."""
    before = json.loads(LATEST.read_text()) if LATEST.is_file() else []
    entries = {entry["id"]: entry for entry in before}
    here, packages = machine(), versions()
    entries |= {figure.goal.id: figure.record(here, packages) for figure in figures}
    order = [goal for goals in MODULES.values() for goal in goals]
    kept = [entries[goal] for goal in order if goal in entries]
    write_json(LATEST, kept)
    table.update(LATEST.parent, kept)


def main() -> None:
    # One thread everywhere, set before any library starts its own.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    figures: list[Figure] = []
    for module in chosen(sys.argv[1:]):
        print(f"bench: {module} ({', '.join(MODULES[module])})", flush=True)
        figures += isolated(module)
        save(figures)
    show(figures)
    print(f"written: {LATEST}")


if __name__ == "__main__":
    main()
