"""Time and memory to import generated scans of several sizes, and for one rPIE pass over them.

    python -m bench.large_import 500x128 5000x256 [--rpie] [--folder DIR] [--json FILE]
    python -m bench.large_import 100000x256 --folder /a/disk/with/40/GB

Each scan is a CXI file (gzip, one pattern per chunk) that is imported with `study import` in a
separate process; rPIE runs in another process, on the counts of the imported data set in memory.
The file repeats 256 different patterns, so that it can be written quickly; the import decompresses,
checks and writes all of them. Files are removed at the end. Each process uses one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

DETECTOR = "entry_1/instrument_1/detector_1"
SOURCE = "entry_1/instrument_1/source_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
DIFFERENT = 256
PHOTONS = 1e5
PLANCK_LIGHT = 1.9864458571489286e-25
ENERGY_J, DISTANCE_M, PIXEL_M = 1.28e-15, 2.0, 75e-6
# Nothing can be detected from these patterns, because they do not belong to an object.
KNOWN = (
    *("--values", "counts", "--zero-frequency", "centre", "--frame-orientation", "as_stored"),
    *("--position-order", "yx", "--position-flip", "none"),
)


def write_scan(path: Path, patterns: int, side: int) -> None:
    """Write a raster scan of (patterns, side, side) uint16 counts to a CXI file."""
    draw = np.random.default_rng(0)
    steps = np.arange(side) - side // 2
    radius = np.hypot(steps[:, None], steps[None, :])
    probe = np.exp(-((radius / (side / 16)) ** 2) + 1j * (radius / (side / 16)) ** 2)
    light = np.abs(np.fft.fftshift(np.fft.fft2(probe, norm="ortho"))) ** 2
    light *= PHOTONS / light.sum()
    columns = int(np.ceil(np.sqrt(patterns)))
    corners = np.stack(np.divmod(np.arange(patterns), columns), axis=1) * (side / 32)
    pixel_m = PLANCK_LIGHT / ENERGY_J * DISTANCE_M / (side * PIXEL_M)
    with h5py.File(path, "w") as file:
        frames = file.create_dataset(
            f"{DETECTOR}/data",
            (patterns, side, side),
            "u2",
            chunks=(1, side, side),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        first = draw.poisson(light, (min(DIFFERENT, patterns), side, side))
        frames[: len(first)] = first
        packed = [
            frames.id.read_direct_chunk((i, 0, 0))[1] for i in range(min(DIFFERENT, patterns))
        ]
        for at in range(DIFFERENT, patterns):
            frames.id.write_direct_chunk((at, 0, 0), packed[at % DIFFERENT])
        file[f"{DETECTOR}/distance"] = DISTANCE_M
        file[f"{DETECTOR}/x_pixel_size"] = file[f"{DETECTOR}/y_pixel_size"] = PIXEL_M
        file[f"{SOURCE}/energy"], file[f"{SOURCE}/illumination"] = ENERGY_J, probe
        file[TRANSLATION] = np.pad(corners[:, ::-1] * pixel_m, ((0, 0), (0, 1)))


def peak_bytes() -> int:
    """Peak resident memory of this process since its program started.

    `ru_maxrss` is not used, because it includes the peak of the parent process.
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def import_child(file: str) -> None:
    """Run `study import` of `file` in the working directory."""
    from study.cli import main as study

    sys.argv = ["study", "import", file, "--as", "large", "--no-track", *KNOWN]
    try:
        study()
    except SystemExit as end:
        if end.code:
            raise


def rpie_child(folder: str) -> None:
    """Run one rPIE pass over the training patterns (ten of twelve) of the imported data set."""
    import torch

    from study.formats.dataset import load_dataset
    from study.iterative.rpie import RpieOptions, rpie

    dataset = load_dataset(Path(folder), ("train",), limit_bytes=0)
    train, scale = dataset.splits["train"], dataset.manifest.photon_scale
    rpie(
        torch.from_numpy(train.counts[:])[:, 0],
        torch.from_numpy(dataset.probe) * scale,
        torch.from_numpy(train.positions_px)[:, 0],
        train.object_shape,
        RpieOptions(passes=1, alpha=0.1, update_probe=True, seed=0),
    )


CHILDREN = {"import": import_child, "rpie": rpie_child}


def child(kind: str, argument: str) -> None:
    """Run one of `CHILDREN`; the last line of output is JSON with its time and memory."""
    began = time.perf_counter()
    CHILDREN[kind](argument)
    facts = {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(facts))


def run_child(kind: str, argument: str, folder: Path) -> dict[str, float]:
    """Time and memory of a child in `folder`, with one thread. Raises RuntimeError if it fails."""
    command = [sys.executable, "-m", "bench.large_import", "--child", kind, argument]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"{kind} of {argument} ended with exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, patterns: int, side: int, with_rpie: bool) -> dict[str, Any]:
    """Measure one size in `folder`. Raises SystemExit if the disk is too small."""
    need = patterns * side**2 * 5
    if shutil.disk_usage(folder).free < need:
        raise SystemExit(f"{folder} has less than {need / 1e9:.0f} GB free; give --folder")
    scan = folder / "scan.cxi"
    write_scan(scan, patterns, side)
    facts: dict[str, Any] = {
        "patterns": patterns,
        "side": side,
        "file_bytes": scan.stat().st_size,
        "counts_bytes": 4 * patterns * side**2,
        "import": run_child("import", str(scan), folder),
    }
    if with_rpie:
        facts["rpie_pass"] = run_child("rpie", "imported/large", folder)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sizes", nargs="*", help="PATTERNSxSIDE", default=["500x128", "5000x256"])
    parser.add_argument("--rpie", action="store_true", help="Also measure an rPIE pass")
    parser.add_argument("--folder", type=Path, help="Folder with enough space (default: temporary)")
    parser.add_argument("--json", type=Path, help="File for the list of results")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    found = []
    for size in given.sizes:
        patterns, side = map(int, size.split("x"))
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            found.append(measure(Path(folder), patterns, side, given.rpie))
        print(json.dumps(found[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
