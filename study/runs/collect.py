"""Where a run is found again, and how an arm's runs come together under runs/<arm>.

`work/<hash>` holds live runs; `runs/<arm>` is the one cached output of the arm. The stage keeps it
(`persist`) while it works, so a run that is collected, or was pulled, is not trained again.

The collected copy has equal bytes for equal settings, data, seed and kind of processor. What a
clock, a process or the machine decided goes to provenance/<arm> (`study.runs.provenance`).
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
# Fields of status.json that the clock and the process decide.
OF_THE_PROCESS = (
    "pid",
    "pid_started",
    "started",
    "ended",
    "heartbeat",
    "seconds",
    "reconstruct_seconds",
)
# Events of one process; an interrupted run has them, its uninterrupted repetition has not.
INTERRUPTIONS = ("resumed", "started again", "checkpoint_unreadable")


def settled_run(live: Path, collected: Path, origin: Mapping[str, Any]) -> RunFolder | None:
    """The settled run of this origin: the live one, else the collected one, else None."""
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
    """Copy the outputs of settled runs to `out`/s<seed>, whole: built beside it, then exchanged
    with it. How they were computed goes to provenance/<arm> beside runs/<arm>.

    Under a lock: `dvc repro` and the supervisor may come to the end of one arm together.
    """
    kept: dict[int, tuple[Mapping[str, Any], Mapping[str, str]]] = {}
    with collecting(out):
        sweep(out.parent)
        # Before the copies: what a killed exchange left aside may be among the runs found.
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
    """Take from a copied run folder what its files say about clock, process and interruptions."""
    status = {key: value for key, value in run.status().items() if key not in OF_THE_PROCESS}
    write_json(run.path / "status.json", status)
    table = read_table(run.history_file, as_text=True)
    timing = [column for column in TIMING if column in table]
    if timing:  # a run of an earlier version
        write_text(run.history_file, table.drop(columns=timing).to_csv(index=False))
    if run.events_file.is_file():
        # An epoch that a killed process did not save is repeated, with its events.
        write_text(run.events_file, "".join(f"{line}\n" for line in dict.fromkeys(_events(run))))


def _events(run: RunFolder) -> Iterator[str]:
    """What happened, without the time; lines that a killed writer left torn are left out."""
    for line in read_lines(run.events_file):
        try:
            event = parse_json(line, run.events_file)
        except UserError:
            continue
        if isinstance(event, dict) and event.get("kind") not in INTERRUPTIONS:
            yield json.dumps({key: value for key, value in event.items() if key != "time"})


def collecting(out: Path) -> BaseFileLock:
    """The lock under which runs/<arm> is put together."""
    return lock_at(out.with_name(f".{out.name}.lock"))
