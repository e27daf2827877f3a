"""Outcome, time and memory of importing every scan in some folders, as a Markdown table.

    python bench/import_table.py FOLDER [FOLDER ...]

Each file is imported in a separate process, into memory only (`--child FILE`).
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

SUFFIXES = (".cxi", ".nxs", ".h5", ".hdf5", ".npz", ".bz2", ".mat", ".ptyr", ".ptyd")
SHOWN = ("fit:", "scale", "warning", "bad pixels", "left out", "frames:", "beam", "probe:", "mask:")


def child(path: Path) -> None:
    """Import one file and print a JSON object with outcome, statements, CPU s and peak MB."""
    from study.formats.importing import import_scan
    from study.settings import UserError

    began = time.process_time()
    try:
        data = import_scan(path, "scan")
        outcome = f"accepted, {sum(data.manifest.patterns.values())} patterns"
        said = [each for each in data.manifest.statements if each.startswith(SHOWN)]
    except UserError as error:
        outcome, said = "refused", [str(error).replace(str(path), path.name).splitlines()[0]]
    facts = {
        "outcome": outcome,
        "said": said,
        "seconds": time.process_time() - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(facts))


def row(path: Path) -> str:
    """The table row of one file. Raises RuntimeError if its process fails."""
    command = [sys.executable, __file__, "--child", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{path}: exit status {done.returncode}\n{done.stderr}")
    facts = json.loads(done.stdout.splitlines()[-1])
    said = re.sub(r"\s+", " ", "; ".join(facts["said"])).replace("|", "/")
    cells = (
        path.name,
        facts["outcome"],
        said,
        f"{facts['seconds']:.1f}",
        f"{facts['peak_mb']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main(folders: list[str]) -> None:
    if folders[:1] == ["--child"]:
        child(Path(folders[1]))
        return
    print("| file | outcome | statements | CPU s | peak MB |\n|---|---|---|---|---|")
    for folder in map(Path, folders):
        files = [folder] if folder.is_file() else sorted(folder.iterdir())
        for path in files:
            if path.suffix in SUFFIXES and not path.name.endswith("_para.hdf5"):
                print(row(path), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
