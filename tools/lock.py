"""Resolve pyproject.toml once and write both requirement files (`make lock`).

`requirements.lock` has hashes and CUDA packages; `requirements-cpu.txt` is the same resolution
without either; `tools/container/development.txt` lists the development packages, which are not
installed in an image.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"
CUDA_ONLY = re.compile(r"^(nvidia-|cuda-|triton==)")


DEVELOPMENT = ROOT / "tools" / "container" / "development.txt"


def main() -> int:
    lock = ROOT / "requirements.lock"
    done = resolve("--extra", "dev", "--generate-hashes", *sys.argv[1:], "-o", str(lock))
    if done.returncode:
        return done.returncode
    text = lock.read_text()
    pins = pins_of(text)
    lock.write_text(HEADER + text)
    kept = [pin for pin in pins if not CUDA_ONLY.match(pin)]
    (ROOT / "requirements-cpu.txt").write_text(HEADER + "\n".join(kept) + "\n")
    used = resolve("-c", str(lock), *sys.argv[1:])
    if used.returncode == 0:
        needed = {pin.partition("==")[0] for pin in pins_of(used.stdout)}
        left_out = [name for name in (pin.partition("==")[0] for pin in pins) if name not in needed]
        DEVELOPMENT.write_text(HEADER + "\n".join(dict.fromkeys(left_out)) + "\n")
    return used.returncode


def resolve(*options: str) -> subprocess.CompletedProcess[str]:
    """uv's resolution of pyproject.toml for every platform, Python 3.11 and later."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--python-version"]
    command += ["3.11", "--no-annotate", "--no-header", "--quiet", *options, "pyproject.toml"]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)


def pins_of(text: str) -> list[str]:
    """The pinned lines of a requirement file, without the backslash before their hashes."""
    return [re.sub(r"\s*\\$", "", line) for line in text.splitlines() if "==" in line]


if __name__ == "__main__":
    raise SystemExit(main())
