"""The rows of the arms table: every number with its interval, its n and each of its seeds.

A fence is a data set. Across it nothing is compared, so the strips of a column share their axis
within a fence and not beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from study.evidence.arms import OUTCOMES, ArmResults, factors
from study.evidence.columns import KNOWN
from study.evidence.summary import summarise
from study.evidence.wording import counted, fmt, listed
from study.params import Row

Scale = Literal["linear", "log"]
Axis = tuple[float, float, Scale]

WIDE = 30.0  # beyond this ratio of the largest to the least value an axis is logarithmic
LABELS = ("arm", "reference", "floor", "ceiling")


@dataclass(frozen=True)
class Shown:
    """A column: `alias` in queries, `path` in the results; `scored` ones have a checkpoint."""

    alias: str
    path: str
    title: str


def columns(checkpoint: str) -> tuple[Shown, ...]:
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
        Shown("best_loss", "best.val_loss", "best loss"),
        Shown("loss", "last.val_loss", "final loss"),
        Shown("gap", "gap.val_loss", "gap"),
        *(Shown(alias, f"{checkpoint}.{path}", title) for alias, path, title in scores),
        Shown("seconds", "training.seconds", "per run"),
    )


# Beside the table's columns a query knows these.
TEXTS = ("arm", "is", "data", "changed", "versus")
COUNTS = ("seeds", "ok", "failed", "collapsed", "missing", "best_epoch")


def query_columns(checkpoint: str) -> dict[str, type]:
    """What a query may name: short aliases first, then every path of the results."""
    named: dict[str, type] = dict.fromkeys(TEXTS, str)
    named |= dict.fromkeys((*COUNTS, *(c.alias for c in columns(checkpoint))), float)
    return named | dict.fromkeys(KNOWN, float)


# --- one arm ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArmRow:
    """One arm as the table shows it.

    `cells` by alias; `changed`: factor -> (value of the arm it is compared with, its own).
    """

    name: str
    label: str
    versus: str | None
    changed: Mapping[str, tuple[Any, Any]]
    data: str
    data_sha256: str | None
    seeds: Mapping[str, Sequence[int]]
    causes: Mapping[str, str]
    cells: Mapping[str, Cell]
    best_epochs: tuple[int, ...]

    @property
    def ran(self) -> int:
        return sum(len(self.seeds[outcome]) for outcome in OUTCOMES)


@dataclass(frozen=True)
class Cell:
    """A number over the seeds. `estimate` is None where no seed has it, and `why` says why."""

    id: str
    unit: str
    estimate: float | None
    low: float | None
    high: float | None
    values: Mapping[int, float]
    why: str

    @property
    def half(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def arm_row(
    arm: ArmResults, row: Row | None, control: ArmResults | None, checkpoint: str
) -> ArmRow:
    """`row`: what was asked for, `control`: the arm it is compared with; both None if not known."""
    shown = columns(checkpoint)
    facts = summarise(arm.name, row, arm, [*(column.path for column in shown), "best.epoch"])
    data = facts["data"]
    return ArmRow(
        name=arm.name,
        label=str(arm.label),
        versus=facts["versus"],
        changed=changes(arm, control),
        data=listed(sorted({entry["path"] for entry in data})),
        data_sha256=arm.data_sha256,
        seeds=facts["seeds"],
        causes=facts["causes"],
        cells={column.alias: cell(column.path, arm, facts) for column in shown},
        best_epochs=tuple(sorted(int(e) for e in arm.values("best.epoch").values())),
    )


def changes(arm: ArmResults, control: ArmResults | None) -> dict[str, tuple[Any, Any]]:
    """The factors in which an arm differs from the one that it is compared with."""
    if control is None or arm.row is None or control.row is None:
        return {}
    return dict(sorted(factors(control.row, arm.row).items()))


def cell(path: str, arm: ArmResults, facts: Mapping[str, Any]) -> Cell:
    number = facts["numbers"].get(path)
    unit, values = KNOWN[path].unit, arm.values(path)
    why = reasons(path, facts["degenerate"])
    if number is None:
        absent = why or (arm.label == "arm" and "no run has this number") or ""
        return Cell(f"{arm.name}/mean/{path}", unit, None, None, None, {}, str(absent))
    bounds = number["low"], number["high"]
    return Cell(number["id"], unit, number["estimate"], *bounds, values, why)


def reasons(path: str, degenerate: Mapping[str, Mapping[str, str]]) -> str:
    """Why a score is blank in some seed: the gate's own words; "" where it is blank in none."""
    parts = path.split(".")
    if len(parts) < 4 or parts[1] != "standard":
        return ""
    found = degenerate.get(f"{parts[0]}.{parts[2]}", {})
    by_reason: dict[str, list[str]] = {}
    for seed, reason in found.items():
        by_reason.setdefault(reason, []).append(seed)
    return "; ".join(f"{reason} ({_some(seeds)})" for reason, seeds in by_reason.items())


def _some(seeds: Sequence[str]) -> str:
    """A few seeds by name, many by number: the causes name each."""
    return listed(seeds) if len(seeds) <= 3 else counted(len(seeds), "seed")


def ordered(names: Iterable[str], arms: Mapping[str, ArmResults]) -> list[str]:
    """The control first, then trained arms, then what is no network: each in order of name."""

    def place(name: str) -> tuple[int, bool, str]:
        label = str(arms[name].label)
        kind = LABELS.index(label) if label in LABELS else len(LABELS)
        return kind, name.rpartition("/")[2] != "control", name

    return sorted(names, key=place)


def record(row: ArmRow, arm: ArmResults) -> dict[str, str | float | None]:
    """What a query sees of a row: its columns by alias, and the mean at every other path."""
    means = {path: _mean(arm.values(path)) for path in KNOWN}
    return {
        **means,
        **{alias: cell.estimate for alias, cell in row.cells.items()},
        **{outcome: float(len(row.seeds[outcome])) for outcome in (*OUTCOMES, "missing")},
        "seeds": float(row.ran),
        "best_epoch": _mean({i: float(e) for i, e in enumerate(row.best_epochs)}),
        "arm": row.name,
        "is": row.label,
        "data": f"{row.data} {row.data_sha256 or ''}",
        "versus": row.versus or "",
        "changed": " ".join(row.changed),
    }


def _mean(values: Mapping[int, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None


# --- axes -------------------------------------------------------------------------------------


def axis(cells: Iterable[Cell]) -> Axis | None:
    """One axis for the strips of a column: from the least to the largest seed of trained arms."""
    values = [v for cell in cells for v in cell.values.values() if math.isfinite(v)]
    if not values:
        return None
    low, high = min(values), max(values)
    if low > 0 and high / low > WIDE:
        return math.log10(low), math.log10(high), "log"
    return low, high, "linear"


def position(value: float, scale: Axis) -> float:
    """Where a value lies on an axis, 0 to 1; what lies beyond is held at its end."""
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


def number(cell: Cell) -> str:
    """The estimate to three digits, and never a score of nothing."""
    if cell.estimate is not None:
        return fmt(cell.estimate, 3)
    return "not evaluable" if cell.why and _scored(cell) else "–"


def _scored(cell: Cell) -> bool:
    return ".standard." in cell.id


def seeds_words(cell: Cell, row: ArmRow) -> str:
    """`5 of 6 seeds`; what is no network has one value and no seeds."""
    if row.label != "arm":
        return "one value" if cell.values else ""
    return f"{len(cell.values)} of {row.ran} seeds"
