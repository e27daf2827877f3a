"""Pipes and devices in place of scans, masks, positions and data are refused, not waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Prints the name of each case whose call is refused by a UserError.
CHILD = """
import sys
from pathlib import Path
from study.artifacts.store import check_config
from study.formats.arrays import read_arrays
from study.formats.cxi import read_cxi
from study.formats.mask_file import read_mask
from study.formats.positions import Beside, read_positions
from study.formats.readers import hash_of, read_probe_of, read_raw
from study.formats.zarr_store import ZarrEntries
from study.reading import hash_of_file
from study.settings import UserError
from study.stages.train import plan

folder = Path(sys.argv[1])
for special in (folder / "pipe", Path("/dev/zero"), Path("/dev/full")):
    cases = {
        "scan": lambda: read_raw(special),
        "scan_hash": lambda: hash_of(special),
        "probe": lambda: read_probe_of(special),
        "object": lambda: read_arrays(special),
        "set": lambda: read_cxi(special),
        "mask": lambda: read_mask(special, 8),
        "beside_mask": lambda: Beside(mask=special).request(),
        "beside_positions": lambda: Beside(positions=str(special)).request(),
        "positions": lambda: read_positions(Beside(positions=str(special), units="px")),
        "positions_npy": lambda: read_positions(Beside(positions=f"{folder}/p.npy", units="px")),
        "positions_hdf5": lambda: read_positions(Beside(positions=f"{folder}/p.h5:/a")),
        "hash": lambda: hash_of_file(special),
        "zarr": lambda: ZarrEntries(folder / "scan.zarr"),
        "chunk": lambda: ZarrEntries(folder / "chunk.zarr").read("data"),
        "dvc": lambda: check_config(folder),
        "fingerprint": lambda: plan(folder, "a", None, False, 1),
    }
    for name, call in cases.items():
        try:
            call()
        except UserError:
            print(name)
            continue
        raise SystemExit(f"{name} was accepted")
"""
CASES = CHILD.count("lambda")


@pytest.mark.slow
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    for place in (
        "pipe",
        "p.npy",
        "p.h5",
        "scan.zarr/a/.zarray",
        "chunk.zarr/0",
        ".dvc/config",
        "fingerprints/a.json",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / place)
    (tmp_path / "scan.zarr" / ".zgroup").write_text("{}")
    (tmp_path / "chunk.zarr" / ".zarray").write_text(
        '{"shape": [1], "chunks": [1], "dtype": "<f4", "compressor": null, "fill_value": 0,'
        '"order": "C"}'
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(done.stdout.split()) == 3 * CASES
