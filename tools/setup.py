"""Create `.venv` with every pinned dependency and the `study` package.

Standard library only, because this runs before anything is installed.

    python3 tools/setup.py [auto|cpu|cuda]

Design choices
- `requirements.lock` (hashes, CUDA wheels) is for GPU machines, `requirements-cpu.txt` (same
  versions, no hashes, no CUDA packages) for all others, since hashes would reject a local CPU
  build.
- uv installs in seconds, pip in minutes. uv ignores pip's configuration, so pip's indexes and
  find-links are passed to it.
- A stamp file records the hash of the requirements and the location, so that an unchanged set-up is
  not repeated.
- The torch build in the stamp is kept unless TORCH requests another one. In that case `.venv` is
  created again, since the CPU build of a version satisfies the pin of the CUDA build. It is also
  created again if the checkout was moved or copied, since its scripts refer to the old path.
"""

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
UV = "uv==0.13.8"
# Merge drivers in .gitattributes: description, and file in tools/ (None: keep our side).
DRIVERS = {
    "dvclock": ("three-way merge of dvc.lock by stage", "merge_dvclock.py"),
    "params": ("three-way merge of params.yaml and claims.yaml by entry", "merge_params.py"),
    "findings": ("our findings with both histories", "merge_findings.py"),
    "provenance": ("the earlier record of equal outputs", "merge_provenance.py"),
    "regenerated": ("keep ours; the next dvc repro regenerates the file", None),
}
DEFAULT_WHEELS_GB = 2.9  # download of torch with its CUDA packages


def main() -> int:
    accepted = ("auto", "cpu", "cuda")
    wanted = (sys.argv[1] if len(sys.argv) > 1 else "auto") or "auto"
    if wanted not in accepted:
        return refuse(f"TORCH is {wanted!r}; accepted: {', '.join(accepted)}")
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return refuse(
            f"Python {sys.version.split()[0]} is running this; Armature needs 3.11, 3.12 or 3.13. "
            "Choose one with: make setup PYTHON=python3.12"
        )
    if shutil.which("git") is None:
        return refuse(
            "git is not on the PATH, but Armature and DVC need it; install it and run again"
        )
    stamp = VENV / ".armature-stamp"
    before = stamp.read_text() if stamp.is_file() else ""
    there = before.partition(" ")[0]
    torch = (there or detect()) if wanted == "auto" else wanted
    requirements = ROOT / ("requirements.lock" if torch == "cuda" else "requirements-cpu.txt")
    fingerprint = stamp_of(requirements, torch)
    if before != fingerprint:
        if there not in ("", torch) or not whole_environment():
            make_environment()
        stamp.write_text(f"{torch} begun\n")
        install(requirements, torch)
        stamp.write_text(fingerprint)
    register()
    return 0


def refuse(sentence: str) -> int:
    print(f"setup: {sentence}", file=sys.stderr)
    return 2


def detect() -> str:
    """`cuda` if an NVIDIA driver is loaded, otherwise `cpu`."""
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def stamp_of(requirements: Path, torch: str) -> str:
    content = requirements.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return f"{torch} {sys.version_info[:2]} {hashlib.sha256(content).hexdigest()} {ROOT}\n"


def run(*command: str, check: bool = True) -> bool:
    done = subprocess.run(command, cwd=ROOT, check=False)
    if check and done.returncode:
        raise SystemExit(
            refuse(f"`{' '.join(command[:6])} ...` failed with exit code {done.returncode}")
        )
    return done.returncode == 0


def install(requirements: Path, torch: str) -> None:
    python = str(VENV / "bin" / "python")
    quiet = ("-m", "pip", "--disable-pip-version-check", "install", "-q")
    has_uv = run(python, *quiet, UV, check=False)
    print(
        f"setup: installing {requirements.name} (torch for {torch}) into .venv",
        flush=True,
    )
    hashes = ("--require-hashes",) if torch == "cuda" else ()
    # Tried in this order: uv with the CPU backend if needed, uv without it, pip.
    done = False
    if has_uv:
        uv = (
            python,
            "-m",
            "uv",
            "pip",
            "install",
            "-q",
            "--compile-bytecode",  # once, since processes may not be allowed to write bytecode
            "--python",
            python,
            *pip_sources(python),
        )
        done = run(*uv, *backend(torch, python), "-r", str(requirements), *hashes, check=False)
        if not done and backend(torch, python):
            print(
                "setup: uv found no CPU wheel of torch (see above); using the default wheels, "
                f"{DEFAULT_WHEELS_GB} GB",
                flush=True,
            )
            done = run(*uv, "-r", str(requirements), check=False)
    if not done:
        print(
            "setup: the installation with uv failed; using pip (about three minutes)",
            flush=True,
        )
        run(python, *quiet, *hashes, "-r", str(requirements))
    run(python, *quiet, "--no-deps", "--no-build-isolation", "-e", str(ROOT))


def whole_environment() -> bool:
    """Whether .venv was created at this path, with this version of Python, and completely (pip is
    installed last)."""
    config = VENV / "pyvenv.cfg"
    version = ".".join(map(str, sys.version_info[:2]))
    lines = config.read_text().splitlines() if config.is_file() else []
    return (
        any(line.startswith(f"version = {version}.") for line in lines)
        and any(line.startswith("command = ") and line.endswith(f" {VENV}") for line in lines)
        and (VENV / "bin" / "pip").exists()
    )


def make_environment() -> None:
    (VENV / "pyvenv.cfg").unlink(
        missing_ok=True
    )  # what a broken removal leaves is not an environment
    shutil.rmtree(VENV, ignore_errors=True)
    if not run(sys.executable, "-m", "venv", str(VENV), check=False):
        shutil.rmtree(VENV, ignore_errors=True)
        raise SystemExit(
            refuse(
                f"`{sys.executable} -m venv` failed; on Debian and Ubuntu install python3-venv, "
                "then run again"
            )
        )


def pip_sources(python: str) -> list[str]:
    """The indexes and find-links in pip's configuration, as arguments for uv."""
    names = ("index-url", "extra-index-url", "find-links")
    listed = subprocess.run(
        (python, "-m", "pip", "config", "list"),
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found: dict[str, list[str]] = {name: [] for name in names}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name = key.rsplit(".", 1)[-1]
        if name in found:
            found[name] += [part for part in value.strip("'\"").split() if part]
    arguments = [
        part
        for name in names
        for value in dict.fromkeys(found[name])
        for part in (f"--{name}", value)
    ]
    # pip compares all indexes; by default uv uses the first index that has the package.
    return [*arguments, "--index-strategy", "unsafe-best-match"] if arguments else []


def backend(torch: str, python: str) -> tuple[str, ...]:
    """`--torch-backend=cpu`, except for CUDA, on macOS, and if there is a local CPU wheel."""
    if torch == "cuda" or sys.platform == "darwin" or local_cpu_wheel(python):
        return ()
    return ("--torch-backend=cpu",)


def local_cpu_wheel(python: str) -> bool:
    sources = pip_sources(python)
    folders = [value for name, value in itertools.pairwise(sources) if name == "--find-links"]
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    return any(
        tag in wheel.name
        for folder in folders
        if "://" not in folder
        for wheel in Path(folder).glob("torch-*+cpu-*.whl")
    )


def register() -> None:
    """Configure this clone only: merge drivers and the embedded remote."""
    if not (ROOT / ".git").exists():
        return
    python = VENV / "bin" / "python"
    for name, (what, tool) in DRIVERS.items():
        driver = f'"{python}" "{ROOT / "tools" / tool}" %O %A %B' if tool else "true"
        run("git", "config", f"merge.{name}.name", what)
        run("git", "config", f"merge.{name}.driver", driver)
    embed_store()


def embed_store() -> None:
    """Set up the embedded remote (study/artifacts/store.py), again if a configuration changed.

    It is optional: if its folder cannot be created, the set-up continues without it.
    """
    stamp = VENV / ".armature-store"
    if (ROOT / ".dvc").is_dir() and not (stamp.is_file() and stamp.read_text() == store_state()):
        python = str(VENV / "bin" / "python")
        if run(python, "-m", "study.artifacts.store", str(ROOT), check=False):
            stamp.write_text(store_state())
        else:
            print(
                "setup: the embedded remote could not be set up (see above); the rest is ready",
                file=sys.stderr,
            )


def store_state() -> str:
    """The inputs of the embedded remote: DVC's configurations and its folder."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    system = Path("/etc/xdg/dvc/config")
    files = (ROOT / ".dvc" / "config", ROOT / ".dvc" / "config.local", home / "dvc/config", system)
    content = b"|".join(file.read_bytes() if file.is_file() else b"" for file in files)
    place = [os.environ.get(name, "-") for name in ("ARMATURE_STORE", "XDG_DATA_HOME", "HOME")]
    return f"{hashlib.sha256(content).hexdigest()} {' '.join(place)}\n"


if __name__ == "__main__":
    os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    raise SystemExit(main())
