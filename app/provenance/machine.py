"""This installation: container image, and installed packages compared with the lock file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from study.reading import read_text
from study.runs import environment

IMAGE = "ARMATURE_IMAGE"  # name@digest, set when the container is started
TRACES = ("/.dockerenv", "/run/.containerenv")
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


@dataclass(frozen=True)
class Container:
    """`image`: value of ARMATURE_IMAGE, or None. `inside`: marker files of a container exist."""

    inside: bool
    image: str | None

    @property
    def sentence(self) -> str:
        if self.image:
            if self.inside:
                return f"The app runs in the image {self.image}."
            return f"{IMAGE} names the image {self.image}, but no container was detected."
        if self.inside:
            return (
                "The app runs in a container, but its image is unknown: start the container with "
                f"-e {IMAGE}=NAME@sha256:… to show the digest here."
            )
        return "The app does not run in a container."


def container(root: Path = Path("/")) -> Container:
    inside = any((root / trace.lstrip("/")).exists() for trace in TRACES)
    return Container(inside, os.environ.get(IMAGE, "").strip() or None)


@dataclass(frozen=True)
class Packages:
    """Pinned packages compared with the installed ones.

    `installed`: number of pinned packages that are installed. `differing`: (name, locked version,
    installed version). `absent`: missing packages that are required on every platform.
    """

    file: str
    installed: int
    differing: tuple[tuple[str, str, str], ...]
    absent: tuple[str, ...]


def packages(root: Path) -> Packages | None:
    """Compare with requirements-cpu.txt for a CPU build of torch, otherwise requirements.lock.

    Returns None if that file is missing or has no pins. Raises UserError if it cannot be read.
    """
    name = "requirements-cpu.txt" if _is_cpu_build() else "requirements.lock"
    pins = _pins(root / name)
    if not pins:
        return None
    have = {package: environment.version(package) for package in pins}
    differing = [
        (package, " or ".join(sorted(wanted)), found)
        for package, (wanted, _) in pins.items()
        if (found := have[package]) is not None and _public(found) not in wanted
    ]
    absent = tuple(p for p, (_, everywhere) in pins.items() if have[p] is None and everywhere)
    return Packages(name, sum(v is not None for v in have.values()), tuple(differing), absent)


def _is_cpu_build() -> bool:
    return "+cpu" in (environment.version("torch") or "")


def _pins(file: Path) -> dict[str, tuple[set[str], bool]]:
    """Package -> (pinned versions, such as one per Python version; whether always needed)."""
    found: dict[str, tuple[set[str], bool]] = {}
    for line in read_text(file).splitlines() if file.is_file() else ():
        match = PIN.match(line)
        if match:
            versions, everywhere = found.get(match[1], (set(), False))
            found[match[1]] = ({*versions, _public(match[2])}, everywhere or ";" not in line)
    return found


def _public(version: str) -> str:
    """The public version: 2.13.0+cpu is a different build, not a different version, of 2.13.0."""
    return version.partition("+")[0]
