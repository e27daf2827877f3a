"""`make bench-scaling`: measure, write bench/scaling.json, draw bench/scaling.png.

With the argument `draw`, only draw the figure from the stored numbers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.__main__ import machine, versions
from bench.scaling.curve import Curve
from bench.scaling.figure import draw
from study.runs import write_json

NUMBERS = Path(__file__).parent.with_name("scaling.json")
PICTURE = NUMBERS.with_suffix(".png")


def alone(measure: Callable[[], Curve | list[Curve]]) -> list[Curve]:
    """Run `measure` in a fresh process."""
    print(f"scaling: {measure.__name__}", flush=True)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(measure).result()
    return found if isinstance(found, list) else [found]


def measure() -> list[Curve]:
    from bench.scaling import patterns, runs

    tasks = (
        patterns.simulate_curve,
        patterns.epoch_curve,
        runs.folder_curves,
        runs.result_curves,
    )
    return [curve for task in tasks for curve in alone(task)]


def main() -> None:
    # One thread everywhere, set before any library starts its own.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if sys.argv[1:] != ["draw"]:
        records = [curve.record() for curve in measure()]
        facts = {"machine": machine(), "versions": versions()}
        write_json(NUMBERS, {**facts, "curves": records})
    records = json.loads(NUMBERS.read_text())["curves"]
    draw(records, PICTURE)
    for record in records:
        end = record["extrapolated"]
        print(
            f"{record['name']:9s} {record['cpu_s'][-1]:8.3g} CPU s at {record['sizes'][-1]:,} "
            f"{record['axis']}, exponent {record['law']['exponent']:.2f}; extrapolated "
            f"{end['cpu_s'][-1]:.3g} CPU s at {end['sizes'][-1]:,.0f}"
        )
    print(f"written: {NUMBERS}, {PICTURE}")


if __name__ == "__main__":
    main()
