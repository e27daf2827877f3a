"""The rows of the arms table and the axes of the seed strips.

A fence groups the arms of one data set; arms are not compared across fences, so the strips of a
column share their axis within a fence only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from study.evidence.arms import ArmResults, factors
from study.evidence.cells import Cell, Line, results_table
from study.evidence.format import join_words
from study.evidence.summary import summarise
from study.report.series import Axis, axis_of
from study.settings import Row, leaves

ABSENT = "–"


@dataclass(frozen=True)
class TableColumn:
    """A column: `alias` in the address, `path` in the results; scores have a checkpoint."""

    alias: str
    path: str
    title: str


def columns(checkpoint: str) -> tuple[TableColumn, ...]:
    """The numeric columns, scores being those of the weights `checkpoint` (best or last)."""
    scores = (
        ("amp_ssim", "standard.amplitude.ssim", "amp SSIM"),
        ("phase_ssim", "standard.phase.ssim", "phase SSIM"),
        ("amp_mae", "standard.amplitude.mae", "amp MAE"),
        ("phase_mae", "standard.phase.mae", "phase MAE"),
        ("frc", "standard.amplitude.frc50", "FRC 0.5"),
        ("r", "r_factor.sum", "R-factor"),
    )
    return (
        TableColumn("best_loss", "best.val_loss", "best validation loss"),
        TableColumn("loss", "last.val_loss", "validation loss"),
        TableColumn("gap", "gap.val_loss", "gap"),
        *(TableColumn(alias, f"{checkpoint}.{path}", title) for alias, path, title in scores),
        TableColumn("seconds", "training.seconds", "per run"),
    )


# --- one arm ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArmRow:
    """One arm in the table. `changed`: factor -> (value of the compared arm, own value)."""

    line: Line
    changed: Mapping[str, tuple[Any, Any]]
    data_sha256: str | None

    @property
    def name(self) -> str:
        return self.line.name

    @property
    def data(self) -> str:
        return join_words(sorted({entry.path for entry in self.line.arm.data}))

    @property
    def best_epochs(self) -> tuple[int, ...]:
        return tuple(sorted(int(e) for e in self.line.cells["best.epoch"].values.values()))


def arm_rows(
    arms: Mapping[str, ArmResults], asked: Mapping[str, Row], checkpoint: str
) -> dict[str, ArmRow]:
    """Every stored arm; `asked`: the arms declared in params.yaml."""
    paths = [*(column.path for column in columns(checkpoint)), "best.epoch"]
    found = {name: summarise(name, asked.get(name), arm, paths) for name, arm in arms.items()}
    return {
        line.name: ArmRow(
            line,
            changes(arms[line.name], arms.get(line.arm.versus or "")),
            arms[line.name].data_sha256,
        )
        for line in results_table(found, sorted(found), paths)
    }


def changes(arm: ArmResults, control: ArmResults | None) -> dict[str, tuple[Any, Any]]:
    """The factors in which an arm differs from the one that it is compared with."""
    if control is None or arm.row is None or control.row is None:
        return {}
    found = dict(sorted(factors(control.row, arm.row).items()))
    if "generator.name" in found:  # the settings of another network belong to that factor
        known = leaves(control.row)
        own = {k: v for k, v in leaves(arm.row).items() if k.startswith("generator.")}
        found |= {k: (ABSENT, v) for k, v in own.items() if k not in known}
    return found


# --- axes -------------------------------------------------------------------------------------


def axis(cells: Iterable[Cell]) -> Axis | None:
    """One axis for the strips of a column, over the seeds of trained arms."""
    return axis_of([v for cell in cells for v in cell.values.values() if math.isfinite(v)])


def position(value: float, scale: Axis) -> float:
    """Position of a value on an axis, 0 to 1; values beyond the axis are placed at its end."""
    return min(1.0, max(0.0, _along(value, scale)))


def beyond(value: float, scale: Axis) -> bool:
    return not -1e-9 <= _along(value, scale) <= 1 + 1e-9


def _along(value: float, scale: Axis) -> float:
    low, high, kind = scale
    if kind == "log":
        value = math.log10(value) if value > 0 else -math.inf
    if high <= low:
        return 0.5 if value == low else math.copysign(math.inf, value - low)
    return (value - low) / (high - low)
