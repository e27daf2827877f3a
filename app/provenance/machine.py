"""This installation: container or not, packages against the lock, state of git."""

from __future__ import annotations

import importlib.metadata
import os
import re
from dataclasses import dataclass
from pathlib import Path

IMAGE = "ARMATURE_IMAGE"  # name@digest, given by whoever starts the container
TRACES = ("/.dockerenv", "/run/.containerenv")
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


@dataclass(frozen=True)
class Container:
    """`image`: what ARMATURE_IMAGE says, or None. `inside`: a container left its traces."""

    inside: bool
    image: str | None

    @property
    def sentence(self) -> str:
        if self.image:
            if self.inside:
                return f"The app runs in the image {self.image}."
            return (
                f"The app is declared to run in the image {self.image}; no container was detected."
            )
        if self.inside:
            return (
                f"The app runs in a container that does not say which image it is: start it with "
                f"-e {IMAGE}=NAME@sha256:… to have the digest here."
            )
        return "The app runs in no container."


def container(root: Path = Path("/")) -> Container:
    inside = any((root / trace.lstrip("/")).exists() for trace in TRACES)
    return Container(inside, os.environ.get(IMAGE, "").strip() or None)


@dataclass(frozen=True)
class Packages:
    """Pins of a lock against what is installed: (name, locked, installed) where they differ.

    `installed`: how many of the pinned packages are here; `absent`: those that every system needs.
    """

    file: str
    installed: int
    differing: tuple[tuple[str, str, str], ...]
    absent: tuple[str, ...]


def packages(root: Path) -> Packages | None:
    """Against requirements-cpu.txt for a CPU build of torch, else requirements.lock; None: neither
    is here."""
    name = "requirements-cpu.txt" if _is_cpu_build() else "requirements.lock"
    pins = _pins(root / name)
    if not pins:
        return None
    have = {package: _installed(package) for package in pins}
    differing = [
        (package, " or ".join(sorted(wanted)), found)
        for package, (wanted, _) in pins.items()
        if (found := have[package]) is not None and _public(found) not in wanted
    ]
    absent = tuple(p for p, (_, everywhere) in pins.items() if have[p] is None and everywhere)
    return Packages(name, sum(v is not None for v in have.values()), tuple(differing), absent)


def _is_cpu_build() -> bool:
    return "+cpu" in (_installed("torch") or "")


def _pins(file: Path) -> dict[str, tuple[set[str], bool]]:
    """package -> (its versions, one for each Python, say; whether every system needs it)."""
    found: dict[str, tuple[set[str], bool]] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        match = PIN.match(line)
        if match:
            versions, everywhere = found.get(match[1], (set(), False))
            found[match[1]] = ({*versions, _public(match[2])}, everywhere or ";" not in line)
    return found


def _public(version: str) -> str:
    """2.13.0+cpu is another build of 2.13.0, not another version."""
    return version.partition("+")[0]


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
