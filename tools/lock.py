"""Resolve pyproject.toml once and write both requirement files (`make lock`).

`requirements.lock` carries hashes and CUDA packages; `requirements-cpu.txt` is the same resolution
without either.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"
CUDA_ONLY = re.compile(r"^(nvidia-|cuda-|triton==)")


def main() -> int:
    lock = ROOT / "requirements.lock"
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--universal",
        "--extra",
        "dev",
    ]
    command += [
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
    ]
    command += ["--quiet", *sys.argv[1:], "-o", str(lock), "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        return done.returncode
    text = lock.read_text()
    pins = [re.sub(r"\s*\\$", "", line) for line in text.splitlines() if "==" in line]
    lock.write_text(HEADER + text)
    kept = [pin for pin in pins if not CUDA_ONLY.match(pin)]
    (ROOT / "requirements-cpu.txt").write_text(HEADER + "\n".join(kept) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
