"""When is a network worth it: the sentences and the heat map of results/regimes.json.

Design choices
- One sentence a region, (dose, probe), put together from the numbers alone: which method has the
  lowest error over which scan steps, and how far the next one is.
- Methods within 5 % of the lowest error share it.
- A method stays good down to a number of patterns when it is good there and at every denser scan.
- One object, one seed and no interval: the map shows where methods part, it proves no order.
- A region is easy when the probe is known and neighbouring spots overlap: the step is smaller than
  the diameter of what one pattern lights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.evidence.format import counted, enumerated, span
from study.evidence.shapes import RegimesFile, checked
from study.investigations.regimes.settings import NETWORKS
from study.reading import read_mapping
from study.settings import UserError

FILES = ("regimes.json",)
FORMAT = 1
TIE = 0.05
METHODS = {
    "control": "the control network",
    "better": "the better network",
    "back_projection": "back-projection",
    "rpie": "rPIE",
    "rpie_damped": "damped rPIE",
    "rpie_converged": "rPIE to convergence",
    "rpie_blind": "rPIE that refines the probe",
    "network_rpie": "rPIE started from the better network",
}
UNITS = {
    "amplitude_mae": "object units",
    "phase_mae": "rad",
    "amplitude_ssim": "",
    "phase_ssim": "",
    "seconds": "s",
}
ERRORS = {"amplitude_mae": "amplitude error", "phase_mae": "phase error"}

Row = Mapping[str, Any]
Region = tuple[float, str]


def load(file: Path) -> dict[str, Any]:
    """results/regimes.json, or a recorded one. Raises UserError when it is torn or another file."""
    content = read_mapping(file) or {}
    if content.get("format") != FORMAT:
        raise UserError(f"{file} is not a regime map of format {FORMAT}; run `study regimes run`")
    return checked(content, RegimesFile, file, "compute it again with `study regimes run`")


# --- reading ----------------------------------------------------------------------------------


def where(dose: float, probe: str) -> str:
    """A region in words."""
    return f"{dose:.0e} photons per pattern, probe {probe}".replace("e+0", "e").replace("e+", "e")


def regions_of(rows: Sequence[Row]) -> list[Region]:
    """Every (dose, probe), in the order of the rows."""
    return list(dict.fromkeys((row["dose"], row["probe"]) for row in rows))


def rows_of(rows: Sequence[Row], region: Region) -> list[Row]:
    return [row for row in rows if (row["dose"], row["probe"]) == region]


def fewest_patterns(rows: Sequence[Row], good: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per region and method: the fewest patterns with which it stays good, and their scan step.

    Null where it is not good with the most patterns. `good`: {number: {"value", "unit"}}.
    """
    found = []
    for region in regions_of(rows):
        here = rows_of(rows, region)
        for method in _methods(here):
            scans = sorted((r for r in here if r["method"] == method), key=_density)
            last = None
            for row in scans:
                if not _is_good(row, good):
                    break
                last = row
            found.append(
                {
                    "dose": region[0],
                    "probe": region[1],
                    "method": method,
                    "patterns": last["patterns"] if last else None,
                    "step_px": last["step_px"] if last else None,
                }
            )
    return found


def _density(row: Row) -> int:
    return -row["patterns"]


def _is_good(row: Row, good: Mapping[str, Any]) -> bool:
    return all(row[key] is not None and row[key] <= good[key]["value"] for key in good)


def _methods(rows: Sequence[Row]) -> list[str]:
    """The methods that have rows, in the order of METHODS."""
    there = {row["method"] for row in rows}
    return [method for method in METHODS if method in there]


def training_sentence(content: Mapping[str, Any]) -> str | None:
    """What the networks were shown before their first image; None in maps without it."""
    shown = sorted({r["training_patterns"] for r in content["cells"] if r.get("training_patterns")})
    if not shown:
        return None
    seeds = max(len(row.get("seeds", [0])) for row in content["cells"])
    counts = str(shown[0]) if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"
    return (
        f"Each network was trained on {counts} patterns; the other methods need no training. "
        f"Numbers of networks are means over {counted(seeds, 'run')}."
    )


# --- the heat map -----------------------------------------------------------------------------


@dataclass(frozen=True)
class HeatMap:
    """One number over scan steps (columns) and region x method (rows); None is not a score.

    `rows`: (dose, probe, method); `best`: whether the value is the lowest error (highest
    similarity) of its region and step, or shares it.
    """

    number: str
    unit: str
    steps_px: tuple[int, ...]
    rows: tuple[tuple[float, str, str], ...]
    values: tuple[tuple[float | None, ...], ...]
    best: tuple[tuple[bool, ...], ...]


def heat_map(content: Mapping[str, Any], number: str) -> HeatMap:
    """The table behind a heat map of `number`, one of `UNITS`."""
    cells, steps = content["cells"], tuple(content["steps_px"])
    rows, values, best = [], [], []
    for region in regions_of(cells):
        here = rows_of(cells, region)
        winners = {step: lowest(here, step, number) for step in steps}
        for method in _methods(here):
            by_step = {row["step_px"]: row[number] for row in here if row["method"] == method}
            rows.append((*region, method))
            values.append(tuple(by_step.get(step) for step in steps))
            best.append(tuple(method in _names(winners[step]) for step in steps))
    unit = UNITS[number]
    return HeatMap(number, unit, steps, tuple(rows), tuple(values), tuple(best))


@dataclass(frozen=True)
class Lowest:
    """Who has the best value at one step, alone or within 5 %, and the best of the others."""

    methods: tuple[str, ...]
    step_px: int
    value: float
    following: float | None


def lowest(rows: Sequence[Row], step_px: int, number: str) -> Lowest | None:
    """The best at one step of one region: lowest, for a similarity highest. None: no score."""
    found = {
        row["method"]: row[number]
        for row in rows
        if row["step_px"] == step_px and row[number] is not None
    }
    if not found:
        return None
    # What is missing to full similarity is as much an error as an error is.
    loss = {m: 1 - v if number.endswith("ssim") else v for m, v in found.items()}
    least = min(loss.values())
    tied = tuple(m for m in METHODS if m in loss and loss[m] <= least * (1 + TIE))
    others = [method for method in loss if method not in tied]
    following = found[min(others, key=lambda m: loss[m])] if others else None
    return Lowest(tied, step_px, found[min(tied, key=lambda m: loss[m])], following)


def _names(winner: Lowest | None) -> tuple[str, ...]:
    return winner.methods if winner else ()


# --- the sentences ----------------------------------------------------------------------------


def sentences(content: Mapping[str, Any]) -> list[str]:
    """One sentence a region, in the order of the map."""
    cells = content["cells"]
    return [sentence(content, region) for region in regions_of(cells)]


def sentence(content: Mapping[str, Any], region: Region) -> str:
    """Who has the lowest amplitude and phase error of a region, over which steps, by how much."""
    here = rows_of(content["cells"], region)
    sentences = [_describe(here, content["steps_px"], number) for number in ERRORS]
    absent = [METHODS[role] for role in NETWORKS if role not in _methods(here)]
    lacking = f"; no run of {enumerated(absent)}" if absent else ""
    return f"{where(*region)}: {'; '.join(sentences)}{lacking}."


def _describe(rows: Sequence[Row], steps_px: Sequence[int], number: str) -> str:
    groups: dict[tuple[str, ...], list[Lowest]] = {}
    for step in steps_px:
        if (winner := lowest(rows, step, number)) is not None:
            groups.setdefault(winner.methods, []).append(winner)
    if not groups:
        return f"no method has a score for the {ERRORS[number]}"
    parts = [_group(names, wins, steps_px, number) for names, wins in groups.items()]
    return f"the lowest {ERRORS[number]} is that {', '.join(parts)}"


def _group(
    names: Sequence[str], wins: Sequence[Lowest], steps_px: Sequence[int], number: str
) -> str:
    """`of rPIE at 2 of 8 steps (5 to 8 px: 0.001 to 0.14 object units, next best 0.2)`"""
    tie = " (a tie within 5 %)" if len(names) > 1 else ""
    who = f"of {enumerated([METHODS[name] for name in names])}{tie}"
    following = [win.following for win in wins if win.following is not None]
    behind = f", next best {span(following)}" if following else ""
    places = _steps([win.step_px for win in wins], steps_px)
    values = f"{span([win.value for win in wins])} {UNITS[number]}"
    return f"{who} at {len(wins)} of {counted(len(steps_px), 'step')} ({places}: {values}{behind})"


def _steps(chosen: Sequence[int], steps_px: Sequence[int]) -> str:
    """`5 to 12 and 20 px`: neighbours among the steps that were tried are one stretch."""
    stretches: list[list[int]] = []
    before = dict(zip(steps_px[1:], steps_px, strict=False))
    for step in chosen:
        if stretches and stretches[-1][-1] == before.get(step):
            stretches[-1].append(step)
        else:
            stretches.append([step])
    sentences = [f"{s[0]} to {s[-1]}" if len(s) > 1 else f"{s[0]}" for s in stretches]
    return f"{enumerated(sentences)} px"


def easy_sentence(content: Mapping[str, Any]) -> str:
    """How often each method has the lowest errors where scanning is easy; see the module."""
    easy = list(_easy(content))
    if not easy:
        return "No scan of the map is easy (known probe, neighbouring spots overlap)."
    sentences = []
    for number, name in ERRORS.items():
        wins = [w for rows, step in easy if (w := lowest(rows, step, number)) is not None]
        counts = {m: sum(m in win.methods for win in wins) for m in METHODS}
        ranked = sorted((m for m in counts if counts[m]), key=lambda m: -counts[m])
        shares = ", ".join(f"{METHODS[m]} in {counts[m]}" for m in ranked) or "no method has one"
        sentences.append(f"{name}: {shares}")
        most = [METHODS[m] for m in ranked if 2 * counts[m] > len(easy)]
        if most:
            sentences[-1] += (
                f", so {enumerated(most)} {'wins' if len(most) == 1 else 'win'} most of it"
            )
    scans = counted(len(easy), "scan")
    return (
        f"Where scanning is easy (known probe, neighbouring spots overlap: {scans}), the lowest "
        f"errors, ties within 5 % counted for all, are: {'; '.join(sentences)}."
    )


def _easy(content: Mapping[str, Any]) -> Iterator[tuple[list[Row], int]]:
    """(rows of the region, step) of every easy scan."""
    for scan in content["scans"]:
        if scan["probe"] == "known" and scan["step_px"] < scan["lit_diameter_px"]:
            yield rows_of(content["cells"], (scan["dose"], scan["probe"])), scan["step_px"]
