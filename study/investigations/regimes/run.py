"""Stage `regimes`: when is a network worth it? Scan step x dose x knowledge of the probe.

    params.yaml regimes -> parts (cell x step) -> work/regimes/<hash>.json -> results/regimes.json

Design choices
- A part is found again by the hash of everything it depends on: data, weights, settings, and the
  source text that computes it. A kill loses the parts that were just being computed.
- What is missing (a data set, a run) is a sentence under `missing`; the other rows are there.
- One part a process and one thread per process, as in training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

import study
from study.evidence.shapes import PartFile, checked
from study.formats.dataset import Manifest, load_manifest
from study.formats.requests import check_request
from study.investigations.regimes.results import FORMAT, fewest_patterns, where
from study.investigations.regimes.scan import CHECKPOINT, Part, numbers
from study.investigations.regimes.settings import NETWORKS, RegimeCell, Regimes
from study.reading import hash_of_file
from study.runs import RunFolder, environment, provenance, read_json, write_json
from study.runs.seed_folders import seed_folder
from study.settings import Study, UserError, load_study
from study.stages.pool import stop_on_signals
from study.stages.progress import Steps

# Whose source text decides the numbers of a part.
CODE = (
    "formats",
    "generators",
    "iterative",
    "metrics",
    "optics",
    "simulate",
    "investigations/regimes/scan.py",
    "training/checkpoints.py",
    "training/conditioning.py",
    "training/reconstruct.py",
)
SETTINGS = ("seed", "rpie", "rpie_damped", "network_rpie_passes")
OPTIONAL = ("seeds", "rpie_converged")
USABLE = ("finished", "collapsed")


def run_regimes(root: Path, at_once: int | None = None) -> list[str]:
    """Compute missing parts and write results/regimes.json; returns lines of a summary.

    `at_once`: processes, None for one a core. Raises UserError when params.yaml has no key
    `regimes` or a process was killed, KeyboardInterrupt after a stop; finished parts are kept.
    """
    settings = load_study(root / "params.yaml")
    plan = Plan(root, settings, settings.section(Regimes))
    waiting = {key: part for key, part in plan.parts.items() if plan.stored(key) is None}
    began = time.monotonic()
    failed = compute_all(root, waiting, at_once or environment.cores())
    result, row_seconds = plan.result(failed)
    file = root / "results" / "regimes.json"
    write_json(file, result)
    facts = {"environment": environment.describe(root, "cpu"), "row_seconds": row_seconds}
    provenance.keep_result(file, file.parent, facts)
    done = len(waiting) - len(failed)
    found = len(plan.parts) - len(waiting)
    seconds = time.monotonic() - began
    message = f"results/regimes.json: {done} scans computed in {seconds:.0f} s, {found} were there"
    return [message, *plan.missing, *failed.values()]


# --- what there is to do ----------------------------------------------------------------------


class Plan:
    """The parts by their hash, in the order of cells and steps; inputs; and what is missing."""

    def __init__(self, root: Path, settings: Study, regimes: Regimes) -> None:
        self.root, self.settings, self.regimes = root, settings, regimes
        self.missing: list[str] = []
        self.inputs: dict[str, Any] = {"data": {}, "weights": {}, "code_sha256": code_sha256()}
        self.parts: dict[str, Part] = {}
        for cell in regimes.cells:
            self._add(cell)

    def _add(self, cell: RegimeCell) -> None:
        seed = self.regimes.seed
        params = self.settings.data[cell.data.partition("/")[2]].of_seed(seed)
        place = where(cell.dose, cell.probe)
        try:
            folder = seed_folder(self.root / cell.data, seed)
            manifest = load_manifest(folder)
            check_request(manifest, params)
        except UserError as error:
            self.missing.append(f"{place}: no data: {error}")
            return
        self.inputs["data"][cell.data] = manifest.content_sha256
        networks: dict[str, dict[int, Path]] = {}
        for role in NETWORKS:
            arm = getattr(cell, role)
            try:  # without one of its runs a network would be judged by the others
                runs = {one: trained(self.root, arm, one, manifest) for one in self.regimes.runs}
            except UserError as error:
                self.missing.append(f"{place}: no {role}: {error}")
            else:
                networks[role] = runs
        files = [weights_file(run) for runs in networks.values() for run in runs.values()]
        weights = {str(file.relative_to(self.root)): hash_of_file(file) for file in files}
        self.inputs["weights"] |= weights
        for step in self.regimes.steps_px:
            part = Part(self.regimes, cell, step, folder, params, networks)
            self.parts[part_hash(part, manifest, weights)] = part

    def file(self, key: str) -> Path:
        return part_file(self.root, key)

    def stored(self, key: str) -> dict[str, Any] | None:
        """The numbers of a part; None where they are absent or damaged, to be computed again."""
        content = read_json(self.file(key))
        try:
            return checked(content, PartFile, self.file(key), "compute it again")
        except UserError:
            return None

    def result(self, failed: Mapping[str, str]) -> tuple[dict[str, Any], list[float]]:
        """The whole of results/regimes.json, from the stored parts; and the seconds of its rows."""
        regimes = self.regimes.model_dump(mode="json")
        rows: list[dict[str, Any]] = []
        scans: list[dict[str, Any]] = []
        for key, part in self.parts.items():
            if (content := self.stored(key)) is None:
                continue
            at = {"dose": part.cell.dose, "probe": part.cell.probe, "step_px": part.step_px}
            scan = {name: value for name, value in content.items() if name != "rows"}
            scans.append({**at, **scan})
            rows += [{**at, "patterns": scan["patterns"], **row} for row in content["rows"]]
        seconds = [row.pop("seconds") for row in rows]
        result = {
            "format": FORMAT,
            "steps_px": regimes["steps_px"],
            "settings": settings_of(self.regimes),
            "checkpoint": CHECKPOINT,
            "good": regimes["good"],
            "arms": regimes["cells"],
            "cells": rows,
            "scans": scans,
            "fewest_patterns": fewest_patterns(rows, regimes["good"]),
            "missing": [*self.missing, *failed.values()],
            "inputs": self.inputs,
        }
        return result, seconds


def trained(root: Path, arm: str, seed: int, manifest: Manifest) -> Path:
    """Folder of an arm's run. Raises UserError when it is absent, failed, or of other data."""
    run = RunFolder(root / "runs" / arm / f"s{seed}")
    bring = f"train it (`study train --arm {arm}`) or bring it (`dvc pull`)"
    shown = run.path.relative_to(root)
    status = run.checked_status()
    if not status:
        raise UserError(f"{shown} is not here; {bring}")
    if status.get("state") not in USABLE:
        cause = status.get("cause") or "no cause recorded"
        raise UserError(f"{shown} is {status.get('state')!r} ({cause}); {bring}")
    made_on = (status.get("manifest") or {}).get("data_sha256")
    if made_on != manifest.content_sha256:
        raise UserError(
            f"{shown} was trained on other data than {manifest.name} now holds; {bring}"
        )
    if not weights_file(run.path).is_file():
        raise UserError(f"{weights_file(shown)} is not here; {bring}")
    return run.path


def weights_file(run: Path) -> Path:
    return run / f"{CHECKPOINT}.pt"


def part_hash(part: Part, manifest: Manifest, weights: Mapping[str, str]) -> str:
    """Name of a part: what it depends on, without labels (`good`)."""
    settings = settings_of(part.regimes)
    facts = [part.cell.dose, part.cell.probe, part.step_px, sorted(part.networks)]
    content = [FORMAT, facts, settings, manifest.content_sha256, dict(weights), code_sha256()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def settings_of(regimes: Regimes) -> dict[str, Any]:
    """The settings that numbers depend on; optional ones where they are used."""
    found = regimes.model_dump(mode="json", include={*SETTINGS, *OPTIONAL})
    return {key: value for key, value in found.items() if key in SETTINGS or value}


def code_sha256() -> str:
    """One hash of the source files in CODE."""
    package = Path(study.__file__).parent
    digest = hashlib.sha256()
    for name in CODE:
        place = package / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else (place,):
            digest.update(f"{file.relative_to(package).as_posix()} {hash_of_file(file)}\n".encode())
    return digest.hexdigest()


def part_file(root: Path, key: str) -> Path:
    return root / "work" / "regimes" / f"{key}.json"


# --- doing it ---------------------------------------------------------------------------------


def compute_all(root: Path, parts: Mapping[str, Part], at_once: int) -> dict[str, str]:
    """Compute and store the parts; a sentence for each that could not be.

    The largest come first, so that no core waits for another at the end.
    """
    order = sorted(parts, key=lambda key: parts[key].step_px)
    failed: dict[str, str] = {}
    with stop_on_signals(), Steps("regimes: scans", len(order)) as steps:
        for key, sentence in _computed(root, parts, order, min(at_once, len(order))):
            if sentence is not None:
                failed[key] = sentence
            steps.advance()
    return failed


def _computed(
    root: Path, parts: Mapping[str, Part], order: Sequence[str], processes: int
) -> Iterator[tuple[str, str | None]]:
    """(key, why not) of every part, as it is done."""
    if processes <= 1:
        torch.set_num_threads(1)
        for key in order:
            yield key, compute(root, key, parts[key])
        return
    with _pool(processes) as pool:
        futures = {pool.submit(compute, root, key, parts[key]): key for key in order}
        for future in as_completed(futures):
            yield futures[future], future.result()


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once when this one is stopped."""
    # fork keeps the imports; macOS cannot fork safely. Nothing here uses a GPU.
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=settle)
    try:
        yield pool
    except BrokenProcessPool:
        raise UserError(
            "a process of `study regimes run` was killed (out of memory?); run again to resume, "
            "with --jobs 1 to take less memory"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def settle() -> None:
    """One thread; a stop is the business of the process that started this one."""
    from study.training import process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    process.settle()


def compute(root: Path, key: str, part: Part) -> str | None:
    """Store the numbers of one part; the sentence that says why there are none."""
    try:
        write_json(part_file(root, key), numbers(part))
    except UserError as error:
        return f"{where(part.cell.dose, part.cell.probe)}, step {part.step_px} px: {error}"
    return None
