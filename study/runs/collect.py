"""Find existing runs, and collect the runs of an arm under runs/<arm>.

`work/<hash>` contains runs in progress; `runs/<arm>` is the cached output of the arm. The stage
keeps it (`persist`), so a collected or pulled run is not trained again.

The collected copy has equal bytes for equal settings, data, seed and type of processor. Times,
process ids and facts about the machine go to provenance/<arm> (`study.runs.provenance`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import BaseFileLock

from study.reading import UserError, parse_json, read_table
from study.runs import provenance
from study.runs.folder import TIMING, RunFolder, plain, read_lines, write_json, write_text
from study.runs.links import lock_at
from study.runs.temporary import replace_folder, restore_folder, sweep, temporary_folder, unfinished

LIVE_ONLY = (
    "checkpoint*.pt",
    "checkpoints",
    "*.tmp",
    "environment.json",
    "timing.csv",
    "log.txt",
)
# Fields of status.json that depend on the clock and the process.
OF_THE_PROCESS = (
    "pid",
    "pid_started",
    "started",
    "ended",
    "heartbeat",
    "seconds",
    "reconstruct_seconds",
)
# Events of one process; an interrupted run has them, an uninterrupted one does not.
INTERRUPTIONS = ("resumed", "started again", "checkpoint_unreadable")


def settled_run(live: Path, collected: Path, origin: Mapping[str, Any]) -> RunFolder | None:
    """The settled run of this origin in work/, else the collected one, else None."""
    out = collected.parent
    if unfinished(out):
        with collecting(out):
            restore_folder(out)
    for folder in (live, collected):
        run = RunFolder(folder)
        if run.settled and run.status().get("manifest") == plain(origin):
            return run
    return None


def collect(found: Iterable[tuple[int, RunFolder]], out: Path) -> None:
    """Copy the outputs of settled runs to `out`/s<seed>. The folder is built beside its target,
    then exchanged with it. Provenance goes to provenance/<arm> beside runs/<arm>. A lock is held,
    since `dvc repro` and the supervisor may collect one arm at the same time.
    """
    kept: dict[int, tuple[Mapping[str, Any], Mapping[str, str]]] = {}
    with collecting(out):
        sweep(out.parent)
        # Before copying, since folders that a killed exchange left aside may be among the runs
        # found.
        restore_folder(out)
        with temporary_folder(out) as building:
            for seed, run in found:
                target = building / f"s{seed}"
                shutil.copytree(run.path, target, ignore=shutil.ignore_patterns(*LIVE_ONLY))
                outputs_only(RunFolder(target))
                facts = provenance.facts_of(run)
                if facts is not None:
                    kept[seed] = facts, provenance.hashes(target)
            replace_folder(building, out)
        for seed, (facts, outputs) in kept.items():
            provenance.keep(provenance_of(out, seed), facts, outputs)


def provenance_of(out: Path, seed: int) -> Path:
    """The provenance file of one run of runs/<arm>."""
    return provenance.seed_file(out.parents[1], out.name, seed)


def outputs_only(run: RunFolder) -> None:
    """Remove facts about clock, process and interruptions from a copied run folder."""
    status = {key: value for key, value in run.status().items() if key not in OF_THE_PROCESS}
    write_json(run.path / "status.json", status)
    table = read_table(run.history_file, as_text=True)
    timing = [column for column in TIMING if column in table]
    if timing:  # a run of an earlier version
        write_text(run.history_file, table.drop(columns=timing).to_csv(index=False))
    if run.events_file.is_file():
        # An epoch that a killed process did not save is repeated together with its events.
        write_text(run.events_file, "".join(f"{line}\n" for line in dict.fromkeys(_events(run))))


def _events(run: RunFolder) -> Iterator[str]:
    """The events without their time; incomplete lines of a killed writer are left out."""
    for line in read_lines(run.events_file):
        try:
            event = parse_json(line, run.events_file)
        except UserError:
            continue
        if isinstance(event, dict) and event.get("kind") not in INTERRUPTIONS:
            yield json.dumps({key: value for key, value in event.items() if key != "time"})


def collecting(out: Path) -> BaseFileLock:
    """The lock under which runs/<arm> is collected."""
    return lock_at(out.with_name(f".{out.name}.lock"))
