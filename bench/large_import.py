"""Time and memory of importing a large scan from chunked, compressed HDF5.

    python -m bench.large_import --patterns 100000 --side 256 [--folder DIR]

Writes a CXI file of that many patterns (gzip, one pattern per chunk), imports it in a process of
its own, and prints seconds and the peak of its memory. The patterns repeat a few hundred different
ones, so that the file is made fast; every one of them is unpacked, checked and written. Both files
are removed at the end.
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

import h5py
import numpy as np

DETECTOR = "entry_1/instrument_1/detector_1"
SOURCE = "entry_1/instrument_1/source_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
DIFFERENT = 256
PHOTONS = 1e5
PLANCK_LIGHT = 1.9864458571489286e-25
ENERGY_J, DISTANCE_M, PIXEL_M = 1.28e-15, 2.0, 75e-6
# Of patterns that belong to no object nothing can be found out.
KNOWN = (
    *("--values", "counts", "--zero-frequency", "centre", "--frame-orientation", "as_stored"),
    *("--position-order", "yx", "--position-flip", "none"),
)


def write_scan(path: Path, patterns: int, side: int) -> None:
    """A raster scan of `patterns` x `side` x `side` uint16 counts."""
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
    """Highest resident memory of this process since it started its program.

    Not `ru_maxrss`, which keeps the peak of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def child(file: str) -> None:
    """Import `file` below the working directory, and print seconds and memory as JSON."""
    from study.cli import main

    began, busy = time.perf_counter(), time.process_time()
    sys.argv = ["study", "import", file, "--as", "large", "--no-track", *KNOWN]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    facts = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - busy,
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(facts))


def measure(folder: Path, patterns: int, side: int) -> dict[str, float]:
    """Facts of one import in `folder`, with one thread. Raises RuntimeError when it fails."""
    scan = folder / "scan.cxi"
    write_scan(scan, patterns, side)
    command = [sys.executable, "-m", "bench.large_import", "--child", str(scan)]
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
        raise RuntimeError(f"the import ended with exit status {done.returncode}")
    facts = json.loads(done.stdout.splitlines()[-1])
    written = sum(each.stat().st_size for each in folder.rglob("*.cxi")) - scan.stat().st_size
    sizes = {"file_bytes": scan.stat().st_size, "written_bytes": written}
    return {"patterns": patterns, "side": side, **facts, **sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="Where both files fit (default: temporary)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    need = given.patterns * given.side**2 * 6
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        if shutil.disk_usage(folder).free < need:
            raise SystemExit(f"{folder} has less than {need / 1e9:.0f} GB free; give --folder")
        print(json.dumps(measure(folder, given.patterns, given.side), indent=1))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
